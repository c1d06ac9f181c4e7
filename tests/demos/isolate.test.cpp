// The demo isolate does what its name says: a crash stays where it happens.
#include "child.hpp"

#include <catch2/catch.hpp>

#include <csignal>
#include <string>
#include <vector>

namespace {

// Without what a sanitizer does about a crash, which is meant here.
std::vector<std::string> isolate(std::vector<std::string> arguments = {}) {
  arguments.insert(arguments.begin(),
                   {"/usr/bin/env", "ASAN_OPTIONS=handle_segv=0",
                    "UBSAN_OPTIONS=handle_segv=0", ISOLATE_BINARY});
  return arguments;
}

const std::vector<std::string> all_but_one{
    "999 results, sum 498883",
    "1 failure:",
    "  record 617: SIGSEGV (worker_lost)",
    "the pool goes on: name=42 is 42",
};

} // namespace

TEST_CASE("a crash costs isolate one result of a thousand", "[isolate]") {
  auto end = test::run(isolate());
  CHECK(end.status == 0);
  CHECK(end.err.empty());
  CHECK(test::lines(end.out) == all_but_one);
}

TEST_CASE("isolate prints the same with one process as with eight",
          "[isolate]") {
  for (const auto* workers : {"1", "8"}) {
    CAPTURE(workers);
    auto end = test::run(
        isolate({std::string{"--troupe.pools.isolate.workers="} + workers}));
    CHECK(test::lines(end.out) == all_but_one);
  }
}

TEST_CASE("on threads isolate does not survive", "[isolate]") {
  auto end = test::run(isolate({"--threads"}));
  CHECK(end.status == 128 + SIGSEGV);
  CHECK(end.out.empty());
}

TEST_CASE("isolate refuses a size that a process pool cannot have",
          "[isolate]") {
  auto end = test::run(isolate({"--troupe.pools.isolate.workers=auto"}));
  CHECK(end.status == 2);
  CHECK(end.out.empty());
  REQUIRE(test::lines(end.err).size() == 1);
  CHECK_THAT(end.err, Catch::StartsWith(
                          "isolate: troupe.pools.isolate.workers = 'auto'"));
}

TEST_CASE("isolate takes no argument that it does not know", "[isolate]") {
  auto end = test::run(isolate({"--treads"}));
  CHECK(end.status == 2);
  CHECK(end.out.empty());
  CHECK_THAT(end.err, Catch::StartsWith("isolate: unknown option '--treads'"));
}
