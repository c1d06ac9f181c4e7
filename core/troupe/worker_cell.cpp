#include "troupe/worker_cell.hpp"

#include <thread>

#include "troupe/dispatcher.hpp"
#include "troupe/wait_graph.hpp"

namespace troupe {

namespace {

thread_local worker_cell* this_worker = nullptr;

} // namespace

worker_cell::worker_cell(dispatcher& home, int id)
    : home_{home},
      id_{id},
      name_{home.name() + "-" + std::to_string(id)},
      resource_{home.resource()} {}

worker_cell* worker_cell::current() noexcept {
  return this_worker;
}

const batch* worker_cell::current_batch() noexcept {
  return this_worker ? this_worker->working_on_ : nullptr;
}

worker_cell::bind_thread::bind_thread(worker_cell& cell) noexcept
    : previous_{std::exchange(this_worker, &cell)} {}

worker_cell::bind_thread::~bind_thread() {
  this_worker = previous_;
}

worker_cell::hand_off worker_cell::unpack(std::uintptr_t word) noexcept {
  switch (word) {
  case asleep:
  case awake:
  case lingering:
    return {};
  case retire:
    return {nullptr, true};
  case again:
    return {nullptr, false, true};
  default:
    return {ref_ptr<batch>{reinterpret_cast<batch*>(word), adopt_ref}};
  }
}

worker_cell::hand_off worker_cell::take() noexcept {
  // A message may come late, for a hand-off that was found without it: then the
  // worker is idle, and the word must go on saying so.
  auto seen = word_.load(std::memory_order_acquire);
  if (seen == asleep || seen == awake)
    return {};
  return unpack(word_.exchange(awake, std::memory_order_acq_rel));
}

worker_cell::hand_off
worker_cell::linger(std::chrono::nanoseconds patience) noexcept {
  auto expected = asleep;
  if (!word_.compare_exchange_strong(expected, lingering,
                                     std::memory_order_acq_rel))
    return take();
  auto until = std::chrono::steady_clock::now() + patience;
  // A wake-up may be left over from a hand-off that was found without it.
  while (word_.load(std::memory_order_acquire) == lingering)
    if (!parker_.park_until(until))
      break;
  expected = lingering;
  if (word_.compare_exchange_strong(expected, asleep,
                                    std::memory_order_acq_rel))
    return {};
  return take();
}

template <class Pause>
worker_cell::hand_off worker_cell::look(std::chrono::nanoseconds patience,
                                        Pause pause) noexcept {
  using std::chrono::steady_clock;
  auto until = steady_clock::now() + patience;
  do {
    if (word_.load(std::memory_order_relaxed) != awake)
      return take();
    pause();
  } while (steady_clock::now() < until);
  auto expected = awake;
  if (word_.compare_exchange_strong(expected, asleep,
                                    std::memory_order_acq_rel))
    return {};
  return take();
}

worker_cell::hand_off
worker_cell::spin(std::chrono::nanoseconds patience) noexcept {
  return look(patience, [this] {
    for (int i = 0; i < 16 && word_.load(std::memory_order_relaxed) == awake;
         ++i)
      pause();
  });
}

worker_cell::hand_off
worker_cell::look_again(std::chrono::nanoseconds patience) noexcept {
  return look(patience, [] { std::this_thread::yield(); });
}

void worker_cell::measure_stack() noexcept {
  may_nest_ = stack_allows_nesting();
}

void* worker_cell::resource(std::type_index type) {
  if (!resource_.holds(type))
    throw failure{ec::resource_unavailable,
                  "the pool '" + home_.name()
                      + "' has no resource of the type asked for; set "
                        "pool_options::resource",
                  true,
                  {},
                  id_};
  // One that the running request has used already is not asked again.
  if (resource_.stale() || (!resource_.in_use() && !examine_resource()))
    renew_resource();
  return resource_.use();
}

bool worker_cell::examine_resource() noexcept {
  auto what = resource_.examine(home_.time());
  if (what == resource_slot::fitness::bad)
    home_.count_failed_check();
  // What a check takes is not the time of a request.
  if (home_.resource().check)
    set_mark(std::chrono::steady_clock::now());
  return what == resource_slot::fitness::good;
}

void worker_cell::renew_resource() {
  close_resource();
  try {
    resource_.open(home_.time().now());
  } catch (...) {
    home_.count_failed_open(describe(std::current_exception()));
    throw;
  }
  home_.count_open(*this);
  set_mark(std::chrono::steady_clock::now());
}

void worker_cell::end_use() noexcept {
  resource_.end_use(home_.time());
}

void worker_cell::close_resource() noexcept {
  if (resource_.close())
    home_.count_close();
}

} // namespace troupe
