// What the pool tells about itself, as plain values: the completion of a batch,
// the receipt of a shutdown, and a snapshot of the statistics.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace troupe {

/// The event message: sent when a batch is complete, once per batch, to the
/// subscribers of its pool.
struct completion {
  /// Numbers the batches of one process, from 1.
  std::uint64_t id = 0;

  /// The label of the operation, or an empty string.
  std::string label;

  /// How many requests the batch had. Each is counted in exactly one of the
  /// four numbers that follow: it returned, threw, never ran, or had its
  /// deadline pass, before it ran or while it ran.
  std::uint64_t requests = 0;
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t expired = 0;

  /// From the submit to the last outcome.
  std::chrono::nanoseconds elapsed{0};
};

/// A request that was still running when a shutdown gave up waiting for it.
struct running_request {
  /// The label of the operation; of a gather of calls, that of the gather.
  std::string label;

  /// The number of the worker that runs it.
  int worker = 0;

  /// When the worker took up the batch that the request is part of.
  std::chrono::steady_clock::time_point since;
};

/// What came of the requests that a pool had when its shutdown began. Each is
/// in exactly one bucket.
struct receipt {
  /// Requests that ran to their end, with a value or a failure.
  std::uint64_t drained = 0;

  /// Requests that never ran: cut off by the shutdown, whose callers got
  /// `ec::pool_stopped`, or cancelled by somebody else meanwhile.
  std::uint64_t cancelled = 0;

  /// Requests that nobody waits for any more. They run to their end; their
  /// callers get the outcome.
  std::vector<running_request> still_running;
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

/// The alarm of a pool with `max-run-time`: sent to its subscribers, once for
/// each call that has run for longer.
struct stuck_request {
  std::string pool;

  /// The label of the operation that the call belongs to, or an empty string.
  std::string label;

  /// The number of the worker, and its thread as the system numbers it
  /// (`gettid`); 0 if the worker has no thread of its own.
  int worker = 0;
  std::uint64_t thread = 0;

  /// How long the call has run, at the least.
  std::chrono::nanoseconds running{0};

  /// How many workers of the pool are stuck now, this one included, and how
  /// many more may be before no spare stands in for them.
  std::size_t stuck = 0;
  std::size_t spares_left = 0;

  /// Whether all workers are stuck and no spare is left: until one of them
  /// returns, new requests fail with `ec::pool_stuck`.
  bool exhausted = false;
};

/// A snapshot of a pool. Counts begin with the pool.
struct pool_stats {
  /// Workers that live or are about to start: those that work on a batch, those
  /// that wait for one, and those in between.
  std::size_t workers = 0;
  std::size_t busy = 0;
  std::size_t idle = 0;

  /// Those of the busy ones whose call has run for longer than `max-run-time`,
  /// and how many workers there are beyond `workers` to stand in for them.
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

  /// Submissions admitted and not yet started.
  std::size_t queued = 0;

  /// Submissions that wait for admission, because `max-queued` is reached.
  std::size_t waiting = 0;

  /// Submissions refused, because `max-queued` is reached or the pool stopped.
  std::uint64_t refused = 0;

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

  /// Time that workers have spent on batches, summed over all workers; counted
  /// when a worker leaves a batch.
  std::chrono::nanoseconds busy_time{0};

  resource_stats resource = {};
};

} // namespace troupe
