#include "troupe/fast_clock.hpp"

#include <array>
#include <iterator>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include "troupe/unique_fd.hpp"

namespace troupe {

namespace {

// How far apart two readings are that tell the pace: much longer than it takes
// to read, and not so long that the machine may have slept in between.
constexpr std::chrono::nanoseconds least_apart = std::chrono::milliseconds{10};
constexpr std::chrono::nanoseconds most_apart = std::chrono::seconds{1};

// From 20 GHz to 100 MHz. What is beyond is no pace: the machine has slept, or
// the counter has begun anew.
constexpr double fastest = 0.05 * counter_pace::unit;
constexpr double slowest = 10 * counter_pace::unit;

} // namespace

bool this_machine::counts_evenly() noexcept {
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

std::uint64_t counter_pace::learn(const clock_reading& now) noexcept {
  if (!busy_.exchange(true, std::memory_order_acquire)) {
    auto passed = now.time - before_.time;
    if (passed > most_apart || passed.count() < 0 || !before_.precise) {
      before_ = now;
    } else if (passed >= least_apart) {
      auto pace = static_cast<double>(passed.count())
                  / static_cast<double>(now.count - before_.count) * unit;
      if (pace >= fastest && pace <= slowest)
        known_.store(static_cast<std::uint64_t>(pace),
                     std::memory_order_relaxed);
      before_ = now;
    }
    busy_.store(false, std::memory_order_release);
  }
  return known_.load(std::memory_order_relaxed);
}

} // namespace troupe
