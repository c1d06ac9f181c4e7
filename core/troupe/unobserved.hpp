// Failures that nobody takes: those of operations that were started and then
// dropped, so that there is no caller to tell. They are reported here, since a
// failure that is told to nobody looks like success.

#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "troupe/error.hpp"

namespace troupe {

class op_state;

/// A failure that nobody took.
struct unobserved_failure {
  /// The name of the pool; empty for tasks, waits and the like.
  std::string pool;

  /// Exception, text with label and worker, and whether the call ran.
  failure_ptr failure;
};

/// Takes the failures that nobody took. Is called on whichever thread completed
/// the operation, on several at once, which may be a worker: must be short and
/// wait for nothing. What it throws is dropped, and the failure is logged.
using unobserved_sink = std::function<void(const unobserved_failure&)>;

/// Sends the failures of this process that nobody takes to `sink` from now on,
/// instead of to the log; an empty one brings that back. The log gets one line
/// each, but of one pool no more than five a second, and how many more there
/// were; `sink` gets every one.
///
/// Shape:  one call for each operation that was started and dropped, or whose
///         actor had ended, and that failed. Not for those that were cancelled:
///         who did that knows; nor for a std::future that is dropped, which
///         cannot be seen. Returns the former sink, empty if it was the default
///         one.
/// Source: asyncio's "Task exception was never retrieved" and
///         loop.set_exception_handler.
unobserved_sink set_unobserved_sink(unobserved_sink sink);

/// Whoever was to take the outcome of `op`, which has started, goes without:
/// if it fails, or has failed, that is reported.
void leave_unobserved(op_state& op) noexcept;

/// Reports the failure of `op`, if it has one that is worth it.
/// @pre `op.done()`
void report_unobserved(const op_state& op) noexcept;

/// As above, for a failure that is known without its operation.
void report_unobserved(std::string_view pool, const failure_ptr& why) noexcept;

/// Calls a function at a point in time, or later.
using unobserved_timer = void (*)(std::chrono::steady_clock::time_point,
                                  std::function<void()>);

/// Has `timer` see to it that the log is told of failures that it was spared,
/// also if none comes after them. This room starts no thread that could.
void set_unobserved_timer(unobserved_timer timer) noexcept;

/// Tells the log now of those failures of `pool`, and of those that belong to
/// no pool: it ends.
void tell_spared_failures(std::string_view pool) noexcept;

} // namespace troupe
