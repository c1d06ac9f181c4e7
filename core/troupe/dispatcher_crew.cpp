// The part of the dispatcher that decides how many workers there are: growth on
// demand, workers that cannot be started, those that stand in for stuck ones,
// and those that nobody needs any more.

#include "troupe/dispatcher.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "troupe/log.hpp"
#include "troupe/readable.hpp"

namespace troupe {

namespace {

// The shortest time between two looks at busy workers. A guess.
constexpr auto shortest_guard = std::chrono::milliseconds{1};

} // namespace

// -- growth -------------------------------------------------------------------

void dispatcher::add(std::unique_ptr<worker_cell> cell) {
  lock guard{mutex_};
  cell->alive_ = cell->starting_ = true;
  cells_.push_back(std::move(cell));
  // A worker that ends, for whatever reason, must not need memory for that.
  free_cells_.reserve(cells_.capacity());
}

worker_cell* dispatcher::reuse() {
  lock guard{mutex_};
  if (free_cells_.empty())
    return nullptr;
  auto cell = free_cells_.back();
  free_cells_.pop_back();
  cell->alive_ = cell->starting_ = true;
  cell->word_.store(worker_cell::awake, std::memory_order_relaxed);
  // What its former worker was about to do must not decide how this one sleeps.
  cell->stays_awake_ = false;
  cell->users_.store(1, std::memory_order_relaxed);
  return cell;
}

std::size_t dispatcher::take_growth() {
  lock guard{mutex_};
  growth_asked_ = false;
  auto live = live_workers();
  // Nobody has tried since the last worker has ended.
  if (live == 0)
    outage_.reset();
  if (closed_ || growth_put_off_ || live >= capacity())
    return 0;
  missing_ = 0;
  auto room = capacity() - live;
  auto wanted = demand(room + starting_);
  // Those that are about to start will take something, too.
  wanted -= std::min<std::uint64_t>(wanted, starting_);
  auto more = std::min<std::uint64_t>(room, wanted);
  if (live < options_.min_workers)
    more = std::max<std::uint64_t>(more, options_.min_workers - live);
  live_.fetch_add(static_cast<std::uint32_t>(more), std::memory_order_relaxed);
  starting_ += more;
  return more;
}

// Counts requests that one more worker could claim, up to `enough`.
std::uint64_t dispatcher::demand(std::uint64_t enough) const noexcept {
  std::uint64_t result = 0;
  for (auto& of : classes_)
    for (auto list : {&of.waiting, &of.left, &of.running})
      for (auto x = list->first; x != nullptr && result < enough; x = x->next_)
        result += std::max<std::uint32_t>(x->unclaimed(), x->has_unclaimed());
  return std::min(result, enough);
}

bool dispatcher::cancel_growth(std::size_t n) {
  auto first = false;
  {
    lock guard{mutex_};
    starting_ -= n;
    live_.fetch_sub(static_cast<std::uint32_t>(n), std::memory_order_relaxed);
    ++threads_refused_;
    missing_ += n;
    put_off_growth();
    look_at_bursts();
    first = failures_in_a_row_ == 1;
  }
  restart_later();
  return first;
}

void dispatcher::put_back(worker_cell& cell) {
  lock guard{mutex_};
  cell.alive_ = cell.starting_ = false;
  if (cell.users_.fetch_sub(1, std::memory_order_acq_rel) == 1)
    free_cells_.push_back(&cell);
}

// Has the staff try again when the pause is over.
void dispatcher::restart_later() {
  clock::time_point when;
  {
    lock guard{mutex_};
    when = restart_at_;
  }
  staff_->call_at(clock_, when, [home = ref_ptr<dispatcher>{this}] {
    {
      lock guard{home->mutex_};
      home->growth_put_off_ = false;
    }
    home->staff_->grow();
  });
}

// The worker has begun, so the others will, too.
void dispatcher::note_start(worker_cell& cell) noexcept {
  if (!std::exchange(cell.starting_, false))
    return;
  --starting_;
  failures_in_a_row_ = 0;
  start_problem_.clear();
}

void dispatcher::put_off_growth() noexcept {
  growth_put_off_ = true;
  auto pause = defaults::first_restart;
  for (std::uint32_t i = 0;
       i < failures_in_a_row_ && pause < defaults::last_restart; ++i)
    pause *= 2;
  ++failures_in_a_row_;
  restart_at_ = clock_.now() + std::min(pause, defaults::last_restart);
}

// -- stuck workers ------------------------------------------------------------

// Changes with each claim, and with each request that the worker takes from
// what it has claimed.
std::uint64_t dispatcher::progress_of(const worker_cell& cell) const noexcept {
  std::uint64_t result = cell.claims_.load(std::memory_order_relaxed);
  auto index = cell.lane_.load(std::memory_order_relaxed);
  auto all = cell.current_.load()->lanes_.load(std::memory_order_acquire);
  if (all && index < all->count)
    result |= std::uint64_t{all->lanes[index].unstarted().begin} << 32;
  return result;
}

// When a call began is known for the first of a batch; of a later one, that it
// had begun when it was first seen.
void dispatcher::note_progress(worker_cell& cell,
                               clock::time_point now) noexcept {
  auto seen = progress_of(cell);
  if (cell.seen_any_ && cell.seen_ == seen)
    return;
  auto claims =
      cell.claims_.load(std::memory_order_relaxed) - cell.claims_at_begin_;
  auto first =
      claims <= 1
      && cell.lane_.load(std::memory_order_relaxed) == worker_cell::no_lane;
  cell.seen_any_ = true;
  cell.seen_ = seen;
  cell.seen_since_ = first ? cell.since_ : now;
}

clock::time_point dispatcher::watch(std::vector<stuck_request>& alarms) {
  trash garbage;
  wake_list to_wake;
  auto grow = false;
  auto busy = false;
  auto limit = options_.max_run_time;
  auto again = clock::time_point::max();
  {
    lock guard{mutex_};
    auto now = clock_.now();
    auto before = alarms.size();
    for (auto& cell : cells_) {
      auto work = cell->current_.load();
      if (work == nullptr)
        continue;
      busy = true;
      auto seen = cell->seen_;
      note_progress(*cell, now);
      // It went on to the next request of its batch.
      if (cell->stuck_ && cell->seen_ != seen)
        end_stuck(*cell, to_wake);
      if (cell->stuck_ || work->phase_.load() == batch::phase::over)
        continue;
      auto ran = now - cell->seen_since_;
      if (ran < limit) {
        again = std::min(again, cell->seen_since_ + limit);
        continue;
      }
      cell->stuck_ = true;
      ++stuck_;
      recall(*cell);
      if (work->is_private())
        share_burst(*work, to_wake);
      auto& inner = cell->nested_ ? cell->nested_->work_ : *work;
      stuck_request alarm;
      alarm.pool = name();
      alarm.label = inner.label();
      alarm.worker = cell->id();
      alarm.thread = cell->thread_.load(std::memory_order_relaxed);
      alarm.running = ran;
      alarms.push_back(std::move(alarm));
    }
    spares_.store(std::min(stuck_, options_.max_spares),
                  std::memory_order_relaxed);
    for (auto i = before; i < alarms.size(); ++i) {
      alarms[i].stuck = stuck_;
      alarms[i].spares_left =
          options_.max_spares - std::min(options_.max_spares, stuck_);
      alarms[i].exhausted = exhausted();
    }
    shed_surplus(to_wake);
    look_at_bursts();
    if (alarms.size() > before)
      serve_idle(to_wake, garbage);
    // One that is left over may be busy in a batch for long.
    if (live_workers() > capacity())
      call_workers(1);
    if (busy)
      again = std::min(
          again,
          now + std::max<std::chrono::nanoseconds>(limit / 4, shortest_guard));
    else
      guarded_.store(false, std::memory_order_relaxed);
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  wake_all(to_wake);
  if (grow)
    staff_->grow();
  return again;
}

// The worker's call has returned, so that it needs no spare any more. Returns
// whether it was stuck.
bool dispatcher::end_stuck(worker_cell& cell, wake_list& to_wake) noexcept {
  if (!std::exchange(cell.stuck_, false))
    return false;
  --stuck_;
  spares_.store(std::min(stuck_, options_.max_spares),
                std::memory_order_relaxed);
  shed_surplus(to_wake);
  return true;
}

// Retires idle workers beyond what there may be.
void dispatcher::shed_surplus(wake_list& to_wake) noexcept {
  while (idle_ && live_workers() > capacity()) {
    auto cell = idle_;
    remove_idle(*cell);
    if (give_retire(*cell))
      to_wake.push_back(cell);
  }
}

bool dispatcher::only_stuck_left() const {
  lock guard{mutex_};
  auto busy = std::count_if(cells_.begin(), cells_.end(), [](const auto& cell) {
    return cell->current_.load() != nullptr;
  });
  return busy > 0
         && (options_.max_run_time.count() == 0
             || static_cast<std::size_t>(busy) == stuck_);
}

// Whether every worker is stuck and none will be added.
bool dispatcher::exhausted() const noexcept {
  return stuck_ > 0 && stuck_ >= live_workers()
         && (stuck_ >= max_workers() + options_.max_spares || growth_put_off_);
}

std::string dispatcher::exhausted_text() const {
  const worker_cell* longest = nullptr;
  for (auto& cell : cells_)
    if (cell->stuck_ && (!longest || cell->seen_since_ < longest->seen_since_))
      longest = cell.get();
  return fmt::format(
      "all {} workers of the pool '{}' are stuck, '{}' on worker {} for {}, "
      "and no spare is left (troupe.max-spares = {}); wait for one to return, "
      "or raise troupe.workers",
      stuck_, name(), longest->current_.load()->label(), longest->name(),
      about(clock_.now() - longest->seen_since_), options_.max_spares);
}

clock::time_point dispatcher::retire_idle(clock::time_point now) {
  wake_list to_wake;
  auto again = clock::time_point::max();
  {
    lock guard{mutex_};
    auto oldest = now;
    for (auto& cell : cells_)
      if (cell->resting_ && now - cell->since_ < options_.idle_timeout)
        oldest = std::min(oldest, cell->since_);
    if (resting_ > 0 && !wants_workers())
      retire_resting(to_wake, options_.min_workers,
                     now - options_.idle_timeout);
    for (auto cell = idle_; cell != nullptr;) {
      auto after = cell->idle_next_;
      if (live_workers() <= options_.min_workers)
        break;
      if (now - cell->since_ >= options_.idle_timeout) {
        remove_idle(*cell);
        if (give_retire(*cell))
          to_wake.push_back(cell);
      } else {
        oldest = std::min(oldest, cell->since_);
      }
      cell = after;
    }
    if (live_workers() > options_.min_workers)
      again = oldest + options_.idle_timeout;
    look_at_bursts();
  }
  // There was less to do lately.
  if (!to_wake.empty())
    op_memory::trim();
  wake_all(to_wake);
  return again;
}

} // namespace troupe
