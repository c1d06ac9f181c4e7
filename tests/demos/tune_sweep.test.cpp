// The course of a tuning, with services that are written down and a clock that
// only the rounds move.
#include "tune/sweep.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

namespace {

using sizes = std::vector<std::size_t>;

// What a service answers a second when it is asked by so many at once.
using service = std::function<double(std::size_t)>;

struct player {
  service rate;
  // How long each request takes.
  nanoseconds request{10ms};
  // The user loses patience before this round, counted from 0.
  std::optional<std::size_t> interrupted_at = {};
  nanoseconds now{0};
  sizes played = {};

  std::optional<tune::round> play(std::size_t workers, nanoseconds length) {
    if (played.size() == interrupted_at)
      return std::nullopt;
    played.push_back(workers);
    auto took = std::max(length, request);
    now += took;
    auto answered = rate(workers);
    tune::round result{
        .workers = workers, .rate = answered, .succeeded = 100, .failed = 0};
    result.ran.record(request, 100);
    return result;
  }

  tune::sweep run(tune::sweep::settings how) {
    tune::sweep course{how,
                       [this](std::size_t workers, nanoseconds length) {
                         return play(workers, length);
                       },
                       [this] { return now; }};
    course.run();
    return course;
  }

  std::ptrdiff_t rounds_with(std::size_t workers) const {
    return std::count(played.begin(), played.end(), workers);
  }
};

// Takes `at_once` calls and makes all others wait.
service with_room_for(std::size_t at_once) {
  return [at_once](std::size_t workers) {
    return 100.0 * static_cast<double>(std::min(workers, at_once));
  };
}

sizes workers_of(const tune::sweep& course) {
  sizes result;
  for (const auto& row : course.rows())
    result.push_back(row.workers);
  return result;
}

std::size_t knee_of(const tune::sweep& course) {
  return course.rows()[course.found().value().at].workers;
}

} // namespace

TEST_CASE("a sweep finds the knee between two powers of two", "[tune]") {
  player user{.rate = with_room_for(12)};
  auto course =
      user.run({.rounds = 3, .most = 256, .budget = 60s, .within = 0.05});
  CHECK(knee_of(course) == 12);
  // 32 and 64 have brought nothing, so 128 is not worth a try.
  CHECK(workers_of(course) == sizes{1, 2, 4, 8, 10, 12, 14, 16, 24, 32, 64});
  CHECK(course.left_out_rounds().empty());
  CHECK_FALSE(course.interrupted());
}

TEST_CASE("a sweep does not go beyond the largest size", "[tune]") {
  player user{.rate = with_room_for(1000)};
  auto course =
      user.run({.rounds = 2, .most = 20, .budget = 60s, .within = 0.1});
  CHECK(workers_of(course) == sizes{1, 2, 4, 8, 16, 17, 18, 19, 20});
  CHECK(knee_of(course) == 18);
}

TEST_CASE("with one worker at most there is one size", "[tune]") {
  player user{.rate = with_room_for(1)};
  auto course =
      user.run({.rounds = 3, .most = 1, .budget = 60s, .within = 0.1});
  CHECK(user.played == sizes{1, 1, 1});
  CHECK(knee_of(course) == 1);
}

TEST_CASE("rounds of a sweep are interleaved", "[tune]") {
  player user{.rate = with_room_for(1)};
  auto course =
      user.run({.rounds = 3, .most = 64, .budget = 60s, .within = 0.1});
  CHECK(user.played == sizes{1, 2, 4, 4, 2, 1, 1, 2, 4});
  CHECK(knee_of(course) == 1);
}

TEST_CASE("neighbours of the knee are measured again beside the new sizes",
          "[tune]") {
  player user{.rate = with_room_for(8)};
  auto course =
      user.run({.rounds = 2, .most = 64, .budget = 60s, .within = 0.05});
  for (auto size : {4, 8, 16})
    CHECK(user.rounds_with(static_cast<std::size_t>(size)) == 4);
  for (auto size : {1, 2, 5, 6, 7, 12, 32})
    CHECK(user.rounds_with(static_cast<std::size_t>(size)) == 2);
  CHECK(knee_of(course) == 8);
}

TEST_CASE("a machine that gets slower and slower favours no size", "[tune]") {
  player user{.rate = {}};
  user.rate = [&user](std::size_t workers) {
    auto drift = 1 - 0.004 * static_cast<double>(user.played.size());
    return with_room_for(16)(workers) * drift;
  };
  auto course =
      user.run({.rounds = 3, .most = 64, .budget = 60s, .within = 0.1});
  CHECK(knee_of(course) >= 14);
  CHECK(knee_of(course) <= 16);
}

TEST_CASE("a sweep ends in time and says what it has left out", "[tune]") {
  player user{.rate = with_room_for(64), .request = 2s};
  auto course =
      user.run({.rounds = 3, .most = 64, .budget = 20s, .within = 0.1});
  CHECK(user.now <= 20s);
  // Each size once at first: a second round with few would tell less.
  CHECK(workers_of(course) == sizes{1, 2, 4, 8, 16, 32, 40, 48, 64});
  CHECK_FALSE(course.left_out_rounds().empty());
  std::map<std::size_t, std::ptrdiff_t> planned;
  for (const auto& [workers, rounds] : course.left_out_rounds())
    planned[workers] =
        static_cast<std::ptrdiff_t>(rounds) + user.rounds_with(workers);
  for (auto size : {1, 2, 4, 8, 16})
    CHECK(planned[static_cast<std::size_t>(size)] == 3);
}

TEST_CASE("sizes that there is no time for are not measured, and told",
          "[tune]") {
  player user{.rate = with_room_for(64), .request = 10s};
  auto course =
      user.run({.rounds = 1, .most = 8, .budget = 25s, .within = 0.1});
  CHECK(workers_of(course) == sizes{1, 2});
  REQUIRE(course.left_out_rounds().size() >= 2);
  CHECK(course.left_out_rounds().back().workers == 8);
}

TEST_CASE("an interrupted sweep keeps what it has and runs no more", "[tune]") {
  player user{.rate = with_room_for(4), .request = 1ms, .interrupted_at = 2};
  auto course =
      user.run({.rounds = 3, .most = 64, .budget = 20s, .within = 0.1});
  CHECK(course.interrupted());
  CHECK(workers_of(course) == sizes{1, 2});
  CHECK(course.left_out_rounds().empty());
  CHECK(knee_of(course) == 2);
}
