// What a barrier promises: all leave together, numbered, round after round; and
// nobody is left behind when it breaks. After CPython's tests of
// asyncio.Barrier, as far as they do not look at its states.

#include "troupe/barrier.hpp"

#include "actor_ways.hpp"
#include "race.hpp"
#include "wait_ways.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

using Catch::Matchers::Contains;
using test::hear;
using test::way;
using troupe::ec;

namespace {

using waits = std::vector<troupe::operation<std::size_t>>;

void start_waits(const troupe::barrier& meeting, int n, waits& into) {
  for (int i = 0; i < n; ++i)
    into.push_back(meeting.wait().start());
}

/// Returns how many of them fail with `code`.
int failures(waits& all, ec code) {
  auto n = 0;
  for (auto& op : all)
    n += test::failure_code([&] { op.get(); }) == code ? 1 : 0;
  all.clear();
  return n;
}

} // namespace

// -- meeting ------------------------------------------------------------------

TEST_CASE("a barrier has at least one party", "[barrier]") {
  test::actor_world world;
  CHECK(test::failure_code([&] {
          troupe::barrier{world.sys, 0};
        })
        == ec::invalid_option);
  CHECK_THAT(test::thrown_text([&] {
               troupe::barrier{world.sys, 0};
             }),
             Contains("a barrier for 0 parties: 1 to "));
  CHECK(troupe::barrier{world.sys, 5}.parties() == 5);
}

TEST_CASE("a barrier for one lets everybody pass", "[barrier]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::barrier alone{world.sys, 1};
  for (int i = 0; i < 2; ++i)
    CHECK(hear(how, world.sys, [&](auto*) { return alone.wait(); }).value == 0);
  CHECK(alone.n_waiting() == 0);
  CHECK_FALSE(alone.broken());
}

TEST_CASE("a barrier fills one by one and lets all go with the last",
          "[barrier]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::barrier meeting{world.sys, 3};
  auto first = meeting.wait().start();
  CHECK(meeting.n_waiting() == 1);
  auto second = meeting.wait().start();
  CHECK(meeting.n_waiting() == 2);
  CHECK(hear(how, world.sys, [&](auto*) { return meeting.wait(); }).value == 2);
  CHECK(first.get() == 0);
  CHECK(second.get() == 1);
  CHECK(meeting.n_waiting() == 0);
  CHECK_FALSE(meeting.broken());
}

TEST_CASE("a barrier can be used again as soon as it is full", "[barrier]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 5};
  for (int round = 0; round < 3; ++round) {
    waits all;
    start_waits(meeting, 5, all);
    CHECK(meeting.n_waiting() == 0);
    start_waits(meeting, 2, all);
    CHECK(meeting.n_waiting() == 2);
    start_waits(meeting, 3, all);
    for (std::size_t i = 0; i < all.size(); ++i)
      CHECK(all[i].get() == i % 5);
  }
}

TEST_CASE("copies of a barrier are the same barrier", "[barrier]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 2};
  auto copy = meeting;
  auto first = copy.wait().start();
  CHECK(meeting.wait().get() == 1);
  CHECK(first.get() == 0);
}

TEST_CASE("a wait at a barrier that is not started is no party", "[barrier]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 2};
  auto lazy = meeting.wait();
  CHECK(meeting.n_waiting() == 0);
}

// -- cancelling ---------------------------------------------------------------

TEST_CASE("a party that is cancelled leaves as if it had not come",
          "[barrier]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::barrier meeting{world.sys, 3};
  std::stop_source stop;
  std::jthread stopper;
  auto result = hear(how, world.sys, [&](auto*) {
    auto op = meeting.wait().stop_with(stop.get_token()).start();
    stopper = std::jthread{[&] { stop.request_stop(); }};
    return op;
  });
  CHECK(result.code() == ec::cancelled);
  CHECK(meeting.n_waiting() == 0);
  auto second = meeting.wait().start();
  auto third = meeting.wait().start();
  CHECK(meeting.n_waiting() == 2);
  // Numbered without those who left.
  CHECK(meeting.wait().get() == 2);
  CHECK(second.get() == 0);
  CHECK(third.get() == 1);
  CHECK_FALSE(meeting.broken());
}

TEST_CASE("a party that runs out of time or dies is forgotten", "[barrier]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 2};
  CHECK(test::code_of_cancelled(meeting.wait(), ec::deadline_exceeded)
        == ec::deadline_exceeded);
  CHECK(meeting.n_waiting() == 0);
  test::wait_in_actor_that_ends(world.sys,
                                [meeting] { return meeting.wait(); });
  CHECK(meeting.n_waiting() == 0);
}

// -- breaking -----------------------------------------------------------------

TEST_CASE("abort fails all who wait and whoever comes", "[barrier]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::barrier meeting{world.sys, 5};
  waits all;
  start_waits(meeting, 3, all);
  std::jthread aborter;
  auto waiting = hear(how, world.sys, [&](auto*) {
    auto op = meeting.wait().start();
    aborter = std::jthread{[&] { meeting.abort(); }};
    return op;
  });
  CHECK(waiting.code() == ec::closed);
  aborter.join();
  CHECK(meeting.broken());
  CHECK(meeting.n_waiting() == 0);
  CHECK(failures(all, ec::closed) == 3);
  auto late = hear(how, world.sys, [&](auto*) { return meeting.wait(); });
  CHECK(late.code() == ec::closed);
  CHECK_THAT(test::thrown_text([&] { meeting.wait().get(); }),
             Contains("broken") && Contains("reset()"));
}

TEST_CASE("abort of an empty barrier breaks it", "[barrier]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 1};
  meeting.abort();
  CHECK(meeting.broken());
  CHECK(meeting.n_waiting() == 0);
}

TEST_CASE("those who had left before an abort are not concerned", "[barrier]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 2};
  waits left;
  start_waits(meeting, 2, left);
  waits waiting;
  start_waits(meeting, 1, waiting);
  meeting.abort();
  CHECK(left[0].get() == 0);
  CHECK(left[1].get() == 1);
  CHECK(failures(waiting, ec::closed) == 1);
}

TEST_CASE("reset of an empty barrier changes nothing", "[barrier]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 1};
  meeting.reset();
  CHECK(meeting.n_waiting() == 0);
  CHECK_FALSE(meeting.broken());
}

TEST_CASE("reset fails those who wait, and whoever comes can meet",
          "[barrier]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 5};
  waits all;
  start_waits(meeting, 4, all);
  meeting.reset();
  CHECK_FALSE(meeting.broken());
  CHECK(meeting.n_waiting() == 0);
  CHECK(failures(all, ec::closed) == 4);
  start_waits(meeting, 4, all);
  CHECK(meeting.wait().get() == 4);
  CHECK(failures(all, ec::closed) == 0);
}

TEST_CASE("reset mends a barrier that is broken", "[barrier]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 2};
  meeting.abort();
  meeting.reset();
  CHECK_FALSE(meeting.broken());
  auto first = meeting.wait().start();
  CHECK(meeting.wait().get() == 1);
  CHECK(first.get() == 0);
}

TEST_CASE("a task that fails breaks the barrier for the others, who mend it",
          "[barrier]") {
  // As threading.Barrier is used: one cannot come to the second meeting and
  // says so, the others hear of it, and all meet again.
  test::actor_world world;
  constexpr auto n = 5;
  troupe::barrier work{world.sys, n};
  troupe::barrier aside{world.sys, n};
  std::atomic<int> heard{0};
  std::atomic<int> passed{0};
  auto party = [=, &heard,
                &passed](caf::event_based_actor*, troupe::barrier first,
                         troupe::barrier second) -> troupe::task<void> {
    auto index = co_await first.wait();
    if (index == n / 2) {
      first.abort();
    } else {
      try {
        co_await first.wait();
      } catch (const troupe::failure& err) {
        heard += err.code() == ec::closed ? 1 : 0;
      }
    }
    // Together before the reset, so that everybody has left, and after it, so
    // that nobody comes too early.
    index = co_await second.wait();
    if (index == n / 2)
      first.reset();
    co_await second.wait();
    co_await first.wait();
    ++passed;
  };
  troupe::run(
      world.sys, [&](caf::event_based_actor* self) -> troupe::task<void> {
        std::vector<troupe::operation<void>> parties;
        for (int i = 0; i < n; ++i)
          parties.push_back(troupe::operation<void>{party(self, work, aside)});
        auto all = troupe::gather(std::move(parties));
        co_await std::move(all);
      });
  CHECK(heard == n - 1);
  CHECK(passed == n);
  CHECK_FALSE(work.broken());
}

// -- races --------------------------------------------------------------------

TEST_CASE("nobody is left behind in 10000 meetings at one barrier",
          "[barrier]") {
  // Failure here is a hang.
  test::actor_world world;
  constexpr auto rounds = 3'334;
  troupe::barrier meeting{world.sys, 3};
  std::vector<std::atomic<int>> sums(rounds);
  test::all_ways_at_once<std::size_t>(
      world.sys, rounds, [&](test::who, int) { return meeting.wait(); },
      [&](test::who, int i, std::size_t index) {
        sums[i] += 1 << (4 * static_cast<int>(index));
      },
      [] {});
  CHECK(std::count(sums.begin(), sums.end(), 0x111) == rounds);
}

TEST_CASE("a party that is cancelled as the last one comes passes or leaves",
          "[barrier]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 2};
  std::stop_source stop;
  std::optional<troupe::operation<std::size_t>> early;
  std::optional<troupe::operation<std::size_t>> last;
  auto right = 0;
  test::race(
      10'000,
      [&](int) {
        stop = std::stop_source{};
        early.emplace(meeting.wait().stop_with(stop.get_token()).start());
      },
      [&](int) { last.emplace(meeting.wait().start()); },
      [&](int) { stop.request_stop(); },
      [&](int) {
        if (auto code = test::failure_code([&] { early->get(); }))
          // The last one is the first one now.
          right += code == ec::cancelled && meeting.n_waiting() == 1
                           && meeting.wait().get() == 1 && last->get() == 0
                       ? 1
                       : 0;
        else
          right += meeting.n_waiting() == 0 && last->get() == 1 ? 1 : 0;
      });
  CHECK(right == 10'000);
}
