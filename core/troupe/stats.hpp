// A snapshot of a pool, as plain values: what its workers do, what became of
// its requests, how long these waited and ran, by label; and the table that
// shows it.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/histogram.hpp"

namespace troupe {

/// What was measured of the requests of one label, since the pool began.
///
/// A gather of calls counts under its own label, not under theirs.
struct label_stats {
  /// The label; empty for requests without one. The first 64 labels of a pool
  /// are told apart; all later ones count as "other".
  std::string label;

  /// Requests of complete batches, by what came of them; see `completion`.
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t expired = 0;

  /// Those of the expired ones that ran to their end all the same; nobody got
  /// their results.
  std::uint64_t late = 0;

  /// From the submit to the start of a call. Retries don't count. Of a stream:
  /// once for each worker that takes it up.
  histogram waited;

  /// From the start of a call to its end, each attempt by itself, with the
  /// fraction of a microsecond that it takes the worker to get at it. Tiny
  /// requests that were claimed together share what they took.
  histogram ran;

  /// How long workers computed, or waited for a core to compute on, of the time
  /// in which that was measured.
  std::chrono::nanoseconds computed{0};
  std::chrono::nanoseconds sampled{0};

  /// Returns the share of their running time that requests compute, or would if
  /// a core were free. None: measured for less than a millisecond.
  std::optional<double> cpu_share() const noexcept;

  /// Returns "CPU-bound" from a share of 0.9, "I/O-bound" up to a half, "mixed"
  /// between, and nothing where the share is not known.
  std::string_view bound() const noexcept;

  /// Adds what `other` says to this, but for its label.
  void merge(const label_stats& other) noexcept;
};

/// What one worker does.
struct worker_stats {
  /// From 1.
  int id = 0;

  /// Whether it works on a batch, of which label, and whether the call has run
  /// for longer than `max-run-time`.
  bool busy = false;
  bool stuck = false;
  std::string label;

  /// How long it has been at the request it runs, or at the few tiny ones that
  /// it claimed together.
  std::chrono::nanoseconds running{0};
};

/// What became of the resources of a pool's workers; see resource.hpp.
struct resource_stats {
  /// How many were opened and closed: `opens - closes` are open.
  std::uint64_t opens = 0;
  std::uint64_t closes = 0;

  /// How often it was tried to open one and failed, and why the last time; the
  /// text stays when it is over.
  std::uint64_t open_failures = 0;
  std::string last_open_error;

  /// Idle ones that turned out to be of no more use when they were checked.
  std::uint64_t failed_checks = 0;

  /// Workers that take no request now, because they wait before they try again
  /// to open one.
  std::size_t unavailable = 0;
};

/// A snapshot of a pool. Counts begin with the pool.
///
/// What says how things are now (workers, queue, what runs) is from one moment.
/// Counts and times are never taken back, and include all of whatever is
/// complete; times also include requests of batches that are not.
struct pool_stats {
  /// The name of the pool, and how long it has existed.
  std::string name;
  std::chrono::nanoseconds age{0};

  // -- workers ----------------------------------------------------------------

  /// Workers that live or are about to start: those that work on a batch, those
  /// that wait for one, and those in between.
  std::size_t workers = 0;
  std::size_t busy = 0;
  std::size_t idle = 0;

  /// Those of the busy ones whose call has run for longer than `max-run-time`,
  /// and how many workers there are beyond `max_workers` to stand in for them.
  std::size_t stuck = 0;
  std::size_t spares = 0;

  /// Workers that the pool would have if the last try to start them had not
  /// failed; it will try again.
  std::size_t missing = 0;

  /// How often the system refused the thread of a worker, how often
  /// `on_worker_start` threw, and how many workers ended without having been
  /// told to and were replaced.
  std::uint64_t threads_refused = 0;
  std::uint64_t failed_starts = 0;
  std::uint64_t workers_lost = 0;

  /// The most workers that the pool may have, but for those that stand in: of
  /// one that sizes itself, its size at the moment.
  std::size_t max_workers = 0;

  /// Whether the pool sizes itself (`workers = auto`), and between which sizes.
  bool automatic = false;
  std::size_t least_workers = 0;
  std::size_t workers_limit = 0;

  /// The workers that live, in order of their numbers.
  std::vector<worker_stats> team;

  /// How long the request that has run longest has been running; 0 if none
  /// runs.
  std::chrono::nanoseconds longest_running{0};

  /// Time that workers have spent on batches, summed over all workers.
  std::chrono::nanoseconds busy_time{0};

  /// The share of the time of `max_workers` workers that was spent on batches
  /// lately, to within a quarter of a second; of a younger pool, since it
  /// began.
  double busy_1s = 0;
  double busy_10s = 0;
  double busy_60s = 0;

  resource_stats resource = {};

  // -- queue ------------------------------------------------------------------

  /// Submissions admitted and not yet started.
  std::size_t queued = 0;

  /// Submissions that wait for admission, because `max-queued` is reached.
  std::size_t waiting = 0;

  /// What `max-queued` is.
  std::size_t max_queued = 0;

  /// How long ago the oldest batch was submitted that no worker has begun with;
  /// 0 if there is none.
  std::chrono::nanoseconds oldest_queued{0};

  /// Submissions refused, because `max-queued` is reached or the pool stopped.
  std::uint64_t refused = 0;

  // -- requests ---------------------------------------------------------------

  /// Submissions, and requests in them, that were admitted; and the time from
  /// the first of them until workers were busy last.
  std::uint64_t submissions = 0;
  std::uint64_t arrived = 0;
  std::chrono::nanoseconds active{0};

  /// The time that workers had in that time: that many, for that long. Of a
  /// pool that was never resized, `active` times `max_workers`.
  std::chrono::nanoseconds offered{0};

  /// Submissions that had to wait for room at their key.
  std::uint64_t blocked_by_key = 0;

  /// Batches that are complete, and what came of their requests.
  std::uint64_t batches = 0;
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t expired = 0;

  /// Those of the expired ones that ran to their end all the same; nobody got
  /// their results.
  std::uint64_t late = 0;

  /// Those of the cancelled and expired ones whose batch was never admitted: it
  /// was refused, or cancelled before.
  std::uint64_t not_admitted = 0;

  /// By label, in order of first use. The counts above are their sums.
  std::vector<label_stats> labels;

  /// Returns what was measured of all labels together.
  label_stats total() const;
};

/// Returns a snapshot of each pool of this process, in order of age.
std::vector<pool_stats> stats_of_all_pools();

/// Returns a table: a line for the workers, one for the queue, and one for each
/// label with outcomes and times. Lines end in a line feed.
std::string to_string(const pool_stats& stats);

} // namespace troupe
