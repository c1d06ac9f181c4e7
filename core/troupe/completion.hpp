// What the pool tells about itself unasked, or when it ends, as plain values:
// the completion of a batch and the receipt of a shutdown. What it tells when
// asked is in stats.hpp.

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
  /// Numbers the batches of one process whose completion somebody is told, from
  /// 1.
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

} // namespace troupe
