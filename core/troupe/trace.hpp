// Who ran what when, as a file that Perfetto and chrome://tracing open: a lane
// for each worker, a span for each request, an arrow from whoever submitted it.
// One trace for the process. Starts no thread: tracer.hpp has the one that
// writes.

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace troupe::trace {

using time_point = std::chrono::steady_clock::time_point;

/// What is kept in memory until it is written, at most. What comes when this is
/// full is left out of the file, and counted.
inline constexpr std::size_t max_pending = std::size_t{8} << 20;

namespace detail {

inline std::atomic<bool> active{false};

} // namespace detail

/// Returns whether there is a trace. Looked at wherever something could be
/// added to it.
inline bool active() noexcept {
  return detail::active.load(std::memory_order_relaxed);
}

/// Begins a trace in the file `path`, which is replaced. The file is valid JSON
/// from then on, whenever it is looked at and however the process ends.
///
/// Errors: throws `failure` with `ec::invalid_option` if the file cannot be
///         written, or if there is a trace already.
/// Source: the Trace Event Format of Chrome.
void open(const std::string& path);

/// Writes what is pending. Nothing if there is no trace.
void flush() noexcept;

/// Writes what is pending, and ends the trace.
void close() noexcept;

/// Returns how many events were left out since the trace was opened: too many
/// at once, or the disk was full.
std::uint64_t left_out() noexcept;

// -- events -------------------------------------------------------------------

/// Tells requests apart; whoever submits and whoever runs a batch says the
/// same.
struct flow {
  const void* batch = nullptr;
  time_point submitted;
};

/// `requests` were submitted, on the thread that calls. `lane` is the name of
/// the worker that it belongs to; none: it is no worker.
void submitted(const flow& of, std::string_view lane, std::string_view label,
               std::uint32_t requests) noexcept;

/// What a worker ran without a look at the clock: one request, or tiny ones
/// that it claimed together.
struct span {
  /// The name of the worker, such as "io-3".
  std::string_view lane;
  std::string_view label;
  time_point begin;
  time_point end;
  std::uint32_t requests = 1;
  std::uint32_t failed = 0;
  /// Whether it is the first of the worker's part in a batch: the arrow ends
  /// there.
  bool first = true;
};

void ran(const flow& of, const span& what) noexcept;

/// Gives the request that this thread ran last, and that the next `ran` on this
/// thread tells of, a label of its own, where its batch has many. Nothing if
/// the label is empty, or if `ran` tells of several requests.
void name_last(std::string_view label) noexcept;

} // namespace troupe::trace
