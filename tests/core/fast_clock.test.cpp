// What the fast clock promises: steady_clock's time, whatever the processor
// counts.

#include "troupe/fast_clock.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>

using namespace std::chrono_literals;

using std::chrono::nanoseconds;
using std::chrono::steady_clock;
using troupe::fast_clock;

namespace {

// As long as it takes to learn the pace of the counter, and many looks.
constexpr auto watched = 50ms;

// What clock and counter may differ by when they are read one after the other.
constexpr auto tolerated = 20us;

// A fast clock that runs ahead by a hundredth.
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

// Returns by how much `Clock` was outside of what steady_clock said before and
// after it, at worst.
template <class Clock>
nanoseconds worst_error() {
  Clock clock;
  nanoseconds worst{0};
  auto begin = steady_clock::now();
  for (auto before = begin; before - begin < watched;) {
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

TEST_CASE("a fast clock never goes back", "[fast_clock]") {
  fast_clock clock;
  auto begin = steady_clock::now();
  auto back = 0;
  for (auto before = begin; before - begin < watched;) {
    auto now = clock.now();
    back += now < before;
    before = std::max(before, now);
  }
  CHECK(back == 0);
}
