#include "troupe/stream.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "troupe/caf_compat.hpp"
#include "troupe/dispatcher.hpp"
#include "troupe/messages.hpp"
#include "troupe/run_meter.hpp"
#include "troupe/trace.hpp"

namespace troupe {

// -- stream_core --------------------------------------------------------------

stream_core::next_is stream_core::look(stream_node*& node,
                                       failure_ptr& why) noexcept {
  node = pop();
  if (node == nullptr) {
    if (!exhausted())
      return next_is::pending;
    why = take_last_failure();
    return why ? next_is::failure : next_is::end;
  }
  if (node->why == nullptr)
    return next_is::value;
  why = std::move(node->why);
  release(*node);
  return next_is::failure;
}

void stream_core::add(step& waiter) {
  if (waiting() >= most_waiting()) {
    waiter.finish_with(make_failure(
        ec::invalid_option,
        fmt::format("cannot wait for more than {} results of a stream at once; "
                    "raise max_in_flight, or wait for them in turn",
                    most_waiting()),
        false, waiter.label()));
    return;
  }
  // On this thread, which is the reader's. Nobody else begins anything, so
  // there must be one under way for each that waits.
  pull(false, true);
  if (waiting() == 0 && !is_there())
    patience_.wait_for([this] { return is_there(); });
  step* served = nullptr;
  {
    std::lock_guard guard{mutex_};
    (last_ ? last_->next_ : first_) = &waiter;
    last_ = &waiter;
    waiter.queued_ = true;
    // Before the look: whoever completes something later sees it.
    waiting_.fetch_add(1, std::memory_order_seq_cst);
    served = match_waiters();
  }
  finish_all(served);
}

void stream_core::forget(step& waiter, ec why) noexcept {
  {
    std::lock_guard guard{mutex_};
    if (!waiter.queued_)
      return;
    auto link = &first_;
    step* before = nullptr;
    while (*link != &waiter) {
      before = *link;
      link = &before->next_;
    }
    *link = waiter.next_;
    if (last_ == &waiter)
      last_ = before;
    waiter.queued_ = false;
    waiting_.fetch_sub(1, std::memory_order_seq_cst);
  }
  waiter.finish_with(make_failure(
      why, "the wait for the next result of a stream was cancelled", true,
      waiter.label()));
}

void stream_core::serve_waiters() noexcept {
  step* served = nullptr;
  {
    std::lock_guard guard{mutex_};
    served = match_waiters();
  }
  finish_all(served);
}

// Gives those who wait what is there, in order. Returns whom to tell so, once
// the lock is free.
stream_core::step* stream_core::match_waiters() noexcept {
  step* served = nullptr;
  auto tail = &served;
  while (first_) {
    stream_node* node = nullptr;
    failure_ptr why;
    auto found = look(node, why);
    if (found == next_is::pending)
      break;
    auto waiter = first_;
    first_ = waiter->next_;
    if (first_ == nullptr)
      last_ = nullptr;
    waiter->next_ = nullptr;
    waiter->queued_ = false;
    waiter->failure_ = std::move(why);
    if (found == next_is::value) {
      try {
        waiter->accept(*node);
      } catch (...) {
        waiter->failure_ = make_failure(std::current_exception(), {}, 0, {});
      }
      release(*node);
    }
    *tail = waiter;
    tail = &waiter->next_;
    // Last: the reader may pop by itself from here on.
    waiting_.fetch_sub(1, std::memory_order_seq_cst);
  }
  return served;
}

void stream_core::finish_all(step* served) noexcept {
  // Each holds a reference to itself until it has finished.
  while (served) {
    auto next = std::exchange(served->next_, nullptr);
    served->finish();
    served = next;
  }
}

// -- actor_turns --------------------------------------------------------------

void actor_turns::arm(std::function<void()> go_on) {
  // CAF destroys what an actor expects when the actor quits.
  struct token {
    explicit token(std::shared_ptr<bool> flag) : gone{std::move(flag)} {}
    token(const token&) = delete;
    token& operator=(const token&) = delete;
    ~token() { *gone = true; }
    std::shared_ptr<bool> gone;
  };
  quit_ = std::make_shared<bool>(false);
  expected_ = compat::expect_response(
      self_, [keep = std::make_shared<token>(quit_),
              call = std::move(go_on)](wake_atom) { call(); });
}

void actor_turns::send() {
  compat::respond(caf::strong_actor_ptr{self_->ctrl()}, expected_, wake_atom_v);
}

// -- imap: the reader's side --------------------------------------------------

namespace {

// How long a pump that finds nothing looks on before it ends. Covers the pause
// between two elements of a reader that does little with each; a guess.
constexpr auto pump_patience = std::chrono::microseconds{3};

// Whether this thread runs pumps while it waits for them: then it cannot be
// called away, and nobody will publish anything meanwhile.
thread_local bool is_helping = false;

} // namespace

/// A request that calls the function for one element after another. Deletes
/// itself when it is over.
class imap_core::pump final : public continuation {
public:
  explicit pump(imap_core& owner) : core_{owner}, keep_{&owner.face_} {
    auto work = [this](context& ctx) { core_.work(ctx); };
    op_ = core_.home_.run(work).consume();
    op_->as_batch()->set_can_be_left();
    std::lock_guard guard{core_.mutex_};
    next_ = core_.pumps_;
    if (next_)
      next_->prev_ = this;
    core_.pumps_ = this;
  }

  /// Submits the request. The pump may be gone when it returns.
  void start() {
    auto op = op_;
    op->start();
    if (!op->attach(*this))
      on_complete(*op);
  }

  void on_complete(op_state& op) noexcept override {
    // What it holds may be the last reference to the stream, and is needed for
    // the unlinking.
    std::unique_ptr<pump> owned{this};
    auto keep = keep_;
    {
      std::lock_guard guard{core_.mutex_};
      (prev_ ? prev_->next_ : core_.pumps_) = next_;
      if (next_)
        next_->prev_ = prev_;
    }
    if (op.failed())
      core_.pump_refused(op.failed());
  }

  op_state& op() const noexcept { return *op_; }

  pump* next() const noexcept { return next_; }

private:
  imap_core& core_;
  ref_ptr<stream_core> keep_;
  ref_ptr<op_state> op_;
  pump* prev_ = nullptr;
  pump* next_ = nullptr;
};

namespace {

// Nothing if there is no trace.
trace::time_point trace_begin() noexcept {
  return trace::active() ? std::chrono::steady_clock::now()
                         : trace::time_point{};
}

// A trace that began meanwhile begins with the next element.
template <class Slot>
void draw(const Slot& element, trace::time_point begin,
          const context& ctx) noexcept {
  if (begin == trace::time_point{})
    return;
  auto since =
      element.published == trace::time_point{} ? begin : element.published;
  trace::ran({&element, since},
             {.lane = ctx.cell().name(),
              .label = ctx.label().empty() ? "element" : ctx.label(),
              .begin = begin,
              .end = std::chrono::steady_clock::now(),
              .failed = element.why != nullptr ? 1u : 0u,
              .first = false});
}

} // namespace

imap_core::imap_core(stream_core& face, pool home, std::size_t max_in_flight,
                     bool in_order)
    : face_{face},
      home_{std::move(home)},
      window_{max_in_flight > 0
                  ? max_in_flight
                  : default_per_worker
                        * std::max<std::size_t>(home_.options().workers, 1)},
      capacity_{window_ + extra_slots},
      in_order_{in_order} {
  if (window_ > max_window)
    throw failure{ec::invalid_option,
                  fmt::format("cannot keep {} elements of an imap in flight "
                              "(accepted: 1 to {}; 0 means {} per worker)",
                              window_, max_window, default_per_worker)};
  free_ = std::make_unique<std::uint32_t[]>(capacity_);
  for (std::uint32_t i = 0; i < capacity_; ++i)
    free_[i] = i;
  order_ = std::make_unique<std::atomic<slot*>[]>(capacity_);
}

imap_core::~imap_core() {
  on_stop_.reset();
}

bool imap_core::next_is_there() const noexcept {
  // While somebody waits, what is there is spoken for.
  if (face_.waiting() > 0)
    return false;
  if (!in_order_)
    return ready_ != nullptr
           || complete_.load(std::memory_order_relaxed) != nullptr;
  auto at = released_.load(std::memory_order_relaxed);
  return at < published_.load(std::memory_order_relaxed)
         && order_[at % capacity_]
                .load(std::memory_order_relaxed)
                ->complete.load(std::memory_order_relaxed);
}

void imap_core::do_pull(bool at_least_one, bool for_waiter) noexcept {
  while (!range_ended_.load(std::memory_order_relaxed)) {
    // In this order: one that is served meanwhile counts as waiting rather than
    // as under way, which at worst begins one more, never one too few.
    auto wanted = for_waiter ? face_.waiting() + 1 : 0;
    auto at = published_.load(std::memory_order_relaxed);
    auto under_way = at - released_.load(std::memory_order_acquire);
    if (under_way >= std::max(window_, wanted) || under_way >= capacity_)
      return;
    if (!std::exchange(at_least_one, false) && next_is_there())
      return;
    if (cut_off_.load(std::memory_order_seq_cst)) {
      end_range(make_failure(ec::cancelled,
                             "the stream was stopped before the rest of its "
                             "range was pulled"));
      return;
    }
    if (refused_.load(std::memory_order_seq_cst)) {
      end_range(make_failure(ec::pool_stopped,
                             "the pool stopped before the rest of the stream's "
                             "range was pulled"));
      return;
    }
    try {
      auto& next = slot_at(free_[at % capacity_]);
      if (!pull_into(next)) {
        end_range(nullptr);
        return;
      }
      publish(next);
    } catch (...) {
      end_range(make_failure(std::current_exception(), {}, 0, {}));
    }
  }
}

void imap_core::end_range(failure_ptr why) noexcept {
  drop_range();
  end_ = std::move(why);
  range_ended_.store(true, std::memory_order_seq_cst);
  face_.serve();
}

void imap_core::publish(slot& next) noexcept {
  next.published = trace_begin();
  auto at = published_.load(std::memory_order_relaxed);
  order_[at % capacity_].store(&next, std::memory_order_relaxed);
  published_.store(at + 1, std::memory_order_seq_cst);
  if (looking_.load(std::memory_order_seq_cst) == 0)
    need_pump();
  // A stop may have dropped the unclaimed before this one was among them.
  if (cut_off_.load(std::memory_order_seq_cst))
    drop_unclaimed(stopped());
}

stream_node* imap_core::do_pop() noexcept {
  if (stopped_.load(std::memory_order_acquire))
    return nullptr;
  if (in_order_) {
    auto at = released_.load(std::memory_order_relaxed);
    if (at == published_.load(std::memory_order_acquire))
      return nullptr;
    auto head = order_[at % capacity_].load(std::memory_order_relaxed);
    return head->complete.load(std::memory_order_seq_cst) ? head : nullptr;
  }
  if (ready_ == nullptr) {
    auto latest = complete_.load(std::memory_order_seq_cst);
    if (latest == nullptr)
      return nullptr;
    latest = complete_.exchange(nullptr, std::memory_order_acquire);
    while (latest) {
      auto next = latest->next;
      latest->next = ready_;
      ready_ = latest;
      latest = next;
    }
  }
  return std::exchange(ready_, ready_->next);
}

void imap_core::do_release(slot& node) noexcept {
  node.complete.store(false, std::memory_order_relaxed);
  auto at = released_.load(std::memory_order_relaxed);
  // Its number is the one of the element that finds room now.
  free_[at % capacity_] = node.id;
  released_.store(at + 1, std::memory_order_seq_cst);
}

void imap_core::do_stop() noexcept {
  stopped_.store(true, std::memory_order_seq_cst);
  if (!range_ended_.load(std::memory_order_relaxed))
    end_range(nullptr);
  cut_off();
  face_.serve();
}

void imap_core::do_set_stop_token(std::stop_token token) {
  on_stop_.emplace(std::move(token), on_token{this});
}

void imap_core::on_token::operator()() const noexcept {
  // The token may be stopped while the last reference goes.
  if (target->face_.try_ref()) {
    target->cut_off();
    target->face_.deref();
  }
}

void imap_core::do_help() noexcept {
  std::vector<ref_ptr<op_state>> ops;
  {
    std::lock_guard guard{mutex_};
    for (auto i = pumps_; i; i = i->next())
      ops.emplace_back(&i->op());
  }
  auto before = std::exchange(is_helping, true);
  for (auto& op : ops)
    op->help();
  is_helping = before;
}

// -- imap: the workers' side --------------------------------------------------

bool imap_core::has_unclaimed() const noexcept {
  return claimed_.load(std::memory_order_seq_cst)
         < published_.load(std::memory_order_seq_cst);
}

imap_core::slot* imap_core::claim() noexcept {
  auto at = claimed_.load(std::memory_order_seq_cst);
  while (at < published_.load(std::memory_order_seq_cst)) {
    // Read first: once it is claimed and complete, the place serves another.
    auto found = order_[at % capacity_].load(std::memory_order_relaxed);
    if (claimed_.compare_exchange_weak(at, at + 1, std::memory_order_seq_cst))
      return found;
  }
  return nullptr;
}

void imap_core::need_pump() noexcept {
  auto running = pumping_.load(std::memory_order_seq_cst);
  do {
    auto workers = dispatcher_.load(std::memory_order_relaxed);
    // One at the least: it waits where there is no worker at all.
    auto most =
        workers ? std::clamp<std::size_t>(workers->max_workers(), 1, window_)
                : window_;
    if (running >= most) {
      // Nothing is queued for them, so nobody else can tell.
      if (workers)
        workers->hint_demand(window_ - std::min(window_, running));
      return;
    }
  } while (!pumping_.compare_exchange_weak(running, running + 1,
                                           std::memory_order_seq_cst));
  looking_.fetch_add(1, std::memory_order_seq_cst);
  // Deletes itself when its request is complete.
  auto made = std::make_unique<pump>(*this).release();
  ref_ptr<op_state> op{&made->op()};
  dispatcher_.store(op->as_batch()->home(), std::memory_order_relaxed);
  made->start();
  // A stop may have looked for pumps before this one was among them.
  if (cut_off_.load(std::memory_order_seq_cst))
    op->cancel(ec::cancelled);
}

imap_core::slot* imap_core::claim_patiently() noexcept {
  if (auto found = claim())
    return found;
  // A reader that runs the pump itself will publish nothing meanwhile.
  if (is_helping)
    return nullptr;
  auto until = std::chrono::steady_clock::now() + pump_patience;
  do {
    // The reader may be on this very processor.
    std::this_thread::yield();
    if (has_unclaimed())
      if (auto found = claim())
        return found;
  } while (!range_ended_.load(std::memory_order_relaxed)
           && std::chrono::steady_clock::now() < until);
  return nullptr;
}

void imap_core::work(context& ctx) noexcept {
  auto& cell = ctx.cell();
  // In the numbers of the pool each element is a request.
  std::uint32_t called = 0;
  std::uint32_t failed = 0;
  struct at_end {
    context& ctx;
    const std::uint32_t& called;
    const std::uint32_t& failed;
    ~at_end() {
      ctx.stand_for(called, failed);
      if (trace::active())
        trace::name_last("imap");
    }
  } count{ctx, called, failed};
  run_meter meter{cell, ctx.label()};
  auto called_away = false;
  auto next = [&]() -> slot* {
    if (called_away)
      return nullptr;
    auto found = claim();
    auto waits = found == nullptr;
    if (waits) {
      meter.look();
      found = claim_patiently();
    }
    if (found)
      meter.begin(waits);
    return found;
  };
  for (;;) {
    called_away = false;
    while (auto found = next()) {
      looking_.fetch_sub(1, std::memory_order_seq_cst);
      // From here on this one is busy, perhaps for long.
      if (has_unclaimed() && looking_.load(std::memory_order_seq_cst) == 0)
        need_pump();
      auto begin = trace_begin();
      call(*found, ctx);
      ++called;
      failed += found->why != nullptr;
      cell.end_request();
      meter.end();
      draw(*found, begin, ctx);
      complete(*found);
      looking_.fetch_add(1, std::memory_order_seq_cst);
      called_away = !is_helping
                    && cell.home()
                               .attention(priority::normal)
                               .load(std::memory_order_relaxed)
                           > 0
                    && cell.home().take_attention(priority::normal);
    }
    meter.look();
    looking_.fetch_sub(1, std::memory_order_seq_cst);
    pumping_.fetch_sub(1, std::memory_order_seq_cst);
    if (!has_unclaimed())
      cell.home().hint_demand(0);
    // What was published before nobody looked any more has nobody else.
    if (!has_unclaimed() || looking_.load(std::memory_order_seq_cst) > 0)
      return;
    if (called_away) {
      // To the end of the queue.
      need_pump();
      return;
    }
    pumping_.fetch_add(1, std::memory_order_seq_cst);
    looking_.fetch_add(1, std::memory_order_seq_cst);
  }
}

void imap_core::complete(slot& where) noexcept {
  if (in_order_) {
    where.complete.store(true, std::memory_order_seq_cst);
  } else {
    where.next = complete_.load(std::memory_order_relaxed);
    while (!complete_.compare_exchange_weak(where.next, &where,
                                            std::memory_order_seq_cst))
      continue;
  }
  face_.serve();
}

void imap_core::pump_refused(const failure_ptr& why) noexcept {
  if (why->code == ec::pool_stopped)
    refused_.store(true, std::memory_order_seq_cst);
  looking_.fetch_sub(1, std::memory_order_seq_cst);
  if (pumping_.fetch_sub(1, std::memory_order_seq_cst) == 1 && has_unclaimed())
    drop_unclaimed(why);
}

void imap_core::drop_unclaimed(const failure_ptr& why) noexcept {
  while (auto found = claim()) {
    drop(*found);
    found->why = why;
    complete(*found);
  }
}

failure_ptr imap_core::stopped() {
  return make_failure(ec::cancelled,
                      "the stream was stopped before a worker took the "
                      "element");
}

void imap_core::cut_off() noexcept {
  cut_off_.store(true, std::memory_order_seq_cst);
  drop_unclaimed(stopped());
  std::vector<ref_ptr<op_state>> ops;
  {
    std::lock_guard guard{mutex_};
    for (auto i = pumps_; i; i = i->next())
      ops.emplace_back(&i->op());
  }
  for (auto& op : ops)
    op->cancel(ec::cancelled);
}

} // namespace troupe
