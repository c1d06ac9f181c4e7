#include "troupe/port.hpp"

#include <bit>
#include <mutex>
#include <unordered_map>

#include "troupe/dispatcher.hpp"
#include "troupe/messages.hpp"
#include "troupe/unobserved.hpp"

namespace troupe {

namespace {

// The ports of all living actors that ever waited for an operation.
struct registry {
  std::mutex mutex;
  std::unordered_map<caf::event_based_actor*, ref_ptr<port>> ports;
};

// Counts, since an actor may end, and its heir's items run, inside of an item.
thread_local int draining_depth = 0;

registry& all_ports() {
  // Never destroyed: actors may end after the static objects of main.
  static auto instance = new registry;
  return *instance;
}

} // namespace

// -- port_waiter --------------------------------------------------------------

void port_waiter::on_complete(op_state&) noexcept {
  port_.post(*this);
}

void port_waiter::run() {
  port_.remove(*this);
  deliver();
}

void port_waiter::abandon() noexcept {
  port_.remove(*this);
  discard();
}

// -- port_page ----------------------------------------------------------------

port_page::~port_page() = default;

void port_page::add(burst_call& made, std::size_t bytes, home_share pool) {
  if (outstanding_ == 0)
    begin();
  ++outstanding_;
  auto to = pool.get();
  // Those that it has more than it needs are dropped in one step.
  if (pool_.get()) {
    static_cast<void>(pool.release());
    ++more_shares_;
  } else {
    pool_ = std::move(pool);
  }
  if (append(made, bytes))
    return;
  try {
    to->open_burst(*this);
  } catch (...) {
    take_back(bytes);
    end_one();
    throw;
  }
}

void port_page::signal() noexcept {
  port_.post(*this);
}

void port_page::run() {
  auto calls = take_ended();
  try {
    deliver(calls);
  } catch (...) {
    // The actor ends; `close` finds the rest.
    if (calls)
      end(calls);
    throw;
  }
}

void port_page::abandon() noexcept {
  discard(take_ended());
}

void port_page::deliver(std::uint64_t& calls) {
  ref_ptr<port_page> keep{this};
  while (calls) {
    if (port_.closed()) {
      discard(std::exchange(calls, 0));
      return;
    }
    auto index = static_cast<std::uint32_t>(std::countr_zero(calls));
    calls &= calls - 1;
    fetch(index + fetch_distance, count());
    end_one();
    at(index).deliver();
  }
}

void port_page::discard(std::uint64_t calls) noexcept {
  for (; calls; calls &= calls - 1) {
    auto index = static_cast<std::uint32_t>(std::countr_zero(calls));
    report_unobserved(pool_.get()->name(), at(index).discard());
    end_one();
  }
}

void port_page::begin() {
  port_.begin_outstanding();
  ref();
  next_ = port_.pages_;
  if (next_)
    next_->prev_ = this;
  port_.pages_ = this;
}

// One less is to be collected.
void port_page::end_one() noexcept {
  if (--outstanding_ > 0)
    return;
  pool_.drop_others(std::exchange(more_shares_, 0));
  pool_ = {};
  (prev_ ? prev_->next_ : port_.pages_) = next_;
  if (next_)
    next_->prev_ = prev_;
  prev_ = next_ = nullptr;
  port_.end_outstanding();
  deref();
}

// -- port ---------------------------------------------------------------------

// Where the expected response goes. Holds a reference to the actor only while
// something is outstanding. A lock, since the actor may end while another
// thread is about to respond.
struct port::target {
  std::mutex mutex;
  caf::strong_actor_ptr actor;
  caf::message_id id;
};

port::port(caf::event_based_actor* self)
    : owner_{self},
      system_{self->home_system()},
      target_{std::make_unique<target>()},
      self_{self} {}

port::~port() = default;

port& port::of(caf::event_based_actor* self) {
  // An actor that waits once mostly waits again, on the same thread.
  static thread_local ref_ptr<port> latest;
  if (latest && !latest->closed() && latest->owner_ == self)
    return *latest;
  auto& all = all_ports();
  {
    std::lock_guard guard{all.mutex};
    if (auto i = all.ports.find(self); i != all.ports.end())
      return *(latest = i->second);
  }
  auto made = make_ref<port>(self);
  {
    std::lock_guard guard{all.mutex};
    all.ports.emplace(self, made);
  }
  self->attach_functor([made](const caf::error&) { made->close(); });
  // That of an actor which has ended is kept by nobody else until it has
  // something outstanding.
  static thread_local ref_ptr<port> ended;
  if (made->closed())
    ended = made;
  latest = made;
  return *made;
}

void port::post(port_item& item) noexcept {
  // Once pushed, the item may be gone, and what it refers to.
  ref_ptr<port> keep{this};
  push(item);
  // Not a word about `item` from here on: it may have run.
  if (dead_.load(std::memory_order_seq_cst))
    abandon_posted();
  // Mostly a response is on its way: a look does not take the word from the
  // actor's processor.
  else if (!signalled_.load(std::memory_order_seq_cst)
           && !signalled_.exchange(true, std::memory_order_seq_cst))
    signal();
}

void port::abandon_posted() noexcept {
  auto item = posted_.exchange(nullptr, std::memory_order_seq_cst);
  while (item)
    std::exchange(item, item->next_posted_)->abandon();
}

void port::push(port_item& item) noexcept {
  auto first = posted_.load(std::memory_order_relaxed);
  do
    item.next_posted_ = first;
  while (
      !posted_.compare_exchange_weak(first, &item, std::memory_order_seq_cst));
}

void port::signal() noexcept {
  caf::strong_actor_ptr to;
  caf::message_id id;
  {
    std::lock_guard guard{target_->mutex};
    to = target_->actor;
    id = target_->id;
  }
  if (to)
    compat::respond(to, id, wake_atom_v);
}

void port::add(port_waiter& waiter) {
  begin_outstanding();
  waiter.next_ = waiters_;
  if (waiters_)
    waiters_->prev_ = &waiter;
  waiters_ = &waiter;
}

void port::remove(port_waiter& waiter) noexcept {
  (waiter.prev_ ? waiter.prev_->next_ : waiters_) = waiter.next_;
  if (waiter.next_)
    waiter.next_->prev_ = waiter.prev_;
  waiter.prev_ = waiter.next_ = nullptr;
  end_outstanding();
}

void port::add(port_resident& resident) {
  begin_outstanding();
  resident.next_ = residents_;
  if (residents_)
    residents_->prev_ = &resident;
  residents_ = &resident;
  resident.linked_ = true;
}

void port::remove(port_resident& resident) noexcept {
  // When the port closes, the end of one resident may be the end of another.
  if (!std::exchange(resident.linked_, false))
    return;
  (resident.prev_ ? resident.prev_->next_ : residents_) = resident.next_;
  if (resident.next_)
    resident.next_->prev_ = resident.prev_;
  resident.prev_ = resident.next_ = nullptr;
  end_outstanding();
}

port_page& port::page_for(const home_share& pool, std::size_t bytes) {
  if (!page_ || !page_->room_for(bytes)
      || (page_->pool() && page_->pool() != pool.get()))
    page_ = make_ref<port_page>(*this);
  return *page_;
}

// If there is no memory to expect a response with, nothing is counted.
void port::begin_outstanding() {
  if (!expecting_ && !draining_ && self_)
    expect();
  if (outstanding_++ == 0)
    ref();
}

void port::end_outstanding() noexcept {
  if (--outstanding_ == 0)
    deref();
}

// Expects the next response. What was posted before is signalled right away.
void port::expect() {
  {
    std::lock_guard guard{target_->mutex};
    target_->id = compat::expect_response(
        self_, caf::behavior{
                   [keep = ref_ptr<port>{this}](wake_atom) { keep->drain(); }});
    target_->actor = caf::strong_actor_ptr{self_->ctrl()};
  }
  expecting_ = true;
  signalled_.store(false, std::memory_order_seq_cst);
  if (posted_.load(std::memory_order_seq_cst) != nullptr
      && !signalled_.exchange(true, std::memory_order_seq_cst))
    signal();
}

void port::drain() {
  ref_ptr<port> keep{this};
  expecting_ = false;
  draining_ = true;
  // If a callback throws, the actor ends, and `close` finds the rest.
  struct end_of_drain {
    bool& flag;
    ~end_of_drain() {
      flag = false;
      --draining_depth;
    }
  } guard{draining_};
  ++draining_depth;
  while (posted_.load(std::memory_order_seq_cst) != nullptr) {
    port_item* in_order = nullptr;
    auto item = posted_.exchange(nullptr, std::memory_order_seq_cst);
    while (item) {
      auto next = item->next_posted_;
      item->next_posted_ = in_order;
      in_order = item;
      item = next;
    }
    while (in_order) {
      auto next = in_order->next_posted_;
      try {
        handle(*std::exchange(in_order, next));
      } catch (...) {
        while (in_order)
          push(*std::exchange(in_order, in_order->next_posted_));
        throw;
      }
    }
  }
  draining_ = false;
  if (outstanding_ > 0 && self_) {
    expect();
    return;
  }
  forget_target();
  if (closed() && outstanding_ == 0) {
    dead_.store(true, std::memory_order_seq_cst);
    abandon_posted();
  }
}

bool port::draining_here() noexcept {
  return draining_depth > 0;
}

void port::forget_target() {
  caf::strong_actor_ptr dropped;
  std::lock_guard guard{target_->mutex};
  dropped.swap(target_->actor);
}

void port::handle(port_item& item) {
  if (self_ == nullptr || closed())
    item.abandon();
  else
    item.run();
}

void port::close() {
  ref_ptr<port> keep{this};
  {
    auto& all = all_ports();
    std::lock_guard guard{all.mutex};
    all.ports.erase(owner_);
  }
  closed_.store(true, std::memory_order_release);
  expecting_ = false;
  self_ = nullptr;
  signalled_.store(true, std::memory_order_seq_cst);
  while (residents_) {
    auto resident = residents_;
    remove(*resident);
    resident->owner_gone();
  }
  for (auto waiter = waiters_; waiter; waiter = waiter->next_)
    waiter->op().cancel(ec::owner_gone);
  page_ = nullptr;
  for (auto page = pages_; page; page = page->next_)
    page->give_up();
  drain();
  if (outstanding_ > 0)
    system_.spawn([keep](caf::event_based_actor* heir) { keep->adopt(heir); });
}

void port::adopt(caf::event_based_actor* heir) {
  self_ = heir;
  expect();
}

} // namespace troupe
