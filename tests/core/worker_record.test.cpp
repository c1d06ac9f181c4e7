// What one worker's measurements add up to.

#include "troupe/worker_record.hpp"

#include <catch2/catch.hpp>

using namespace std::chrono_literals;
using troupe::activity;
using troupe::worker_record;
using time_point = worker_record::time_point;

namespace {

constexpr std::uint8_t load = 3;

// Computes for at least so long.
void compute(std::chrono::nanoseconds time) {
  auto until = troupe::thread_cpu_time() + time;
  while (troupe::thread_cpu_time() < until)
    continue;
}

} // namespace

TEST_CASE("a record that nobody wrote to says nothing", "[worker_record]") {
  worker_record none;
  CHECK(none.find(load) == nullptr);
  CHECK(none.since() == time_point{});
  CHECK(none.busy_time(time_point{100s}) == 0s);
  CHECK(none.busy_since(time_point{0s}, time_point{100s}) == 0s);
}

TEST_CASE("requests count by label", "[worker_record]") {
  worker_record record;
  record.started(load, 3ms, 2);
  record.returned(load, 5ms, 2);
  record.returned(0, 1ms, 1);
  REQUIRE(record.find(load));
  CHECK(record.find(load)->waited.count() == 2);
  CHECK(record.find(load)->ran.sum() == 10ms);
  REQUIRE(record.find(0));
  CHECK(record.find(0)->ran.count() == 1);
  CHECK(record.find(0)->waited.count() == 0);
  CHECK(record.find(load + 1) == nullptr);
}

TEST_CASE("what runs counts as busy while it runs", "[worker_record]") {
  worker_record record;
  auto window = activity::begin_of(time_point{110s}, 60s);
  record.begin(time_point{100s});
  CHECK(record.since() == time_point{100s});
  CHECK(record.busy_time(time_point{102s}) == 2s);
  record.advance(load, time_point{103s});
  CHECK(record.since() == time_point{103s});
  CHECK(record.busy_time(time_point{103s + 500ms}) == 3s + 500ms);
  CHECK(record.busy_since(window, time_point{104s}) == 4s);
  record.end(load, time_point{104s});
  CHECK(record.since() == time_point{});
  CHECK(record.busy_time(time_point{110s}) == 4s);
  CHECK(record.busy_since(window, time_point{110s}) == 4s);
  // Only what lies in the window, also of what runs.
  record.begin(time_point{120s});
  CHECK(record.busy_since(time_point{125s}, time_point{130s}) == 5s);
}

TEST_CASE("time that a worker computes is told from time that it waits",
          "[worker_record]") {
  worker_record record;
  record.begin(time_point{100s});
  compute(20ms);
  record.end(load, time_point{101s});
  REQUIRE(record.find(load));
  CHECK(record.find(load)->sampled == 1'000'000'000);
  CHECK(record.find(load)->computed >= 20'000'000);
  CHECK(record.find(load)->computed < 1'000'000'000);
}

TEST_CASE("what a thread would compute is at least what it computes",
          "[worker_record]") {
  auto before = troupe::thread_cpu_demand();
  compute(20ms);
  CHECK(troupe::thread_cpu_demand() - before >= 20ms);
}

TEST_CASE("short stays are measured every two milliseconds",
          "[worker_record]") {
  worker_record record;
  auto at = time_point{100s};
  for (int i = 0; i < 10'000; ++i, at += 1us) {
    record.begin(at);
    record.end(load, at + 1us);
  }
  REQUIRE(record.find(load));
  CHECK(record.find(load)->sampled == 5'000);
}

TEST_CASE("the more is known of a label, the less often it is measured",
          "[worker_record]") {
  worker_record record;
  auto at = time_point{100s};
  auto samples_in = [&](std::chrono::seconds span) {
    auto before = record.find(load) ? record.find(load)->sampled.load() : 0;
    for (auto end = at + span; at < end; at += 10ms) {
      record.begin(at);
      record.end(load, at + 8ms);
    }
    return (record.find(load)->sampled - before) / 8'000'000;
  };
  CHECK(samples_in(1s) == 16);
  samples_in(10s);
  // Four in a second: the next stay that begins after 256 ms.
  CHECK(samples_in(26s) == 100);
}

TEST_CASE("of many workers each is measured less often", "[worker_record]") {
  // As eight of 64 would be.
  worker_record record;
  auto at = time_point{100s};
  auto samples_in = [&](std::chrono::seconds span) {
    auto before = record.find(load) ? record.find(load)->sampled.load() : 0;
    for (auto end = at + span; at < end; at += 10ms) {
      record.begin(at, 64);
      record.end(load, at + 8ms);
    }
    return (record.find(load)->sampled - before) / 8'000'000;
  };
  samples_in(100s);
  CHECK(samples_in(205s) == 100);
}

TEST_CASE(
    "of a label of which nothing is known, the next stay is measured soon",
    "[worker_record]") {
  worker_record record;
  record.begin(time_point{100s});
  record.end(load, time_point{101s});
  record.begin(time_point{101s});
  record.end(load, time_point{101s + 1us});
  auto stay = [&](std::chrono::milliseconds at) {
    record.begin(time_point{101s + at});
    record.end(load + 1, time_point{101s + at + 1us});
    auto seen = record.find(load + 1);
    return seen ? seen->sampled.load() : 0;
  };
  CHECK(stay(255ms) == 0);
  CHECK(stay(256ms) == 1'000);
  CHECK(stay(257ms) == 1'000);
  CHECK(stay(259ms) == 2'000);
}

TEST_CASE("a long stay is measured while it lasts, in ever longer pieces",
          "[worker_record]") {
  worker_record record;
  record.begin(time_point{100s});
  record.advance(load, time_point{100s + 1ms});
  CHECK(record.find(load) == nullptr);
  auto at = time_point{100s + 2ms};
  auto pieces_until = [&](time_point end) {
    auto pieces = 0;
    for (; at < end; at += 1ms)
      pieces += record.advance(load, at);
    return pieces;
  };
  // After 2, 4, 8 ... 256 ms.
  CHECK(pieces_until(time_point{100s + 500ms}) == 8);
  CHECK(record.find(load)->sampled == 256'000'000);
  CHECK(pieces_until(time_point{100s + 2561ms}) == 9);
  record.end(load, at);
  CHECK(record.find(load)->sampled == 2'561'000'000);
}

TEST_CASE("a stay right behind a long one is measured, too",
          "[worker_record]") {
  worker_record record;
  record.begin(time_point{100s});
  record.advance(load, time_point{101s});
  record.end(load, time_point{101s});
  record.begin(time_point{101s + 1us});
  record.end(load + 1, time_point{102s});
  REQUIRE(record.find(load + 1));
  CHECK(record.find(load + 1)->sampled == 999'999'000);
}

TEST_CASE("no more time is computed than goes by", "[worker_record]") {
  worker_record record;
  record.begin(time_point{100s});
  compute(1ms);
  record.end(load, time_point{100s + 1us});
  CHECK(record.find(load)->computed == 1'000);
}
