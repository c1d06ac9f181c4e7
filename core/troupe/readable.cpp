#include "troupe/readable.hpp"

#include "troupe/options.hpp"

#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace troupe {

std::string readable(std::chrono::nanoseconds value) {
  // How much a unit is, and from where on the next one is taken: from where
  // three digits would not do any more.
  struct unit {
    double size;
    double upto;
    const char* name;
  };
  static constexpr auto units =
      std::array{unit{1, 999.5, "ns"},        unit{1e3, 999.5, "us"},
                 unit{1e6, 999.5, "ms"},      unit{1e9, 119.5, "s"},
                 unit{6e10, 119.5, "min"},    unit{3.6e12, 47.95, "h"},
                 unit{8.64e13, 1e300, "days"}};
  if (value.count() == 0)
    return "0 s";
  auto ns = static_cast<double>(value.count());
  auto* found = units.data();
  while (std::abs(ns) / found->size >= found->upto)
    ++found;
  auto n = ns / found->size;
  if (found->size == 1)
    return fmt::format("{:.0f} ns", n);
  auto digits = std::abs(n) < 9.995 ? 2 : std::abs(n) < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", n, digits, found->name);
}

std::string about(std::chrono::nanoseconds value) {
  using namespace std::chrono;
  if (value >= seconds{10})
    return to_text(floor<seconds>(value));
  if (value >= milliseconds{1})
    return to_text(floor<milliseconds>(value));
  return to_text(value >= microseconds{1} ? floor<microseconds>(value) : value);
}

std::string readable_share(double share) {
  auto percent = share * 100;
  auto digits = percent > 0 && percent < 9.95 ? 1 : 0;
  return fmt::format("{:.{}f} %", percent, digits);
}

std::string readable_bytes(std::uint64_t size) {
  return size < 10 * 1024 ? fmt::format("{} bytes", size)
         : size < 10 * 1024 * 1024
             ? fmt::format("{} KiB", size / 1024)
             : fmt::format("{} MiB", size / (1024 * 1024));
}

std::pair<std::string, std::string> readable_bytes(std::uint64_t one,
                                                   std::uint64_t other) {
  std::pair result{readable_bytes(one), readable_bytes(other)};
  if (one != other && result.first == result.second)
    result = {exact_bytes(one), exact_bytes(other)};
  return result;
}

std::string exact_bytes(std::uint64_t size) {
  auto digits = std::to_string(size);
  for (auto at = digits.size(); at > 3;)
    digits.insert(at -= 3, 1, ',');
  return digits + " bytes";
}

} // namespace troupe
