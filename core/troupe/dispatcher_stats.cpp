// The part of the dispatcher that says how the pool is doing: snapshots of the
// statistics, what kind of work a label is, and the receipt of a shutdown.

#include "troupe/dispatcher.hpp"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "troupe/log.hpp"
#include "troupe/readable.hpp"

namespace troupe {

namespace {

// How often a receipt looks again for workers to come back from batches that
// have nothing left to run.
constexpr auto most_looks = 10'000;

// How long requests must have run on one worker before the log says that they
// compute.
constexpr auto long_enough_to_judge = std::chrono::seconds{10};

} // namespace

// -- statistics ---------------------------------------------------------------

pool_stats dispatcher::stats() const {
  using std::chrono::steady_clock;
  pool_stats result;
  result.name = name();
  // First, so that whatever is counted here as complete is contained in all
  // that is looked at later.
  std::array<label_stats, label_book::size> labels;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    labels[i].succeeded = counts_[i].succeeded.load(std::memory_order_acquire);
    labels[i].failed = counts_[i].failed.load(std::memory_order_acquire);
    labels[i].cancelled = counts_[i].cancelled.load(std::memory_order_acquire);
    labels[i].expired = counts_[i].expired.load(std::memory_order_acquire);
    labels[i].late = counts_[i].late.load(std::memory_order_acquire);
  }
  result.batches = batches_.load(std::memory_order_acquire)
                   + calls_dropped_.load(std::memory_order_acquire);
  std::vector<const worker_record*> records;
  steady_clock::time_point now;
  {
    lock guard{mutex_};
    auto& unlabelled = labels[label_book::none];
    for (auto& cell : cells_) {
      auto succeeded = cell->calls_succeeded_.load(std::memory_order_acquire);
      auto failed = cell->calls_failed_.load(std::memory_order_acquire);
      unlabelled.succeeded += succeeded;
      unlabelled.failed += failed;
      result.batches += succeeded + failed;
    }
    now = steady_clock::now();
    result.workers = live_workers();
    result.idle = idle_count_;
    for (auto& cell : cells_) {
      records.push_back(&cell->record_);
      if (!cell->alive_)
        continue;
      auto& shown = result.team.emplace_back();
      shown.id = cell->id();
      auto current = cell->current_.load();
      shown.busy = current != nullptr;
      shown.stuck = cell->stuck_;
      result.busy += shown.busy;
      auto since = cell->record_.since();
      if (!shown.busy || since == steady_clock::time_point{})
        continue;
      shown.label = current->label();
      shown.running = std::max(now - since, steady_clock::duration{0});
      result.longest_running = std::max(result.longest_running, shown.running);
    }
    // Those in bursts that nobody came for are queued, too.
    auto open = open_calls();
    auto queued = queued_now() + open;
    result.queued = std::min(queued, options_.max_queued);
    result.waiting = queued - result.queued;
    result.oldest_queued = oldest_queued(now);
    result.submissions = submissions_ + open;
    result.arrived = arrived_ + open;
    result.blocked_by_key = blocked_by_key_;
    result.stuck = stuck_;
    result.spares = result.workers - std::min(result.workers, max_workers());
    result.missing = missing_;
    result.threads_refused = threads_refused_;
    result.failed_starts = failed_starts_;
    result.workers_lost = workers_lost_;
    result.resource = resource_stats_;
    result.resource.unavailable = resting_;
    if (submissions_ > 0)
      result.active = std::max((outstanding() > 0 ? now : last_over_.load())
                                   - first_submit_,
                               steady_clock::duration{0});
    result.offered = offered(first_submit_ + result.active);
    result.max_workers = max_workers();
    result.automatic = automatic();
    if (result.automatic) {
      result.least_workers = sizes().least;
      result.workers_limit = sizes().most;
    }
  }
  result.age = now - began_;
  result.max_queued = options_.max_queued;
  result.refused = refused_.load(std::memory_order_relaxed);
  result.not_admitted = not_admitted_.load(std::memory_order_relaxed);
  for (auto record : records)
    result.busy_time += record->busy_time(now);
  auto busy = [&](std::chrono::nanoseconds window) {
    auto begin = std::max(began_, activity::begin_of(now, window));
    std::chrono::nanoseconds spent{0};
    for (auto record : records)
      spent += record->busy_since(begin, now);
    auto all = static_cast<double>((now - begin).count())
               * static_cast<double>(result.max_workers);
    return all > 0 ? std::min(1.0, static_cast<double>(spent.count()) / all)
                   : 0.0;
  };
  result.busy_1s = busy(std::chrono::seconds{1});
  result.busy_10s = busy(std::chrono::seconds{10});
  result.busy_60s = busy(std::chrono::seconds{60});
  for (std::uint8_t i = 0; i < label_book::size; ++i) {
    auto& of = labels[i];
    of.label = labels_.label_of(i);
    auto seen = of.succeeded + of.failed + of.cancelled + of.expired > 0;
    for (auto record : records)
      if (auto part = record->find(i)) {
        seen = true;
        of.waited.merge(part->waited);
        of.ran.merge(part->ran);
        of.computed += std::chrono::nanoseconds{part->computed.load()};
        of.sampled += std::chrono::nanoseconds{part->sampled.load()};
      }
    if (!seen)
      continue;
    result.succeeded += of.succeeded;
    result.failed += of.failed;
    result.cancelled += of.cancelled;
    result.expired += of.expired;
    result.late += of.late;
    result.labels.push_back(std::move(of));
  }
  return result;
}

void dispatcher::judge(std::uint8_t label,
                       const worker_record::of_label& seen) noexcept {
  auto& said = counts_[label].judged;
  if (cooperative() || said.load(std::memory_order_relaxed)
      || seen.ran.sum() < long_enough_to_judge)
    return;
  label_stats of;
  of.sampled = std::chrono::nanoseconds{seen.sampled.load()};
  of.computed = std::chrono::nanoseconds{seen.computed.load()};
  std::size_t cores = std::max(std::thread::hardware_concurrency(), 1u);
  if (of.cpu_share() < 0.9 || max_workers() <= cores || said.exchange(true))
    return;
  try {
    write_log(log_level::warning, name(),
              fmt::format("label '{}': {} CPU: CPU-bound; more than {} {} "
                          "cannot help; use compute_pool",
                          on_one_line(labels_.label_of(label)),
                          readable_share(*of.cpu_share()), cores,
                          cores == 1 ? "worker" : "workers"));
  } catch (const std::bad_alloc&) {
    // A line that there is no memory for is lost.
  }
}

// Batches wait in order of arrival, but for those that were blocked meanwhile,
// so the oldest one is among the first.
std::chrono::nanoseconds dispatcher::oldest_queued(
    std::chrono::steady_clock::time_point now) const noexcept {
  constexpr auto enough = 100;
  auto oldest = now;
  auto look = [&](const batch_list& in) {
    auto left = enough;
    for (auto x = in.first; x != nullptr && left > 0; x = x->next_, --left)
      oldest = std::min(oldest, x->submitted_at());
  };
  look(open_bursts_);
  for (auto& of : classes_)
    look(of.waiting);
  for (auto& [key, share] : keys_)
    look(share.blocked);
  for (auto cell = first_hand_; cell != nullptr; cell = cell->hand_next_) {
    auto next = cell->hand_.position() + 1;
    if (next < cell->hand_.size)
      oldest = std::min(oldest, cell->hand_.batches[next]->submitted_at());
  }
  return now - oldest;
}

// -- receipts -----------------------------------------------------------------

bool dispatcher::add_unfinished(receipt& what) const {
  lock guard{mutex_};
  // In the order of the workers.
  std::vector<std::pair<const batch*, std::vector<running_request>>> running;
  // A worker may be on its way back from a batch that is counted already.
  auto add = [&](const worker_cell& cell, const batch& work,
                 clock::time_point since) {
    if (work.phase_.load() == batch::phase::over)
      return;
    auto found = std::find_if(running.begin(), running.end(),
                              [&](const auto& x) { return x.first == &work; });
    if (found == running.end())
      found = running.emplace(found, &work, std::vector<running_request>{});
    found->second.push_back({std::string{work.label()}, cell.id(), since});
  };
  for (auto& cell : cells_) {
    if (auto current = cell->current_.load())
      add(*cell, *current, cell->since_);
    for (auto part = cell->nested_; part != nullptr; part = part->outer_)
      add(*cell, part->work_, part->since_);
  }
  auto settled = true;
  for (auto& [work, workers] : running) {
    auto dropped = work->cancelled_count_.load(std::memory_order_relaxed);
    // Requests claimed together are counted together, so what the barrier
    // misses may have returned; but there are not more than that.
    auto left = work->barrier_.remaining();
    auto rest = work->unstarted();
    settled = settled && workers.size() + rest <= left && !work->moving();
    workers.resize(std::min<std::size_t>(workers.size(), left));
    // The calls of a burst that are over are counted, each by itself.
    if (!work->is_burst_) {
      what.cancelled += dropped;
      auto others = dropped + rest + static_cast<std::uint32_t>(workers.size());
      what.drained += work->size() - std::min(work->size(), others);
    }
    std::move(workers.begin(), workers.end(),
              std::back_inserter(what.still_running));
  }
  return settled;
}

pool_stats dispatcher::settled_stats() const {
  for (auto looks = 1;; ++looks) {
    auto ended = accounted_.load(std::memory_order_seq_cst);
    auto begun = over();
    auto result = stats();
    // With new batches all the time there may be no better moment.
    if ((begun == ended && over() == ended) || looks >= most_looks)
      return result;
    std::this_thread::yield();
  }
}

receipt dispatcher::write_receipt(const pool_stats& before) const {
  for (auto looks = 1;; ++looks) {
    // A batch that is just being counted would be in no bucket, or in two.
    auto ended = accounted_.load(std::memory_order_seq_cst);
    if (over() == ended) {
      receipt what;
      auto settled = add_unfinished(what);
      auto now = stats();
      auto late = now.late - before.late;
      what.drained +=
          now.succeeded - before.succeeded + now.failed - before.failed + late;
      what.cancelled += now.cancelled - before.cancelled + now.expired
                        - before.expired - late
                        - (now.not_admitted - before.not_admitted);
      if (over() == ended && (settled || looks >= most_looks))
        return what;
    }
    std::this_thread::yield();
  }
}

} // namespace troupe
