// What counts are accepted where something is made.

#include "troupe/count.hpp"

#include "troupe/error.hpp"

#include <catch2/catch.hpp>

#include <cstdint>
#include <string>

using troupe::checked_count;

namespace {

std::string refusal(std::size_t n, std::size_t least) {
  try {
    checked_count("a fleet of", n, "ships", least);
  } catch (const troupe::failure& err) {
    return std::string{troupe::to_string(err.code())} + ": " + err.what();
  }
  return "none";
}

} // namespace

TEST_CASE("a count from the least to what is addressable is passed on",
          "[count]") {
  CHECK(checked_count("a fleet of", 0, "ships", 0) == 0);
  CHECK(checked_count("a fleet of", 1, "ships", 1) == 1);
  CHECK(checked_count("a fleet of", PTRDIFF_MAX, "ships", 1) == PTRDIFF_MAX);
}

TEST_CASE("a count too low, or negative, is refused with what is accepted",
          "[count]") {
  CHECK(refusal(0, 1)
        == "invalid_option: cannot make a fleet of 0 ships: 1 to "
           "9223372036854775807 are accepted");
  CHECK(refusal(static_cast<std::size_t>(-1), 0)
        == "invalid_option: cannot make a fleet of -1 ships: "
           "0 to 9223372036854775807 are accepted");
}
