#include "troupe/count.hpp"

#include <cstddef>
#include <cstdint>

#include <fmt/format.h>

#include "troupe/error.hpp"

namespace troupe {

std::size_t checked_count(std::string_view what, std::size_t n,
                          std::string_view unit, std::size_t least) {
  constexpr std::size_t most = PTRDIFF_MAX;
  if (n < least || n > most)
    throw failure{ec::invalid_option,
                  // As who passed a negative number wrote it.
                  fmt::format("cannot make {} {} {}: {} to {} are accepted",
                              what, static_cast<std::ptrdiff_t>(n), unit, least,
                              most)};
  return n;
}

} // namespace troupe
