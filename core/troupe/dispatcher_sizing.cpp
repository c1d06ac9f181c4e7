// The part of the dispatcher that changes how many workers there may be, by
// hand or by itself: what it sees of the load, and what happens to surplus
// workers.

#include "troupe/dispatcher.hpp"

#include <algorithm>
#include <thread>
#include <utility>

namespace troupe {

namespace {

// Looks without anything waiting, after which nobody looks any more. So that a
// queue that runs empty now and then is one stretch of work; a second.
constexpr auto most_quiet_looks = 20;

// Threads that are asked how much they compute: each takes some system calls,
// and they all do much the same.
constexpr std::size_t most_threads = 8;

} // namespace

bool dispatcher::can_size_itself() noexcept {
  // Without, nothing is seen of the load.
  return TROUPE_STATISTICS;
}

// -- by hand ------------------------------------------------------------------

void dispatcher::resize(std::size_t workers) {
  lock guard{mutex_};
  automatic_.store(workers == troupe::automatic && can_size_itself(),
                   std::memory_order_relaxed);
  if (workers == troupe::automatic)
    workers = std::clamp(max_workers(), sizes().least, sizes().most);
  set_size(std::move(guard), workers);
}

void dispatcher::set_size(lock guard, std::size_t workers) {
  wake_list to_wake;
  trash garbage;
  auto grow = false;
  auto now = std::chrono::steady_clock::now();
  offered_ = offered(now);
  resized_ = now;
  max_workers_.store(workers, std::memory_order_relaxed);
  // Those first that are of no use.
  retire_resting(to_wake, capacity());
  shed_surplus(to_wake);
  // Others may be busy in a batch for long.
  if (auto surplus = surplus_workers(); surplus > 0) {
    shrinking_ = true;
    call_workers(surplus);
  }
  recall_all();
  look_at_bursts();
  serve_idle(to_wake, garbage);
  if (wants_growth() && !growth_asked_)
    grow = growth_asked_ = true;
  guard.unlock();
  wake_all(to_wake);
  if (grow)
    staff_->grow();
}

std::int32_t dispatcher::surplus_workers() const noexcept {
  auto live = live_workers();
  return static_cast<std::int32_t>(live
                                   - std::min<std::size_t>(live, capacity()));
}

// Worker time from the first submission up to `now`.
std::chrono::nanoseconds
dispatcher::offered(std::chrono::steady_clock::time_point now) const noexcept {
  if (submissions_ == 0)
    return std::chrono::nanoseconds{0};
  auto since = std::max(first_submit_, resized_);
  auto span = std::max(now - since, std::chrono::steady_clock::duration{0});
  return offered_ + span * static_cast<std::int64_t>(max_workers());
}

// -- by itself ----------------------------------------------------------------

auto_sizer::bounds dispatcher::sizes() const noexcept {
  auto_sizer::bounds result;
  result.most = options_.workers_limit;
  result.least = std::clamp<std::size_t>(options_.min_workers, 1, result.most);
  result.first = max_workers();
  result.cores = std::max(std::thread::hardware_concurrency(), 1u);
  return result;
}

bool dispatcher::begin_sizing() {
  lock guard{mutex_};
  // Whoever asked may have been served meanwhile; a look will tell. To wait for
  // the next one to ask would mean a message for each.
  if (!automatic() || closed_ || submissions_ == 0
      || sizing_.exchange(true, std::memory_order_relaxed))
    return false;
  seen_ = {};
  seen_.when = clock_.now();
  for (auto& cell : cells_)
    seen_.returned += cell->record_.returned();
  return true;
}

std::optional<load_observation> dispatcher::observe_load() {
  load_observation seen;
  std::vector<std::uint64_t> threads;
  trash garbage;
  wake_list to_wake;
  auto over = false;
  {
    lock guard{mutex_};
    auto now = clock_.now();
    seen.elapsed = now - std::exchange(seen_.when, now);
    auto before = std::exchange(seen_.returned, 0);
    for (auto& cell : cells_) {
      seen_.returned += cell->record_.returned();
      // One that is stuck gets nothing done, and has somebody to stand in.
      if (!cell->alive_ || cell->stuck_)
        continue;
      ++seen.workers;
      if (cell->current_.load() == nullptr)
        continue;
      ++seen.busy;
      auto thread = cell->thread_.load(std::memory_order_relaxed);
      if (thread != 0 && threads.size() < most_threads)
        threads.push_back(thread);
    }
    seen.completed = seen_.returned - before;
    // Nobody may come by who would see what they hold back.
    while (recall_late(std::chrono::steady_clock::now())) {
    }
    serve_idle(to_wake, garbage);
    seen.waiting = demand(max_workers());
    seen.waiting =
        std::max(seen.waiting, hinted_.load(std::memory_order_relaxed));
    seen_.quiet = seen.waiting > 0 ? 0 : seen_.quiet + 1;
    if (!automatic() || closed_ || outstanding() == 0
        || seen_.quiet >= most_quiet_looks) {
      sizing_.store(false, std::memory_order_relaxed);
      hinted_.store(0, std::memory_order_relaxed);
      over = true;
    }
  }
  wake_all(to_wake);
  if (over)
    return std::nullopt;
  seen.computing = computing(threads);
  return seen;
}

// The share of their time that these threads computed, or would have.
std::optional<double>
dispatcher::computing(const std::vector<std::uint64_t>& threads) {
  using std::chrono::duration;
  auto before = std::exchange(seen_.computed, {});
  duration<double> computed{0};
  duration<double> observed{0};
  for (auto thread : threads) {
    auto demand = thread_cpu_demand(thread);
    if (!demand)
      continue;
    auto now = std::chrono::steady_clock::now();
    seen_.computed.emplace(thread, std::pair{*demand, now});
    if (auto found = before.find(thread); found != before.end()) {
      computed += *demand - found->second.first;
      observed += now - found->second.second;
    }
  }
  if (observed.count() <= 0)
    return std::nullopt;
  return std::clamp(computed / observed, 0.0, 1.0);
}

void dispatcher::adapt(std::size_t workers) {
  lock guard{mutex_};
  if (automatic() && workers != max_workers())
    set_size(std::move(guard), workers);
}

void dispatcher::hint_demand(std::size_t n) noexcept {
  if (!automatic())
    return;
  hinted_.store(n, std::memory_order_relaxed);
  if (n == 0 || sizing_.load(std::memory_order_relaxed))
    return;
  auto grow = false;
  {
    lock guard{mutex_};
    if (!closed_ && !growth_asked_)
      grow = growth_asked_ = true;
  }
  if (grow)
    staff_->grow();
}

} // namespace troupe
