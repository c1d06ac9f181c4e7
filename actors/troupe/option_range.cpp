#include "troupe/option_range.hpp"

#include <fmt/format.h>

#include "troupe/error.hpp"
#include "troupe/options.hpp"

namespace troupe {

void refuse_option(const std::string& text) {
  throw failure{ec::invalid_option, text};
}

void check_count(std::string_view key, std::uint64_t value, std::uint64_t least,
                 std::uint64_t most) {
  if (value < least || value > most)
    refuse_option(fmt::format("{} = {}: out of range (accepted: a whole number "
                              "from {} to {})",
                              key, value, least, most));
}

void check_duration(std::string_view key, std::chrono::nanoseconds value,
                    std::chrono::nanoseconds least,
                    std::chrono::nanoseconds most) {
  if (value < least || value > most)
    refuse_option(fmt::format("{} = {}: out of range (accepted: a duration "
                              "from {} to {})",
                              key, to_text(value),
                              least.count() == 0 ? "0" : to_text(least),
                              to_text(most)));
}

void check_common(std::string_view owner, std::optional<std::size_t> max_queued,
                  std::optional<std::chrono::nanoseconds> spin,
                  std::optional<std::chrono::nanoseconds> drain_timeout,
                  std::optional<std::chrono::nanoseconds> max_run_time) {
  auto check = [owner](std::string_view member,
                       std::optional<std::chrono::nanoseconds> value) {
    if (value)
      check_duration(fmt::format("{}.{}", owner, member), *value,
                     std::chrono::nanoseconds{0}, defaults::duration_limit);
  };
  if (max_queued)
    check_count(fmt::format("{}.max_queued", owner), *max_queued, 1,
                defaults::max_queued_limit);
  check("spin", spin);
  check("drain_timeout", drain_timeout);
  check("max_run_time", max_run_time);
}

} // namespace troupe
