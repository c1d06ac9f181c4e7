// What a pool has to say when no caller waits for an answer that could carry
// it: a worker that was replaced, a thread that could not be had, a failure
// that nobody took. One line each, for people; whoever must act on it listens
// to the pool's messages instead.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace troupe {

/// How much a line of the log matters.
enum class log_level : std::uint8_t {
  /// Something changed by itself, and all is well.
  info,
  /// A pool does less than it was asked to, or may soon.
  warning,
  /// Something was lost.
  error,
};

/// Returns the name of `level`, such as "warning".
std::string_view to_string(log_level level) noexcept;

/// One line of the log.
struct log_entry {
  log_level level = log_level::info;

  /// The name of the pool, or empty if it is about none.
  std::string pool;

  /// What happened, with the label of the request and the name of the worker as
  /// far as there are any.
  std::string text;
};

/// Takes the lines of the log. Is called on whichever thread has something to
/// say, on several at once; must not wait for a pool. What it throws is
/// dropped, and the line goes to stderr instead.
using log_sink = std::function<void(const log_entry&)>;

/// Sends the log of this process to `sink` from now on, instead of one line
/// each to stderr: "troupe: pool 'io': ..."; an empty one brings that back.
///
/// Shape:  returns the former sink, empty if it was the default one, so that it
///         can be put back. Lines that are on their way may still reach it.
log_sink set_log_sink(log_sink sink);

/// Says something about `pool`; empty for none. From any thread. A line that
/// there is no memory for is lost.
void write_log(log_level level, std::string_view pool,
               std::string text) noexcept;

} // namespace troupe
