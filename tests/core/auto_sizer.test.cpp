// What `workers = auto` promises, against a simulated pool whose best size is
// known: each promise on several seeds, with requests that all take as long and
// with ones that vary, on a steady machine and on one that has moods.

#include "pool_simulation.hpp"

#include "troupe/auto_sizer.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::pool_simulation;
using troupe::auto_sizer;
using troupe::load_observation;

namespace {

constexpr std::size_t limit = 64;

auto_sizer::bounds within(std::size_t cores = 2) {
  return {.least = 1, .most = limit, .first = 6, .cores = cores};
}

/// Lets the sizer run the pool for so long; returns the sizes that it had, one
/// for each interval.
std::vector<std::size_t> live(auto_sizer& sizer, pool_simulation& pool,
                              std::chrono::milliseconds span) {
  std::vector<std::size_t> sizes;
  for (auto t = 0ms; t < span; t += 50ms) {
    auto seen = pool.run(sizer.size(), 50ms);
    sizes.push_back(sizer.size());
    sizer.next(seen);
  }
  return sizes;
}

/// Returns the throughput of the pool while the sizer runs it, in requests a
/// second.
double measured(auto_sizer& sizer, pool_simulation& pool,
                std::chrono::milliseconds span) {
  pool.take_completed();
  live(sizer, pool, span);
  return static_cast<double>(pool.take_completed())
         / std::chrono::duration<double>{span}.count();
}

struct workload {
  std::string name;
  test::speed_curve speed;
  std::size_t cores = 2;
};

std::vector<workload> workloads() {
  return {{"pure waiting", test::waiting()},
          {"computing on 2 cores", test::computing_on(2)},
          {"computing on 8 cores", test::computing_on(8), 8},
          {"a service for 16", test::service_for(16)}};
}

} // namespace

TEST_CASE("the sizer finds nine tenths of the best throughput within four "
          "seconds, and keeps them",
          "[auto_sizer]") {
  for (const auto& of : workloads())
    for (auto ms : {1.0, 5.0, 20.0})
      for (auto varying : {false, true})
        for (auto seed = 1u; seed <= 5; ++seed) {
          pool_simulation pool{
              of.speed, varying ? test::takes_about(ms) : test::takes(ms),
              seed};
          auto_sizer sizer{within(of.cores)};
          INFO(of.name << " of " << ms << " ms, varying: " << varying
                       << ", seed " << seed);
          live(sizer, pool, 4s);
          auto best = test::best_throughput(of.speed, ms, limit);
          CHECK(measured(sizer, pool, 30s) > 0.9 * best);
        }
}

TEST_CASE(
    "a machine with moods of a tenth costs the sizer no more than a fifth "
    "of the best throughput",
    "[auto_sizer]") {
  for (const auto& of : workloads())
    for (auto ms : {1.0, 5.0, 20.0})
      for (auto seed = 1u; seed <= 5; ++seed) {
        pool_simulation pool{of.speed, test::takes_about(ms), seed};
        pool.shake(0.1);
        auto_sizer sizer{within(of.cores)};
        INFO(of.name << " of " << ms << " ms, seed " << seed);
        live(sizer, pool, 10s);
        auto best = test::best_throughput(of.speed, ms, limit);
        CHECK(measured(sizer, pool, 30s) > 0.8 * best);
      }
}

TEST_CASE("slow requests are sized, too, in the time that some dozens of them "
          "take each worker",
          "[auto_sizer]") {
  for (const auto& of : workloads())
    for (auto ms : {200.0, 1'000.0}) {
      pool_simulation pool{of.speed, test::takes(ms)};
      auto_sizer sizer{within(of.cores)};
      INFO(of.name << " of " << ms << " ms");
      live(sizer, pool, std::chrono::milliseconds{static_cast<int>(100 * ms)});
      auto best = test::best_throughput(of.speed, ms, limit);
      CHECK(measured(sizer, pool, 100s) > 0.8 * best);
    }
}

TEST_CASE("a pool whose requests wait in the queue grows to tenfold within a "
          "second",
          "[auto_sizer]") {
  for (auto ms : {1.0, 5.0, 50.0}) {
    pool_simulation pool{test::waiting(), test::takes(ms)};
    auto_sizer sizer{within()};
    live(sizer, pool, 1s);
    INFO(ms << " ms");
    CHECK(sizer.base() >= 56);
  }
}

TEST_CASE("where no request returns, workers that only wait are doubled four "
          "times a second",
          "[auto_sizer]") {
  auto_sizer sizer{within()};
  load_observation seen{.elapsed = 50ms, .waiting = 1'000, .computing = 0.0};
  std::vector<std::size_t> sizes;
  for (auto i = 0; i < 21; ++i) {
    seen.workers = seen.busy = sizer.size();
    sizes.push_back(sizer.next(seen));
  }
  CHECK(sizes[4] == 6);
  CHECK(sizes[5] == 12);
  CHECK(sizes[10] == 24);
  CHECK(sizes[20] == limit);
}

TEST_CASE("where no request returns since they compute, no worker is added",
          "[auto_sizer]") {
  auto_sizer sizer{within()};
  load_observation seen{.elapsed = 50ms, .waiting = 1'000, .computing = 0.95};
  for (auto i = 0; i < 1'000; ++i) {
    seen.workers = seen.busy = sizer.size();
    REQUIRE(sizer.next(seen) == 6);
  }
}

TEST_CASE("requests that compute end near the number of cores",
          "[auto_sizer]") {
  for (auto seed = 1u; seed <= 10; ++seed) {
    pool_simulation pool{test::computing_on(2), test::takes_about(5), seed};
    auto_sizer sizer{{.most = limit, .first = 32, .cores = 2}};
    live(sizer, pool, 30s);
    INFO("seed " << seed);
    CHECK(sizer.base() >= 2);
    CHECK(sizer.base() <= 6);
  }
}

TEST_CASE("workers that do not help are given up", "[auto_sizer]") {
  pool_simulation pool{test::service_for(8), test::takes(5)};
  auto_sizer sizer{{.most = limit, .first = limit, .cores = 2}};
  live(sizer, pool, 8s);
  CHECK(sizer.base() >= 7);
  CHECK(sizer.base() <= 9);
}

TEST_CASE("a size that was found is left by an eighth, and seldom",
          "[auto_sizer]") {
  for (const auto& of : workloads()) {
    pool_simulation pool{of.speed, test::takes(5)};
    auto_sizer sizer{within(of.cores)};
    live(sizer, pool, 10s);
    auto found = sizer.base();
    auto sizes = live(sizer, pool, 60s);
    INFO(of.name << ", " << found);
    auto step = std::max<std::size_t>(1, found / 8);
    std::size_t away = 0;
    for (auto size : sizes) {
      CHECK(size + 2 * step >= found);
      CHECK(size <= found + 2 * step);
      away += size != sizer.base();
    }
    CHECK(away < sizes.size() / 3);
  }
}

TEST_CASE("what varies by a third from moment to moment does not make the size "
          "run away",
          "[auto_sizer]") {
  for (auto seed = 1u; seed <= 5; ++seed) {
    pool_simulation pool{test::service_for(16), test::takes_about(5), seed};
    pool.shake(0.3);
    auto_sizer sizer{within()};
    live(sizer, pool, 20s);
    for (auto size : live(sizer, pool, 60s)) {
      REQUIRE(size >= 8);
      REQUIRE(size <= 32);
    }
  }
}

TEST_CASE(
    "calls that only waited and then meet a service for 16 are sized anew "
    "within four seconds",
    "[auto_sizer]") {
  for (auto rest : {5s, 7s, 31s, 44s})
    for (auto seed = 1u; seed <= 5; ++seed) {
      pool_simulation pool{test::waiting(), test::takes_about(5), seed};
      auto_sizer sizer{within()};
      live(sizer, pool, rest);
      REQUIRE(sizer.base() >= 56);
      pool.become(test::service_for(16));
      live(sizer, pool, 4s);
      INFO("after " << rest.count() << " s, seed " << seed);
      auto best = test::best_throughput(test::service_for(16), 5, limit);
      CHECK(measured(sizer, pool, 10s) > 0.9 * best);
      // And back, which nothing tells but the next try.
      pool.become(test::waiting());
      live(sizer, pool, 40s);
      CHECK(sizer.base() >= 56);
    }
}

TEST_CASE("calls that all take twice as long keep their workers",
          "[auto_sizer]") {
  pool_simulation pool{test::waiting(), test::takes(5)};
  auto_sizer sizer{within()};
  live(sizer, pool, 20s);
  pool.become({[](std::size_t) { return 0.5; }});
  live(sizer, pool, 10s);
  CHECK(sizer.base() >= 56);
}

TEST_CASE("a pool that has nothing to do keeps its size, and what it knows",
          "[auto_sizer]") {
  pool_simulation pool{test::service_for(16), test::takes(5)};
  auto_sizer sizer{within()};
  live(sizer, pool, 10s);
  auto found = sizer.base();
  pool.demand(false);
  auto sizes = live(sizer, pool, 1h);
  // A try that was under way is given up.
  sizes.erase(sizes.begin(), sizes.begin() + 20);
  CHECK(std::all_of(sizes.begin(), sizes.end(),
                    [&](auto size) { return size == found; }));
  pool.demand(true);
  for (auto size : live(sizer, pool, 5s)) {
    CHECK(size + 5 >= found);
    CHECK(size <= found + 5);
  }
}

TEST_CASE("a pool that its callers do not fill does not grow", "[auto_sizer]") {
  auto_sizer sizer{within()};
  // All are busy, but nobody waits; or some wait, and yet one is idle: they are
  // on their way.
  for (auto waiting : {0u, 5u})
    for (auto i = 0; i < 1'000; ++i)
      REQUIRE(sizer.next({.elapsed = 50ms,
                          .completed = 60,
                          .workers = 6,
                          .busy = waiting > 0 ? 5u : 6u,
                          .waiting = waiting})
              == 6);
}

TEST_CASE("bursts with pauses between them are sized as one stretch",
          "[auto_sizer]") {
  pool_simulation pool{test::waiting(), test::takes(5)};
  auto_sizer sizer{within()};
  for (auto burst = 0; burst < 10; ++burst) {
    pool.demand(true);
    live(sizer, pool, 300ms);
    pool.demand(false);
    live(sizer, pool, 500ms);
  }
  CHECK(sizer.size() == limit);
}

TEST_CASE("no more workers are tried than waiting requests could use",
          "[auto_sizer]") {
  auto_sizer sizer{within()};
  load_observation seen{.elapsed = 50ms, .waiting = 3};
  std::size_t largest = 0;
  for (auto i = 0; i < 100; ++i) {
    seen.workers = seen.busy = sizer.size();
    seen.completed = 10 * sizer.size();
    sizer.next(seen);
    REQUIRE(sizer.size() <= sizer.base() + 3);
    largest = std::max(largest, sizer.size());
  }
  CHECK(largest > 12);
}

TEST_CASE("the size stays between its bounds", "[auto_sizer]") {
  for (auto [least, most] : {std::pair{1u, 1u}, {1u, 2u}, {5u, 5u}, {7u, 11u}})
    for (const auto& of : workloads()) {
      pool_simulation pool{of.speed, test::takes_about(5)};
      pool.shake(0.3);
      auto_sizer sizer{
          {.least = least, .most = most, .first = 6, .cores = of.cores}};
      for (auto size : live(sizer, pool, 60s)) {
        REQUIRE(size >= least);
        REQUIRE(size <= most);
      }
    }
}

TEST_CASE("a try that is interrupted for long is given up", "[auto_sizer]") {
  auto_sizer sizer{within()};
  load_observation seen{.elapsed = 50ms, .waiting = 1'000};
  while (sizer.size() == sizer.base()) {
    seen.workers = seen.busy = sizer.size();
    seen.completed = 10 * sizer.size();
    sizer.next(seen);
  }
  sizer.pause();
  CHECK(sizer.size() == 6);
  CHECK(sizer.base() == 6);
}
