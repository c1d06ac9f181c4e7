// The tour prints what its readers are told that it prints.
#include "child.hpp"

#include <catch2/catch.hpp>

#include <fstream>
#include <iterator>
#include <string>

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

std::string expected() {
  std::ifstream file{TOUR_EXPECTED};
  return {std::istreambuf_iterator<char>{file}, {}};
}

} // namespace

TEST_CASE("the tour prints the same on every run", "[asyncio_tour]") {
  auto end = test::run({TOUR_BINARY});
  CHECK(end.status == 0);
  CHECK(end.err.empty());
  CHECK(test::lines(end.out) == test::lines(expected()));
}

TEST_CASE("the tour does not depend on how many workers are configured",
          "[asyncio_tour]") {
  auto end = test::run({TOUR_BINARY, "--troupe.workers=1"});
  CHECK(end.status == 0);
  CHECK(test::lines(end.out) == test::lines(expected()));
}

TEST_CASE("a program whose output nobody takes says so and does not succeed",
          "[asyncio_tour]") {
  for (const auto* program : {TOUR_BINARY, QUICKSTART_BINARY, ISOLATE_BINARY})
    for (const auto* argument : {"--help", "--"}) {
      CAPTURE(program, argument);
      auto end = test::run({"/bin/sh", "-c", "exec \"$0\" \"$1\" > /dev/full",
                            program, argument});
      CHECK(end.status == 1);
      CHECK(test::lines(end.err).size() == 1);
      CHECK_THAT(end.err, Contains("cannot write to standard output"));
    }
}

TEST_CASE("the tour takes no option that it does not know", "[asyncio_tour]") {
  auto end = test::run({TOUR_BINARY, "--no-such-option"});
  CHECK(end.status == 2);
  CHECK(end.out.empty());
  CHECK_THAT(end.err, StartsWith("asyncio_tour: "));
}
