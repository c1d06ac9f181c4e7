// What the fast clock promises: steady_clock's time, whatever the processor
// counts.

#include "troupe/fast_clock.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

using namespace std::chrono_literals;

using std::chrono::nanoseconds;
using std::chrono::steady_clock;
using troupe::basic_fast_clock;
using troupe::counter_pace;
using troupe::fast_clock;

namespace {

/// A machine whose clock and counter are moved by hand. Each `Number` is
/// another one, about which nothing has been learnt.
template <int Number>
struct moved_machine {
  static bool counts_evenly() noexcept { return even; }

  static std::uint64_t count() noexcept {
    counted += disturbance;
    return counted;
  }

  static steady_clock::time_point now() noexcept {
    ++looks;
    return steady_clock::time_point{time};
  }

  /// Lets time pass, in which the counter goes `counts_a_us` a microsecond.
  static void pass(nanoseconds span) {
    time += span;
    counted += static_cast<std::uint64_t>(static_cast<double>(span.count())
                                          / 1'000 * counts_a_us);
  }

  static inline bool even = true;
  static inline nanoseconds time{100s};
  static inline std::uint64_t counted = 1'000'000'000;
  static inline double counts_a_us = 3'000;
  /// What passes at each look at the counter.
  static inline std::uint64_t disturbance = 0;
  /// How often the clock was looked at.
  static inline int looks = 0;
};

/// Lets calls of 20 us follow each other for as long as `span`. Returns by how
/// much `clock` was off at worst, and checks that it never went back.
template <class Machine>
nanoseconds worst_of_calls(basic_fast_clock<Machine>& clock, nanoseconds span) {
  nanoseconds worst{0};
  auto back = 0;
  auto before = clock.now();
  for (auto end = Machine::time + span; Machine::time < end;) {
    Machine::pass(20us);
    auto now = clock.now();
    back += now < before;
    before = now;
    worst = std::max(worst, abs(now.time_since_epoch() - Machine::time));
  }
  CHECK(back == 0);
  return worst;
}

/// A clock of a machine about which all is known.
template <class Machine>
basic_fast_clock<Machine> trained_clock() {
  basic_fast_clock<Machine> clock;
  CHECK(worst_of_calls(clock, 30ms) < 1us);
  return clock;
}

// What clock and counter may differ by when they are read one after the other.
constexpr auto tolerated = 20us;

/// A fast clock that runs ahead by a hundredth.
class hasty_clock {
public:
  steady_clock::time_point now() noexcept {
    auto now = clock_.now();
    return now + (now - begin_) / 100;
  }

private:
  fast_clock clock_;
  const steady_clock::time_point begin_ = steady_clock::now();
};

/// Returns by how much `Clock` was outside of what steady_clock said before and
/// after it, at worst.
template <class Clock>
nanoseconds worst_error() {
  Clock clock;
  nanoseconds worst{0};
  // The last look begins when that time is over, whenever others were.
  auto begin = steady_clock::now();
  auto before = begin;
  for (nanoseconds passed{0}; passed < 50ms;) {
    passed = before - begin;
    auto told = clock.now();
    auto after = steady_clock::now();
    worst = std::max({worst, before - told, told - after});
    before = after;
  }
  return worst;
}

} // namespace

TEST_CASE("a fast clock says what steady_clock says", "[fast_clock]") {
  CHECK(worst_error<fast_clock>() < tolerated);
  // By then the pace is known from the begin on.
  CHECK(worst_error<fast_clock>() < tolerated);
}

TEST_CASE("a clock that runs ahead is found out", "[fast_clock]") {
  CHECK(worst_error<hasty_clock>() > tolerated);
}

TEST_CASE("a fast clock looks at the clock once in a millisecond",
          "[fast_clock]") {
  using machine = moved_machine<0>;
  auto clock = trained_clock<machine>();
  machine::looks = 0;
  CHECK(worst_of_calls(clock, 1s) < 1us);
  CHECK(machine::looks >= 900);
  CHECK(machine::looks <= 1'100);
}

TEST_CASE("where the counter is not even, a fast clock is the clock",
          "[fast_clock]") {
  using machine = moved_machine<1>;
  machine::even = false;
  machine::counts_a_us = 0.1;
  basic_fast_clock<machine> clock;
  CHECK(worst_of_calls(clock, 100ms) == 0ns);
}

TEST_CASE("a fast clock does not run away from a clock that is slewed",
          "[fast_clock]") {
  using machine = moved_machine<2>;
  auto clock = trained_clock<machine>();
  machine::counts_a_us *= 1.001;
  CHECK(worst_of_calls(clock, 10s) <= 1us);
  machine::counts_a_us *= 0.998;
  CHECK(worst_of_calls(clock, 10s) <= 2us);
}

TEST_CASE("a fast clock that was ahead does not go back when a look fails",
          "[fast_clock]") {
  using machine = moved_machine<3>;
  auto clock = trained_clock<machine>();
  machine::counts_a_us *= 1.1;
  machine::pass(900us);
  auto before = clock.now();
  CHECK(before.time_since_epoch() > machine::time);
  // Something comes between each two looks at the counter.
  machine::disturbance = 1'000'000;
  CHECK(clock.now() >= before);
  CHECK(worst_of_calls(clock, 10ms) <= 100us);
}

TEST_CASE("a fast clock is right again a while after the machine has slept",
          "[fast_clock]") {
  // The clock stands meanwhile, and the counter goes on, or begins anew.
  using machine = moved_machine<4>;
  auto anew = GENERATE(false, true);
  CAPTURE(anew);
  auto sleep = [&] {
    machine::counted = anew ? 0 : machine::counted + 100'000'000'000'000;
  };
  SECTION("before its pace is known") {
    basic_fast_clock<moved_machine<5>> clock;
    clock.now();
    moved_machine<5>::counted += 100'000'000'000'000;
    moved_machine<5>::pass(5ms);
    clock.now();
    CHECK(worst_of_calls(clock, 50ms) < 1us);
  }
  SECTION("while it is used") {
    auto clock = trained_clock<machine>();
    sleep();
    CHECK(worst_of_calls(clock, 1ms) < 1ms);
    CHECK(worst_of_calls(clock, 50ms) < 1us);
  }
  SECTION("while nobody looked") {
    auto clock = trained_clock<machine>();
    sleep();
    machine::pass(3s);
    CHECK(worst_of_calls(clock, 50ms) < 1us);
  }
}

TEST_CASE("a fast clock tells no time before the one that it is given",
          "[fast_clock]") {
  auto later = steady_clock::now() + 1h;
  fast_clock clock{later};
  CHECK(clock.now() == later);
}

TEST_CASE("no pace is learnt from readings that are too close or too far",
          "[fast_clock]") {
  auto apart = [](nanoseconds span, std::uint64_t counts) {
    counter_pace pace;
    steady_clock::time_point begin{1h};
    pace.learn({begin, 1'000, true});
    return pace.learn({begin + span, 1'000 + counts, true});
  };
  CHECK(apart(9ms, 27'000'000) == 0);
  CHECK(apart(2s, 6'000'000'000) == 0);
  // Faster than any counter, and slower.
  CHECK(apart(10ms, 3'000'000'000) == 0);
  CHECK(apart(10ms, 300'000) == 0);
  CHECK(apart(10ms, 0) == 0);
  CHECK(apart(10ms, 10'000'000)
        == static_cast<std::uint64_t>(counter_pace::unit));
}
