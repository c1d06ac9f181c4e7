// Bursts of lines: which of them are written, and that each is counted.

#include "troupe/log_brake.hpp"

#include <catch2/catch.hpp>

#include <string>

using namespace std::chrono_literals;
using troupe::log_brake;

namespace {

const log_brake::time_point start{1h};

} // namespace

TEST_CASE("the first lines of a burst are written, the others counted",
          "[log_brake]") {
  log_brake brake;
  for (auto i = 0u; i < log_brake::burst; ++i) {
    auto next = brake.add("io", "x", start);
    CHECK(next.write);
    CHECK_FALSE(next.look_at);
  }
  auto first = brake.add("io", "y", start + 10ms);
  CHECK_FALSE(first.write);
  // Told once when to look, from the first line of the window on.
  CHECK(first.look_at == start + log_brake::window);
  auto second = brake.add("io", "z", start + 20ms);
  CHECK_FALSE(second.write);
  CHECK_FALSE(second.look_at);
  CHECK_FALSE(brake.look("io", start + log_brake::window - 1ns));
  auto rest = brake.look("io", start + log_brake::window);
  REQUIRE(rest);
  CHECK(rest->lines == 2);
  CHECK(rest->last == "z");
  CHECK_FALSE(brake.look("io", start + log_brake::window));
}

TEST_CASE("a line of the next window is written behind the count of the last",
          "[log_brake]") {
  log_brake brake;
  for (auto i = 0u; i < log_brake::burst + 7; ++i)
    brake.add("io", "x", start);
  auto next = brake.add("io", "y", start + log_brake::window);
  CHECK(next.write);
  REQUIRE(next.before);
  CHECK(next.before->lines == 7);
  CHECK_FALSE(brake.forget("io"));
}

TEST_CASE("each source has its own share", "[log_brake]") {
  log_brake brake;
  for (auto i = 0u; i < log_brake::burst + 1; ++i)
    brake.add("io", "x", start);
  CHECK(brake.add("db", "x", start).write);
  CHECK(brake.add("", "x", start).write);
  CHECK_FALSE(brake.add("io", "x", start).write);
}

TEST_CASE("whoever is forgotten is told the rest, and begins anew",
          "[log_brake]") {
  log_brake brake;
  for (auto i = 0u; i < log_brake::burst + 3; ++i)
    brake.add("io", "x", start);
  CHECK(brake.forget("io")->lines == 3);
  CHECK_FALSE(brake.forget("io"));
  CHECK_FALSE(brake.forget("never seen"));
  CHECK(brake.add("io", "x", start).write);
}

TEST_CASE("no line is lost from the count, whenever it comes", "[log_brake]") {
  log_brake brake;
  std::uint64_t told = 0;
  auto now = start;
  for (auto i = 0; i < 10'000; ++i) {
    now += std::chrono::milliseconds{i * 7919 % 97};
    auto next = brake.add("io", std::to_string(i), now);
    told += (next.write ? 1 : 0) + (next.before ? next.before->lines : 0);
  }
  if (auto rest = brake.forget("io"))
    told += rest->lines;
  CHECK(told == 10'000);
}
