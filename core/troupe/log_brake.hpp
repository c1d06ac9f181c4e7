// Holds back lines of a log that come in a burst, and keeps count of them, so
// that thousands of failures with one cause do not bury what tells the cause.
// A plain value: it is told what time it is, and writes nothing itself.

#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace troupe {

/// Decides which lines are written. Not thread-safe.
///
/// Shape:  for each source, the first `burst` lines in any `window`; the rest
///         of that window is counted, and told as one line when it is over.
///         Each line is either written or counted, and each count is handed
///         out once.
class log_brake {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// How many lines of one source are written in a window. Guesses, like the
  /// next one.
  static constexpr unsigned burst = 5;

  static constexpr auto window = std::chrono::seconds{1};

  /// What was held back.
  struct remainder {
    std::uint64_t lines = 0;
    /// The last one of them.
    std::string last;
  };

  struct decision {
    /// Whether to write the line.
    bool write = false;

    /// What was held back in an earlier window: to be told before the line.
    std::optional<remainder> before = {};

    /// When to `look`, if this line is the first one that is held back in its
    /// window.
    std::optional<time_point> look_at = {};
  };

  /// Decides about the next line of `source`.
  decision add(std::string_view source, std::string_view text, time_point now);

  /// Returns what was held back of `source` if the window is over by now.
  std::optional<remainder> look(std::string_view source, time_point now);

  /// Returns what was held back of `source`, and forgets the source: its next
  /// line begins a new window.
  std::optional<remainder> forget(std::string_view source);

private:
  struct state {
    time_point until;
    unsigned written = 0;
    remainder held = {};
  };

  std::map<std::string, state, std::less<>> sources_;
};

} // namespace troupe
