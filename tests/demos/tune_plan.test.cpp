// The arithmetic of tune, on values that are written down.
#include "tune/plan.hpp"

#include <catch2/catch.hpp>

#include <chrono>
#include <cstddef>
#include <vector>

using namespace std::chrono_literals;
using namespace tune;

namespace {

using sizes = std::vector<std::size_t>;

// Rows with one round each.
std::vector<measured>
rows_of(const std::vector<std::pair<std::size_t, double>>& rates) {
  std::vector<measured> result;
  for (auto [workers, rate] : rates) {
    measured row{.workers = workers};
    row.add({.workers = workers, .rate = rate, .succeeded = 100, .failed = 0});
    result.push_back(row);
  }
  return result;
}

std::size_t knee_of(const std::vector<measured>& rows, double within) {
  return rows[find_knee(rows, within).value().at].workers;
}

} // namespace

TEST_CASE("the median is the middle one, or between the two in the middle",
          "[tune]") {
  CHECK(median({3, 1, 2}) == 2);
  CHECK(median({4, 1, 2, 3}) == 2.5);
  CHECK(median({7}) == 7);
  CHECK(median({}) == 0);
}

TEST_CASE("one odd round does not move what a size is worth", "[tune]") {
  measured row{.workers = 4};
  for (auto rate : {100.0, 101.0, 5.0})
    row.add({.workers = 4, .rate = rate, .succeeded = 10, .failed = 0});
  CHECK(row.rate() == 100);
}

TEST_CASE("rounds add up, also to quantiles over all of them", "[tune]") {
  measured row{.workers = 1};
  troupe::histogram quick;
  quick.record(1ms, 99);
  troupe::histogram slow;
  slow.record(1s, 1);
  row.add({.workers = 1,
           .rate = 9,
           .succeeded = 90,
           .failed = 9,
           .ran = quick,
           .computed = 10ms,
           .sampled = 20ms});
  row.add({.workers = 1,
           .rate = 9,
           .succeeded = 0,
           .failed = 1,
           .ran = slow,
           .computed = 0ms,
           .sampled = 20ms});
  CHECK(row.succeeded == 90);
  CHECK(row.failed == 10);
  CHECK(row.failed_share() == 0.1);
  CHECK(row.times.ran.count() == 100);
  CHECK(row.times.ran.max() == 1s);
  CHECK(row.times.cpu_share() == 0.25);
}

TEST_CASE("the knee is the smallest size that is near enough to the best",
          "[tune]") {
  auto rows = rows_of({{1, 10}, {2, 20}, {4, 40}, {8, 77}, {16, 85}, {32, 84}});
  CHECK(knee_of(rows, 0.1) == 8);
  CHECK(knee_of(rows, 0.05) == 16);
  CHECK(knee_of(rows, 0) == 16);
  CHECK(knee_of(rows, 0.9) == 1);
  CHECK(rows[find_knee(rows, 0.1)->best].workers == 16);
}

TEST_CASE("work that gains nothing from workers has its knee at one",
          "[tune]") {
  CHECK(knee_of(rows_of({{1, 10}, {2, 10.4}, {4, 9.8}}), 0.1) == 1);
}

TEST_CASE("without a success there is no knee", "[tune]") {
  CHECK_FALSE(find_knee({}, 0.1));
  std::vector<measured> rows{{.workers = 1}};
  rows[0].add({.workers = 1, .rate = 0, .succeeded = 0, .failed = 20});
  CHECK_FALSE(find_knee(rows, 0.1));
}

TEST_CASE("a size with which clearly more fails is no candidate", "[tune]") {
  auto rows = rows_of({{1, 10}, {2, 20}, {4, 90}});
  rows[0].failed = rows[1].failed = 2;
  rows[2].failed = 60;
  CHECK(knee_of(rows, 0.1) == 2);
  CHECK_FALSE(is_candidate(rows[2], rows));
  // What fails with every size is no reason.
  rows[0].failed = rows[1].failed = 60;
  CHECK(knee_of(rows, 0.1) == 4);
}

TEST_CASE("throughput that still rises at the end says so", "[tune]") {
  auto rising = rows_of({{1, 10}, {2, 20}, {4, 40}});
  CHECK(still_rises(rising, *find_knee(rising, 0.1)));
  auto flat = rows_of({{1, 10}, {2, 20}, {4, 20.5}});
  CHECK_FALSE(still_rises(flat, *find_knee(flat, 0.1)));
  auto one = rows_of({{1, 10}});
  CHECK_FALSE(still_rises(one, *find_knee(one, 0.1)));
}

TEST_CASE("doubling ends when it has brought nothing twice", "[tune]") {
  CHECK_FALSE(past_the_best(rows_of({})));
  CHECK_FALSE(past_the_best(rows_of({{1, 10}, {2, 9}})));
  CHECK(past_the_best(rows_of({{1, 10}, {2, 9}, {4, 10.4}})));
  CHECK_FALSE(past_the_best(rows_of({{1, 10}, {2, 9}, {4, 11}})));
  CHECK_FALSE(past_the_best(rows_of({{1, 10}, {2, 20}, {4, 20}})));
  CHECK(past_the_best(rows_of({{1, 10}, {2, 20}, {4, 20}, {8, 19}})));
}

TEST_CASE("around the knee lie the sizes between it and its neighbours",
          "[tune]") {
  CHECK(around(sizes{1, 2, 4, 8, 16, 32}, 16) == sizes{10, 12, 14, 24});
  CHECK(around(sizes{1, 2, 4, 8, 16, 32}, 32) == sizes{20, 24, 28});
  CHECK(around(sizes{1, 2, 4, 8}, 4) == sizes{3, 6});
  CHECK(around(sizes{1, 2, 4}, 1).empty());
  CHECK(around(sizes{1}, 1).empty());
  CHECK(around(sizes{1, 2, 3, 4}, 3).empty());
  CHECK(around(sizes{}, 3).empty());
}

TEST_CASE("rounds go up and down in turn", "[tune]") {
  CHECK(order({1, 2, 4}, 0) == sizes{1, 2, 4});
  CHECK(order({1, 2, 4}, 1) == sizes{4, 2, 1});
  CHECK(order({1, 2, 4}, 2) == sizes{1, 2, 4});
}

TEST_CASE("rounds share the time, and are neither too short nor too long",
          "[tune]") {
  // With some time left for what is between them.
  CHECK(slice(10s, 2, 5) < 1s);
  CHECK(slice(10s, 2, 5) > 800ms);
  CHECK(slice(1s, 100, 10) == 50ms);
  CHECK(slice(-1s, 3, 3) == 50ms);
  CHECK(slice(1h, 1, 1) == 3s);
}
