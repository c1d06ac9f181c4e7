// The time of steady_clock for less, for who looks at it after each tiny call:
// between two looks at the clock, which are a millisecond apart, the
// processor's counter says how much has passed. It costs a third.

#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace troupe {

/// Clock and counter of this machine.
struct this_machine {
  using time_point = std::chrono::steady_clock::time_point;

  /// Returns whether the kernel itself tells the time by the counter: then it
  /// goes at an even pace, and is the same on all processors.
  static bool counts_evenly() noexcept;

  /// Returns what the counter says; 0 where there is none.
  static std::uint64_t count() noexcept {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return 0;
#endif
  }

  static time_point now() noexcept {
    return std::chrono::steady_clock::now();
  }
};

/// What clock and counter said at the same time.
struct clock_reading {
  std::chrono::steady_clock::time_point time;
  std::uint64_t count = 0;
  /// Whether nothing came between the two.
  bool precise = false;
};

/// Knows how fast a counter is, from readings that were taken not long ago: it
/// may count while the clock stands, and the other way round. Thread-safe.
class counter_pace {
public:
  /// A count is so many nanoseconds, times 2^32.
  static constexpr double unit = std::uint64_t{1} << 32;

  /// Returns the pace in that unit, or 0 as long as it is not known. Learns
  /// from the reading.
  std::uint64_t learn(const clock_reading& now) noexcept;

private:
  std::atomic<std::uint64_t> known_{0};
  std::atomic<bool> busy_{false};
  // For who set `busy_`.
  clock_reading before_;
};

/// Tells one thread the time.
///
/// Invariant: it never goes back, and is within some microseconds of the clock
///            as long as the counter goes as it did; else for a millisecond, it
///            may be wrong by one.
template <class Machine>
class basic_fast_clock {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// It tells no time before `least`.
  explicit basic_fast_clock(time_point least = {}) noexcept : told_{least} {}

  time_point now() noexcept {
    if (trusted_ > 0) [[likely]]
      if (auto passed = Machine::count() - count_; passed < trusted_) [[likely]]
        return tell(time_ + span(passed));
    return look();
  }

private:
  // For how long the counter is trusted after a look.
  static constexpr std::chrono::nanoseconds trusted_time{1'000'000};

  // What passes between two looks at the counter unless something comes
  // between: some microseconds, whatever the processor.
  static constexpr std::uint64_t close_together = 10'000;

  std::chrono::nanoseconds span(std::uint64_t counted) const noexcept {
    return std::chrono::nanoseconds{
        static_cast<std::int64_t>((counted * pace_) >> 32)};
  }

  time_point tell(time_point time) noexcept {
    return told_ = std::max(told_, time);
  }

  [[gnu::noinline]] time_point look() noexcept {
    static const auto usable = Machine::counts_evenly();
    if (!usable)
      return tell(Machine::now());
    auto now = read();
    time_ = now.time;
    count_ = now.count;
    pace_ = now.precise ? shared_pace.learn(now) : 0;
    trusted_ = pace_ == 0
                   ? 0
                   : static_cast<std::uint64_t>(
                       static_cast<double>(trusted_time.count())
                       * counter_pace::unit / static_cast<double>(pace_));
    return tell(time_);
  }

  static clock_reading read() noexcept {
    clock_reading result;
    for (auto tries = 0; tries < 3 && !result.precise; ++tries) {
      auto before = Machine::count();
      result.time = Machine::now();
      result.count = Machine::count();
      result.precise = result.count - before < close_together;
    }
    return result;
  }

  static inline constinit counter_pace shared_pace;

  // What was told last.
  time_point told_;
  // When the last look was, and what the counter said.
  time_point time_;
  std::uint64_t count_ = 0;
  std::uint64_t pace_ = 0;
  // For how many counts the counter is trusted after the look; 0 if not at all.
  std::uint64_t trusted_ = 0;
};

using fast_clock = basic_fast_clock<this_machine>;

} // namespace troupe
