// How a pool grows and shrinks: on demand from its minimum to its maximum and
// back, under bursts and while it is resized, without losing a request, and
// without any work when there is none.

#include "actor_ways.hpp"
#include "gate.hpp"
#include "manual_clock.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using troupe::pool_options;

namespace {

/// Returns how often each thread of this process has gone to sleep by itself.
std::map<std::string, std::uint64_t> sleeps() {
  std::map<std::string, std::uint64_t> result;
  std::error_code gone;
  for (auto& entry :
       std::filesystem::directory_iterator{"/proc/self/task", gone}) {
    std::ifstream file{entry.path() / "status"};
    std::string word;
    while (file >> word)
      if (word == "voluntary_ctxt_switches:")
        file >> result[entry.path().filename()];
  }
  // Whoever asks does not count.
  result.erase(std::to_string(::gettid()));
  return result;
}

} // namespace

TEST_CASE("a burst of 10,000 requests on a pool without workers is served by "
          "as many as there may be",
          "[elastic]") {
  constexpr auto n = 10'000;
  test::manual_time time;
  test::actor_world world;
  pool_options options{.workers = 16, .min_workers = 0, .idle_timeout = 10s};
  options.clock = time.clock;
  troupe::pool pool{world.sys, options};
  for (int burst = 0; burst < 3; ++burst) {
    CHECK(pool.stats().workers == 0);
    test::gate door;
    test::open_at_exit opener{door};
    std::atomic<int> ran{0};
    std::vector<troupe::operation<int>> all;
    all.reserve(n);
    for (int i = 0; i < n; ++i)
      all.push_back(pool.run([&, i] {
                          ++ran;
                          door.pass();
                          return i;
                        })
                        .start());
    // As many as there may be, at the same time.
    door.wait_for_arrivals(16);
    CHECK(pool.stats().workers == 16);
    CHECK(ran == 16);
    door.open();
    for (int i = 0; i < n; ++i)
      REQUIRE(all[static_cast<std::size_t>(i)].get() == i);
    CHECK(ran == n);
    // And back. Each is idle from a moment of its own on.
    while (pool.stats().workers > 0) {
      time.clock->advance(10s);
      std::this_thread::yield();
    }
  }
}

TEST_CASE("a pool that is resized while it is busy loses nothing",
          "[elastic]") {
  constexpr auto rounds = 300;
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::atomic<std::uint64_t> ran{0};
  std::vector<troupe::operation<std::vector<int>>> maps;
  std::vector<troupe::operation<int>> singles;
  for (int i = 0; i < rounds; ++i) {
    pool.resize(1 + static_cast<std::size_t>(i * 7 % 12));
    maps.push_back(pool.map(std::vector<int>(50, i),
                            [&](int x) {
                              ++ran;
                              return x;
                            })
                       .start());
    singles.push_back(pool.run([&, i] {
                            ++ran;
                            return i;
                          })
                          .start());
  }
  pool.resize(3);
  for (int i = 0; i < rounds; ++i) {
    auto at = static_cast<std::size_t>(i);
    REQUIRE(maps[at].get() == std::vector<int>(50, i));
    REQUIRE(singles[at].get() == i);
  }
  CHECK(ran == rounds * 51);
  // Those that are too many end when they are between batches.
  while (pool.stats().workers > 3)
    std::this_thread::yield();
  pool.resize(1);
  while (pool.stats().workers > 1)
    std::this_thread::yield();
  CHECK(pool.run([] { return 7; }).get() == 7);
}

TEST_CASE("a pool that was made smaller while all were busy keeps the calls "
          "that run",
          "[elastic]") {
  test::gate door;
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 8}};
  test::open_at_exit opener{door};
  auto all = pool.map(std::vector<int>(20, 1),
                      [&](int x) {
                        door.pass();
                        return x;
                      })
                 .start();
  door.wait_for_arrivals(8);
  pool.resize(2);
  CHECK(pool.stats().workers == 8);
  door.open();
  CHECK(all.get() == std::vector<int>(20, 1));
  while (pool.stats().workers > 2)
    std::this_thread::yield();
}

TEST_CASE("an idle pool does not wake up", "[elastic]") {
  test::manual_time time;
  test::actor_world world;
  pool_options options{.workers = 4, .min_workers = 4, .max_run_time = 1ms};
  options.clock = time.clock;
  troupe::pool pool{world.sys, options};
  test::gate door;
  auto busy =
      pool.map(std::vector<int>(4, 0), [&](int) { door.pass(); }).start();
  door.wait_for_arrivals(4);
  door.open();
  busy.get();
  while (pool.stats().idle < 4)
    std::this_thread::yield();
  // A worker lingers for a moment before it sleeps for good; one that went on
  // looking would let this loop run for ever.
  auto before = sleeps();
  for (;;) {
    std::this_thread::sleep_for(200ms);
    auto now = sleeps();
    if (now == before)
      break;
    before = std::move(now);
  }
  // Nor does time bring anything to do, once the watchdog has seen that nobody
  // is busy.
  time.clock->advance(1h);
  time.clock->advance(1h);
  CHECK(pool.stats().idle == 4);
  CHECK(pool.run([] { return 7; }).get() == 7);
}
