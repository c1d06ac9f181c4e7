// Both parkers keep the same promises, whichever of them `get()` waits on.

#include "troupe/parker.hpp"

#include <catch2/catch.hpp>

#include <chrono>
#include <thread>

using namespace std::chrono_literals;

using std::chrono::steady_clock;

namespace {

/// A moment that is over.
steady_clock::time_point past() {
  return steady_clock::now() - 1s;
}

/// A moment that no test waits for.
steady_clock::time_point far_off() {
  return steady_clock::now() + 24h;
}

} // namespace

#if defined(__linux__)
#  define PARKERS troupe::futex_parker, troupe::condvar_parker
#else
#  define PARKERS troupe::condvar_parker
#endif

TEMPLATE_TEST_CASE("a parker that was unparked before lets the thread pass",
                   "[parker]", PARKERS) {
  TestType parker;
  parker.unpark();
  parker.park();
  parker.unpark();
  CHECK(parker.park_until(past()));
}

TEMPLATE_TEST_CASE("a parker that nobody unparks gives up at its deadline",
                   "[parker]", PARKERS) {
  TestType parker;
  CHECK_FALSE(parker.park_until(past()));
  CHECK_FALSE(parker.park_until(steady_clock::now() + 1ms));
}

TEMPLATE_TEST_CASE("a parker remembers one unpark, not how many there were",
                   "[parker]", PARKERS) {
  TestType parker;
  parker.unpark();
  parker.unpark();
  CHECK(parker.park_until(past()));
  CHECK_FALSE(parker.park_until(past()));
}

TEMPLATE_TEST_CASE("a parker that gave up can be parked again", "[parker]",
                   PARKERS) {
  TestType parker;
  CHECK_FALSE(parker.park_until(past()));
  std::thread waker{[&] { parker.unpark(); }};
  CHECK(parker.park_until(far_off()));
  waker.join();
}

TEMPLATE_TEST_CASE("a parked thread sees what was written before the unpark",
                   "[parker]", PARKERS) {
  TestType ping;
  TestType pong;
  int ball = 0;
  constexpr auto rounds = 2'000;
  std::thread other{[&] {
    for (int i = 0; i < rounds; ++i) {
      ping.park();
      ++ball;
      pong.unpark();
    }
  }};
  auto misses = 0;
  for (int i = 0; i < rounds; ++i) {
    ball = 2 * i;
    ping.unpark();
    pong.park();
    misses += ball != 2 * i + 1;
  }
  other.join();
  CHECK(misses == 0);
}

// A wake-up that comes while the sleeper gives up must not be lost: failure
// here is a hang in `park`.
TEMPLATE_TEST_CASE("an unpark that races with the deadline is not lost",
                   "[parker]", PARKERS) {
  TestType sleeper;
  TestType next;
  constexpr auto rounds = 2'000;
  std::thread waker{[&] {
    for (int i = 0; i < rounds; ++i) {
      next.park();
      sleeper.unpark();
    }
  }};
  auto left_over = 0;
  for (int i = 0; i < rounds; ++i) {
    next.unpark();
    if (!sleeper.park_until(steady_clock::now() + i % 20 * 1us))
      sleeper.park();
    left_over += sleeper.park_until(past());
  }
  waker.join();
  CHECK(left_over == 0);
}
