// The part of the dispatcher that concerns workers who lack their resource:
// such a worker takes no request. It opens a resource, outside the lock, or
// rests until it tries again; and if none of them can, what waits is told so.

#include "troupe/dispatcher.hpp"

#include <random>
#include <utility>

#include <fmt/format.h>

#include "troupe/modifiers.hpp"

namespace troupe {

namespace {

// Doubling a wait more often than this has no effect any more.
constexpr unsigned most_doublings = 40;

std::chrono::nanoseconds wait_after(const resource_rules& rules,
                                    unsigned failures) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  retry_policy policy;
  policy.backoff = rules.backoff;
  policy.max_backoff = rules.longest_backoff;
  return backoff_after(policy, std::min(failures, most_doublings),
                       std::uniform_real_distribution<>{0, 1}(random));
}

} // namespace

// -- the worker's side --------------------------------------------------------

worker_cell::hand_off dispatcher::next(worker_cell& cell,
                                       const ref_ptr<batch>& done,
                                       leave_reason why) {
  if (!cell.resource_stale())
    return next_work(cell, done, why);
  if (done)
    step_back(cell, *done);
  // Not worth a connection for a worker that is about to end.
  if (!retire_if_surplus(cell)) {
    try {
      cell.renew_resource();
    } catch (...) {
      // It is counted, and there is nobody else to tell.
      return rest(cell);
    }
    return next_work(cell, nullptr, why);
  }
  return {nullptr, true};
}

// Ends a worker without a resource that nobody needs any more. What waits is
// for others, or about to be cancelled.
bool dispatcher::retire_if_surplus(worker_cell& cell) {
  trash garbage;
  wake_list to_wake;
  {
    lock guard{mutex_};
    if (!closed_ && live_workers() <= capacity())
      return false;
    note_start(cell);
    cell.current_ = nullptr;
    cell.alive_ = false;
    live_.fetch_sub(1, std::memory_order_relaxed);
    look_at_bursts();
    if (somebody_waits()) {
      // It may have been called for that.
      call_workers(1);
      serve_idle(to_wake, garbage);
    }
  }
  wake_all(to_wake);
  return true;
}

// The worker leaves a batch, without taking another one, so that what is left
// of it goes to others who have a resource.
void dispatcher::step_back(worker_cell& cell, batch& work) {
  // The list may hold the last reference but the caller's.
  ref_ptr<batch> keep{&work};
  trash garbage;
  laid_down over;
  wake_list to_wake;
  auto grow = false;
  auto lose = false;
  {
    lock guard{mutex_};
    cell.current_ = nullptr;
    lay_down(cell, over);
    end_stuck(cell, to_wake);
    arrive(cell);
    leave(work);
    lose = lost_the_last(work);
    if (!work.has_unclaimed()) {
      unlist(work);
    } else if (work.participants_ == 0) {
      unlist(work);
      if (auto other = hand_over(work, clock_.now()))
        to_wake.push_back(other);
      // Else somebody has it who need not be woken, or it waits once more.
      if ((work.place_ == batch::place::waiting
           || work.place_ == batch::place::blocked)
          && work.unclaimed() == work.size())
        enqueue(work);
    } else {
      if (work.place_ == batch::place::nowhere)
        relist(work);
      if (idle_ && work.place_ == batch::place::running
          && work.unclaimed() > 0) {
        auto other = idle_;
        remove_idle(*other);
        if (give(*other, work, clock_.now()))
          to_wake.push_back(other);
      }
    }
    release_key(work);
    serve_idle(to_wake, garbage);
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  wake_all(to_wake);
  if (grow)
    staff_->grow();
  if (lose)
    work.lose(cell);
  let_go(over, cell);
}

// The worker could not open its resource: it takes nothing until it has tried
// again. If nobody has had a resource for too long, all that waits fails.
worker_cell::hand_off dispatcher::rest(worker_cell& cell) {
  std::vector<ref_ptr<batch>> given_up;
  wake_list to_wake;
  trash garbage;
  auto surplus = false;
  auto grow = false;
  clock::time_point again;
  std::uint64_t number = 0;
  {
    lock guard{mutex_};
    note_start(cell);
    auto now = clock_.now();
    const auto& rules = resource_.rules;
    if (cell.failed_opens_++ == 0)
      cell.since_ = now;
    again = now + wait_after(rules, cell.failed_opens_);
    if (outage_) {
      auto end = *outage_ + rules.give_up_after;
      // A last try when it is time to give up.
      if (now < end)
        again = std::min(again, end);
      else {
        close_bursts();
        given_up = listed();
      }
    }
    // What came while it was opening is to be seen by somebody.
    look_at_bursts();
    serve_idle(to_wake, garbage);
    surplus = closed_ || live_workers() > capacity();
    if (!surplus) {
      cell.resting_ = true;
      number = ++cell.rest_;
      ++resting_;
      cell.word_.store(worker_cell::asleep, std::memory_order_release);
    }
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  wake_all(to_wake);
  if (grow)
    staff_->grow();
  for (auto& work : given_up)
    work->cancel(ec::resource_unavailable);
  // Those who close or shrink the pool see only workers that rest already.
  if (surplus)
    return next(cell, nullptr, leave_reason::exhausted);
  staff_->call_at(clock_, again,
                  [home = ref_ptr<dispatcher>{this}, &cell, number] {
                    home->end_rest(cell, number);
                  });
  return {};
}

void dispatcher::end_rest(worker_cell& cell, std::uint64_t number) {
  auto asleep = false;
  {
    lock guard{mutex_};
    // The worker may have ended, and another one may rest in its cell.
    if (!cell.resting_ || cell.rest_ != number)
      return;
    cell.resting_ = false;
    --resting_;
    asleep = cell.give(worker_cell::again);
  }
  if (asleep)
    wake(cell);
}

// Retires workers that have been resting since `latest` or earlier, as long as
// more than `least` live.
void dispatcher::retire_resting(wake_list& to_wake, std::size_t least,
                                clock::time_point latest) noexcept {
  if (resting_ == 0)
    return;
  for (auto& cell : cells_) {
    if (live_workers() <= least)
      return;
    if (!cell->resting_ || cell->since_ > latest)
      continue;
    cell->resting_ = false;
    --resting_;
    if (give_retire(*cell))
      to_wake.push_back(cell.get());
  }
}

// -- counts -------------------------------------------------------------------

void dispatcher::count_open(worker_cell& cell) {
  lock guard{mutex_};
  ++resource_stats_.opens;
  outage_.reset();
  cell.failed_opens_ = 0;
}

void dispatcher::count_close() noexcept {
  lock guard{mutex_};
  ++resource_stats_.closes;
}

void dispatcher::count_failed_open(std::string why) {
  lock guard{mutex_};
  ++resource_stats_.open_failures;
  resource_stats_.last_open_error = std::move(why);
  if (!outage_ && resource_stats_.opens == resource_stats_.closes)
    outage_ = clock_.now();
}

void dispatcher::count_failed_check() noexcept {
  lock guard{mutex_};
  ++resource_stats_.failed_checks;
}

std::string dispatcher::outage_text() const {
  lock guard{mutex_};
  if (!start_problem_.empty())
    return start_text();
  return fmt::format("no worker of the pool '{}' has a resource, and opening "
                     "one fails: {}; they go on trying",
                     name(), resource_stats_.last_open_error);
}

} // namespace troupe
