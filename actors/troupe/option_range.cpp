#include "troupe/option_range.hpp"

#include <fmt/format.h>

#include "troupe/error.hpp"
#include "troupe/options.hpp"

namespace troupe {

void refuse_option(const std::string& text) {
  throw failure{ec::invalid_option, text};
}

void check_count(const char* key, std::uint64_t value, std::uint64_t least,
                 std::uint64_t most) {
  if (value < least || value > most)
    refuse_option(fmt::format("{} = {}: out of range (accepted: a whole number "
                              "from {} to {})",
                              key, value, least, most));
}

void check_duration(const char* key, std::chrono::nanoseconds value,
                    std::chrono::nanoseconds least,
                    std::chrono::nanoseconds most) {
  if (value < least || value > most)
    refuse_option(fmt::format("{} = {}ns: out of range (accepted: a duration "
                              "from {} to {})",
                              key, value.count(),
                              least.count() == 0 ? "0" : to_text(least),
                              to_text(most)));
}

} // namespace troupe
