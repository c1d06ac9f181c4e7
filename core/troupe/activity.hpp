// How busy a worker was lately: its busy time in each quarter of a second of
// the last minute. Written when the worker goes on to something else, so that
// an idle pool costs nothing; read by whoever takes a snapshot.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace troupe {

/// Busy time by when it was. One thread writes at a time; anybody may read
/// meanwhile.
class activity {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// How finely windows are cut.
  static constexpr std::chrono::nanoseconds step =
      std::chrono::milliseconds{250};

  /// The longest window that can be asked for.
  static constexpr std::chrono::nanoseconds longest = std::chrono::seconds{60};

  /// Returns when the window of length `window` up to `now` begins: at the
  /// last step that is not later than `now - window`.
  static time_point begin_of(time_point now,
                             std::chrono::nanoseconds window) noexcept;

  /// Notes that the worker was busy in this time, which is later than all that
  /// was noted before.
  void add(time_point from, time_point to) noexcept;

  /// Returns the busy time since `begin`, which `begin_of` returned.
  std::chrono::nanoseconds since(time_point begin) const noexcept;

private:
  static constexpr std::size_t slots = 256;

  static std::int64_t number_of(time_point when) noexcept;

  void add_to(std::int64_t number, std::chrono::nanoseconds spent) noexcept;

  // In each word: which step it stands for, in the upper bits, and how many
  // nanoseconds of that step were busy. So a reader never mixes two steps.
  std::array<std::atomic<std::uint64_t>, slots> words_{};
};

} // namespace troupe
