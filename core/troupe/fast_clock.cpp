#include "troupe/fast_clock.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include "troupe/unique_fd.hpp"

namespace troupe {

namespace {

// For how long the counter is trusted. If its pace is known to a ten-thousandth
// it is wrong by a tenth of a microsecond then.
constexpr std::chrono::nanoseconds trusted_time = std::chrono::milliseconds{1};

// How far apart two readings are, at least, that tell the pace.
constexpr std::chrono::nanoseconds measured_time =
    std::chrono::milliseconds{10};

// What passes between two looks at the counter unless something came between:
// some microseconds, whatever the processor.
constexpr std::uint64_t close_together = 10'000;

constexpr double unit = std::uint64_t{1} << 32;

// What clock and counter said at the same time.
struct reading {
  std::chrono::steady_clock::time_point time;
  std::uint64_t count;
  bool precise;

  static reading take() noexcept {
    reading result{};
    for (auto tries = 0; tries < 3 && !result.precise; ++tries) {
      auto before = fast_clock::count();
      result.time = std::chrono::steady_clock::now();
      result.count = fast_clock::count();
      result.precise = result.count - before < close_together;
    }
    return result;
  }
};

const reading at_start = reading::take();

bool counter_is_even() noexcept {
#if defined(__x86_64__)
  unique_fd file{
      open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
           O_RDONLY | O_CLOEXEC)};
  std::array<char, 4> source{};
  return read(file.get(), source.data(), source.size()) == std::ssize(source)
         && std::string_view{source.data(), source.size()} == "tsc\n";
#else
  return false;
#endif
}

// Returns how many nanoseconds a count is, times 2^32; 0 as long as that is not
// known.
std::uint64_t pace(const reading& now) noexcept {
  static std::atomic<std::uint64_t> known{0};
  if (auto result = known.load(std::memory_order_relaxed))
    return result;
  auto passed = now.time - at_start.time;
  if (!at_start.precise || !now.precise || passed < measured_time)
    return 0;
  auto counted = now.count - at_start.count;
  auto result =
      static_cast<std::uint64_t>(static_cast<double>(passed.count())
                                 / static_cast<double>(counted) * unit);
  known.store(result, std::memory_order_relaxed);
  return result;
}

} // namespace

fast_clock::time_point fast_clock::look() noexcept {
  static const auto usable = counter_is_even();
  if (!usable)
    return std::chrono::steady_clock::now();
  auto now = reading::take();
  // Where the counter was ahead of the clock, that does not show.
  if (auto passed = now.count - looked_at_; passed < 2 * trusted_)
    now.time = std::max(now.time, time_ + span(passed));
  time_ = now.time;
  looked_at_ = now.count;
  pace_ = now.precise ? pace(now) : 0;
  trusted_ =
      pace_ == 0
          ? 0
          : static_cast<std::uint64_t>(static_cast<double>(trusted_time.count())
                                       * unit / static_cast<double>(pace_));
  return time_;
}

} // namespace troupe
