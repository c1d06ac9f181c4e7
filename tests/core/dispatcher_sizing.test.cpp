// What the dispatcher tells of its load, when somebody should look, and what it
// does when its size is changed in between.

#include "troupe/dispatcher.hpp"

#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "manual_clock.hpp"
#include "scripted_crew.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <ranges>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::scripted_crew;
using test::thread_crew;
using troupe::make_batch;
using troupe::make_map_batch;

namespace {

troupe::effective_options automatic(std::size_t workers) {
  auto result = scripted_crew::idle_workers(workers);
  result.automatic = true;
  result.workers_limit = 8;
  return result;
}

void submit_one(scripted_crew& crew) {
  crew.submit(make_batch([] {}).ref());
}

} // namespace

TEST_CASE("a look tells what returned, who is busy and what waits",
          "[dispatcher_sizing]") {
  test::manual_time time;
  auto options = automatic(2);
  options.clock = time.clock;
  scripted_crew crew{options};
  for (int i = 0; i < 5; ++i)
    submit_one(crew);
  auto woken = crew.take_woken();
  REQUIRE(woken.size() == 2);
  CHECK(crew.script().growths == 1);
  // What the coordinator does when it is called.
  CHECK(crew.home().take_growth() == 0);
  REQUIRE(crew.home().begin_sizing());
  CHECK_FALSE(crew.home().begin_sizing());
  time.clock->advance(50ms);
  auto seen = crew.home().observe_load();
  REQUIRE(seen);
  CHECK(seen->elapsed == 50ms);
  CHECK(seen->completed == 0);
  CHECK(seen->workers == 2);
  CHECK(seen->busy == 2);
  CHECK(seen->waiting == 2);
  for (auto cell : woken)
    crew.run_all(*cell, cell->take());
  time.clock->advance(70ms);
  // Nothing is outstanding: nobody needs to look any more, until somebody
  // waits again.
  CHECK_FALSE(crew.home().observe_load());
  for (int i = 0; i < 3; ++i)
    submit_one(crew);
  CHECK(crew.script().growths == 2);
  CHECK(crew.home().take_growth() == 0);
  CHECK(crew.home().begin_sizing());
  for (auto cell : crew.take_woken())
    crew.run_all(*cell, cell->take());
}

TEST_CASE("a look counts requests that returned meanwhile",
          "[dispatcher_sizing]") {
  scripted_crew crew{automatic(1)};
  for (int i = 0; i < 4; ++i)
    submit_one(crew);
  REQUIRE(crew.home().begin_sizing());
  auto cell = crew.take_woken().at(0);
  auto found = cell->take();
  for (auto n = 1u; n <= 3; ++n) {
    crew.home().take_up(*cell, *found.work);
    auto why = crew.run(*cell, found);
    found = crew.next(*cell, found, why);
    REQUIRE(found.work);
    auto seen = crew.home().observe_load();
    REQUIRE(seen);
    CHECK(seen->completed == 1);
    CHECK(seen->busy == 1);
    CHECK(seen->waiting == (n < 3 ? 1 : 0));
  }
  crew.run_all(*cell, std::move(found));
}

TEST_CASE("nobody looks for long while nothing waits, though a request runs on",
          "[dispatcher_sizing]") {
  scripted_crew crew{automatic(1)};
  submit_one(crew);
  submit_one(crew);
  REQUIRE(crew.home().begin_sizing());
  auto cell = crew.take_woken().at(0);
  auto found = cell->take();
  crew.home().take_up(*cell, *found.work);
  found = crew.next(*cell, found, crew.run(*cell, found));
  auto looks = 0;
  while (crew.home().observe_load())
    ++looks;
  CHECK(looks > 10);
  CHECK(looks < 100);
  crew.run_all(*cell, std::move(found));
}

TEST_CASE("a pool of a fixed size is not looked at", "[dispatcher_sizing]") {
  scripted_crew crew{scripted_crew::idle_workers(1)};
  for (int i = 0; i < 3; ++i)
    submit_one(crew);
  CHECK(crew.script().growths == 0);
  CHECK_FALSE(crew.home().begin_sizing());
  crew.home().adapt(5);
  CHECK(crew.home().max_workers() == 1);
  // Until somebody wants it to be.
  crew.home().resize(troupe::automatic);
  CHECK(crew.home().max_workers() == 1);
  CHECK(crew.script().growths == 1);
  CHECK(crew.home().begin_sizing());
  crew.home().adapt(2);
  CHECK(crew.home().max_workers() == 2);
  crew.home().resize(3);
  CHECK_FALSE(crew.home().automatic());
  CHECK_FALSE(crew.home().observe_load());
  crew.home().adapt(5);
  CHECK(crew.home().max_workers() == 3);
  auto cell = crew.take_woken().at(0);
  crew.run_all(*cell, cell->take());
}

TEST_CASE(
    "statistics tell how much time workers had, whatever their number was",
    "[dispatcher_sizing]") {
  scripted_crew crew{automatic(2)};
  submit_one(crew);
  auto before = crew.home().stats();
  CHECK(before.automatic);
  CHECK(before.max_workers == 2);
  CHECK(before.least_workers == 2);
  CHECK(before.workers_limit == 8);
  CHECK(before.offered == 2 * before.active);
  crew.home().adapt(8);
  auto after = crew.home().stats();
  CHECK(after.offered >= 2 * after.active);
  CHECK(after.offered <= 8 * after.active);
  CHECK(after.offered >= before.offered + 2 * (after.active - before.active));
  auto cell = crew.take_woken().at(0);
  crew.run_all(*cell, cell->take());
}

// They used to stay until the map was over.
TEST_CASE("workers that are too many leave a map between two requests",
          "[dispatcher_sizing]") {
  test::gate first;
  test::gate rest;
  thread_crew crew{4};
  test::open_at_exit release_first{first};
  test::open_at_exit release_rest{rest};
  auto many =
      crew.start(make_map_batch(std::views::iota(0u, 100u), [&](unsigned i) {
        (i < 4 ? first : rest).pass();
      }));
  first.wait_for_arrivals(4);
  crew.home().resize(1);
  first.open();
  while (crew.home().live_workers() > 1)
    std::this_thread::yield();
  rest.wait_for_arrivals(1);
  rest.open();
  test::get(many);
}
