#include "troupe/activity.hpp"

#include <algorithm>

namespace troupe {

namespace {

// A quarter of a second has 28 bits of nanoseconds.
constexpr unsigned time_bits = 32;

constexpr std::uint64_t time_mask = (std::uint64_t{1} << time_bits) - 1;

std::uint64_t tag_of(std::int64_t number) noexcept {
  // Never 0, which is what a word holds that was not written yet.
  return (static_cast<std::uint64_t>(number) & (time_mask >> 1)) + 1;
}

} // namespace

std::int64_t activity::number_of(time_point when) noexcept {
  return when.time_since_epoch() / step;
}

activity::time_point
activity::begin_of(time_point now, std::chrono::nanoseconds window) noexcept {
  return time_point{number_of(now - std::min(window, longest)) * step};
}

void activity::add(time_point from, time_point to) noexcept {
  auto last = number_of(to);
  // Mostly a small part of one step.
  if (auto begin = time_point{last * step}; begin <= from && from < to) {
    add_to(last, to - from);
    return;
  }
  // What is older than any window is not worth writing.
  from = std::max(from, begin_of(to, longest));
  for (auto number = number_of(from); number <= last; ++number) {
    auto begin = std::max(from, time_point{number * step});
    auto end = std::min(to, time_point{(number + 1) * step});
    if (end > begin)
      add_to(number, end - begin);
  }
}

void activity::add_to(std::int64_t number,
                      std::chrono::nanoseconds spent) noexcept {
  auto& word = words_[static_cast<std::uint64_t>(number) % slots];
  auto before = word.load(std::memory_order_relaxed);
  auto tag = tag_of(number);
  auto sum = before >> time_bits == tag ? before & time_mask : 0;
  sum += static_cast<std::uint64_t>(spent.count());
  word.store(tag << time_bits | sum, std::memory_order_relaxed);
}

std::chrono::nanoseconds activity::since(time_point begin) const noexcept {
  std::int64_t result = 0;
  auto first = number_of(begin);
  for (std::size_t i = 0; i < slots; ++i) {
    auto number = first + static_cast<std::int64_t>(i);
    auto word = words_[static_cast<std::uint64_t>(number) % slots].load(
        std::memory_order_relaxed);
    if (word >> time_bits == tag_of(number))
      result += static_cast<std::int64_t>(word & time_mask);
  }
  return std::chrono::nanoseconds{result};
}

} // namespace troupe
