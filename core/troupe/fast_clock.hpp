// The time of steady_clock for less, for who looks at it after each tiny call:
// between two looks at the clock, which are a millisecond apart, the
// processor's counter says how much has passed. It costs a third.

#pragma once

#include <chrono>
#include <cstdint>

namespace troupe {

/// Tells one thread the time.
///
/// Invariant: it never goes back, and is within some microseconds of
///            steady_clock.
class fast_clock {
public:
  using time_point = std::chrono::steady_clock::time_point;

  time_point now() noexcept {
    auto passed = count() - looked_at_;
    if (passed >= trusted_) [[unlikely]]
      return look();
    return time_ + span(passed);
  }

  /// Returns what the processor counts: at an even pace, on all processors
  /// alike, where the kernel tells the time by it too. Else 0.
  static std::uint64_t count() noexcept {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return 0;
#endif
  }

private:
  std::chrono::nanoseconds span(std::uint64_t counted) const noexcept {
    return std::chrono::nanoseconds{
        static_cast<std::int64_t>((counted * pace_) >> 32)};
  }

  time_point look() noexcept;

  // When the last look was, and what the counter said.
  time_point time_;
  std::uint64_t looked_at_ = 0;
  // A count is so many nanoseconds, times 2^32.
  std::uint64_t pace_ = 0;
  // For how many counts the counter is trusted after a look; 0 if not at all.
  std::uint64_t trusted_ = 0;
};

} // namespace troupe
