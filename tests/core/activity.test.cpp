// How much busy time falls into the last seconds.

#include "troupe/activity.hpp"

#include <catch2/catch.hpp>

using namespace std::chrono_literals;
using troupe::activity;
using time_point = activity::time_point;

namespace {

std::chrono::nanoseconds busy(const activity& of, time_point now,
                              std::chrono::nanoseconds window) {
  return of.since(activity::begin_of(now, window));
}

} // namespace

TEST_CASE("a window begins at a step and is hardly longer than asked for",
          "[activity]") {
  auto now = time_point{100s + 333ms};
  CHECK(activity::begin_of(now, 1s) == time_point{99s + 250ms});
  CHECK(activity::begin_of(now, 10s) == time_point{90s + 250ms});
  CHECK(activity::begin_of(time_point{100s}, 1s) == time_point{99s});
  // No longer than a minute.
  CHECK(activity::begin_of(time_point{100s}, 1h) == time_point{40s});
}

TEST_CASE("who was never busy was not busy lately", "[activity]") {
  CHECK(busy({}, time_point{100s}, 60s) == 0s);
}

TEST_CASE("busy time counts in the windows that it falls into", "[activity]") {
  activity of;
  of.add(time_point{50s}, time_point{50s + 100ms});
  of.add(time_point{95s}, time_point{95s + 400ms});
  of.add(time_point{99s + 500ms}, time_point{100s});
  CHECK(busy(of, time_point{100s}, 1s) == 500ms);
  CHECK(busy(of, time_point{100s}, 10s) == 900ms);
  CHECK(busy(of, time_point{100s}, 60s) == 1s);
  CHECK(busy(of, time_point{111s}, 10s) == 0s);
}

TEST_CASE("a stretch is cut where a window begins", "[activity]") {
  activity of;
  of.add(time_point{10s}, time_point{100s});
  CHECK(busy(of, time_point{100s}, 1s) == 1s);
  CHECK(busy(of, time_point{100s}, 10s) == 10s);
  CHECK(busy(of, time_point{100s}, 60s) == 60s);
  CHECK(busy(of, time_point{105s}, 10s) == 5s);
}

TEST_CASE("many short stretches add up", "[activity]") {
  activity of;
  auto at = time_point{70s};
  for (int i = 0; i < 30'000; ++i, at += 1ms)
    of.add(at, at + 250us);
  CHECK(busy(of, at, 1s) == 250ms);
  CHECK(busy(of, at, 60s) == 7'500ms);
}

TEST_CASE("what is a minute old is forgotten, however little came since",
          "[activity]") {
  activity of;
  of.add(time_point{10s}, time_point{70s});
  of.add(time_point{1'000s}, time_point{1'000s + 10ms});
  CHECK(busy(of, time_point{1'001s}, 60s) == 10ms);
  CHECK(busy(of, time_point{1'100s}, 60s) == 0s);
}

TEST_CASE("a stretch of no length, or backwards, counts nothing",
          "[activity]") {
  activity of;
  of.add(time_point{10s}, time_point{10s});
  of.add(time_point{11s}, time_point{10s});
  CHECK(busy(of, time_point{11s}, 60s) == 0s);
}
