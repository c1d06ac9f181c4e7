// The barrier counts replies, and exactly one of those who bring them completes
// the count.

#include "troupe/join_barrier.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>
#include <vector>

using troupe::join_barrier;

TEST_CASE("the last reply completes the count, the others do not",
          "[join_barrier]") {
  join_barrier barrier{3};
  CHECK_FALSE(barrier.arrive(1));
  CHECK(barrier.remaining() == 2);
  CHECK_FALSE(barrier.arrive(1));
  CHECK(barrier.arrive(1));
  CHECK(barrier.remaining() == 0);
}

TEST_CASE("replies can arrive several at a time", "[join_barrier]") {
  join_barrier barrier{1'000};
  CHECK_FALSE(barrier.arrive(999));
  CHECK(barrier.remaining() == 1);
  CHECK(barrier.arrive(1));
}

TEST_CASE("all replies at once complete the count", "[join_barrier]") {
  join_barrier barrier{7};
  CHECK(barrier.arrive(7));
}

TEST_CASE("one of many threads completes the count and sees what all have done",
          "[join_barrier]") {
  constexpr auto threads = 4u;
  for (int round = 0; round < 200; ++round) {
    join_barrier barrier{threads * 3};
    // Not atomic: only the barrier orders these writes before the sum.
    std::vector<int> written(threads);
    std::atomic<int> completions{0};
    std::atomic<int> sum{0};
    std::vector<std::thread> all;
    for (auto i = 0u; i < threads; ++i)
      all.emplace_back([&, i] {
        written[i] = 1;
        for (auto replies : {1u, 2u})
          if (barrier.arrive(replies)) {
            ++completions;
            for (auto x : written)
              sum += x;
          }
      });
    for (auto& x : all)
      x.join();
    REQUIRE(completions == 1);
    REQUIRE(sum == threads);
  }
}
