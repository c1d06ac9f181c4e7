// A lane gives each request away once: to its owner, who starts it, or to
// somebody who takes it, whatever races with whatever.

#include "troupe/lane.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

using troupe::index_range;
using troupe::lane;

namespace {

/// Counts how often each request was given away.
class tally {
public:
  explicit tally(std::uint32_t size) : counts_(size) {}

  void count(std::uint32_t index) { ++counts_[index]; }

  void count(index_range range) {
    for (auto i = range.begin; i < range.end; ++i)
      count(i);
  }

  bool all_are(int n) const {
    for (auto& x : counts_)
      if (x != n)
        return false;
    return true;
  }

private:
  std::vector<std::atomic<int>> counts_;
};

} // namespace

TEST_CASE("a new lane is empty and has no owner", "[lane]") {
  lane mine;
  CHECK(mine.unstarted().empty());
  CHECK(mine.start() == lane::none);
  CHECK(mine.steal_half().empty());
  CHECK(mine.steal_one().empty());
  CHECK(mine.drop().empty());
  CHECK(mine.try_own());
}

TEST_CASE("a lane has one owner at a time", "[lane]") {
  lane mine;
  CHECK(mine.try_own());
  CHECK_FALSE(mine.try_own());
  mine.disown();
  CHECK(mine.try_own());
}

TEST_CASE("a lane is started in order until it is exhausted", "[lane]") {
  lane mine;
  mine.publish({10, 13});
  CHECK(mine.unstarted().size() == 3);
  CHECK(mine.start() == 10u);
  CHECK(mine.start() == 11u);
  CHECK(mine.unstarted().begin == 12);
  CHECK(mine.start() == 12u);
  CHECK(mine.start() == lane::none);
  CHECK(mine.unstarted().empty());
}

TEST_CASE("an exhausted lane stays exhausted, however often it is asked",
          "[lane]") {
  lane mine;
  mine.publish({0, 1});
  CHECK(mine.start() == 0u);
  for (int i = 0; i < 10'000; ++i)
    REQUIRE(mine.start() == lane::none);
  CHECK(mine.unstarted().empty());
  mine.publish({5, 6});
  CHECK(mine.start() == 5u);
  CHECK(mine.start() == lane::none);
}

TEST_CASE("a lane holds the largest index there is", "[lane]") {
  lane mine;
  mine.publish({0xFFFF'FFEE, 0xFFFF'FFF0});
  CHECK(mine.start() == 0xFFFF'FFEEu);
  CHECK(mine.start() == 0xFFFF'FFEFu);
  CHECK(mine.start() == lane::none);
  CHECK(mine.start() == lane::none);
}

TEST_CASE("a thief gets the later half, rounded up", "[lane]") {
  lane mine;
  mine.publish({0, 5});
  auto loot = mine.steal_half();
  CHECK(loot.begin == 2);
  CHECK(loot.end == 5);
  CHECK(mine.unstarted().size() == 2);
  CHECK(mine.steal_half().size() == 1);
  CHECK(mine.steal_half().size() == 1);
  CHECK(mine.steal_half().empty());
  CHECK(mine.start() == lane::none);
}

TEST_CASE("a thief without a lane gets the last one", "[lane]") {
  lane mine;
  mine.publish({0, 2});
  CHECK(mine.steal_one().begin == 1);
  CHECK(mine.start() == 0u);
  CHECK(mine.steal_one().empty());
}

TEST_CASE("what was started cannot be dropped", "[lane]") {
  lane mine;
  mine.publish({0, 10});
  CHECK(mine.start() == 0u);
  CHECK(mine.start() == 1u);
  auto dropped = mine.drop();
  CHECK(dropped.begin == 2);
  CHECK(dropped.end == 10);
  CHECK(mine.start() == lane::none);
  CHECK(mine.drop().empty());
}

TEST_CASE("each request is given away once while owner and thieves race",
          "[lane]") {
  constexpr auto size = 2'000u;
  constexpr auto chunk = 7u;
  for (int round = 0; round < 20; ++round) {
    lane mine;
    tally given{size};
    std::atomic<bool> over{false};
    std::vector<std::thread> thieves;
    for (int kind = 0; kind < 3; ++kind)
      thieves.emplace_back([&, kind] {
        while (!over) {
          given.count(kind == 0   ? mine.steal_half()
                      : kind == 1 ? mine.steal_one()
                                  : mine.drop());
          // One processor must not be lost to a thief that finds nothing.
          std::this_thread::yield();
        }
      });
    REQUIRE(mine.try_own());
    for (auto begin = 0u; begin < size; begin += chunk) {
      mine.publish({begin, std::min(begin + chunk, size)});
      for (auto i = mine.start(); i != lane::none; i = mine.start())
        given.count(i);
    }
    over = true;
    for (auto& x : thieves)
      x.join();
    REQUIRE(given.all_are(1));
  }
}

// The worst case: one request, one owner and one thief who want it at once.
TEST_CASE("the last request goes to the owner or to the thief, never to both",
          "[lane]") {
  constexpr auto rounds = 20'000u;
  lane mine;
  tally given{rounds};
  std::atomic<bool> over{false};
  std::thread thief{[&] {
    while (!over)
      given.count(mine.steal_one());
  }};
  for (auto i = 0u; i < rounds; ++i) {
    mine.publish({i, i + 1});
    for (auto index = mine.start(); index != lane::none; index = mine.start())
      given.count(index);
  }
  over = true;
  thief.join();
  CHECK(given.all_are(1));
}

TEST_CASE("what an owner leaves behind goes to others", "[lane]") {
  lane mine;
  REQUIRE(mine.try_own());
  mine.publish({0, 3});
  CHECK(mine.start() == 0u);
  mine.disown();
  CHECK(mine.steal_half().size() == 1);
  CHECK(mine.steal_one().begin == 1);
  CHECK(mine.unstarted().empty());
}
