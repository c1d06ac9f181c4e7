// Requests that travel together to a worker process: whatever happens to it,
// each has one outcome, and none is made twice that may not be. Each call
// leaves a line in a file, so the tests know what was made.

#include "troupe/process_link.hpp"

#include "actor_ways.hpp"
#include "errand_folder.hpp"
#include "far_outcomes.hpp"
#include "manual_clock.hpp"
#include "programs.hpp"
#include "test_procedures.hpp"

#include "troupe/process_pool.hpp"
#include "troupe/worker_process.hpp"

#include <catch2/catch.hpp>

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::errand;
using test::eventually;
using test::failure_of;
using test::made_twice;
using test::run_errand;
using test::run_errand_again;
using troupe::ec;
using troupe::process_options;
using troupe::process_pool;

namespace {

/// A pool of test processes, and a folder for what they leave.
struct crew {
  explicit crew(process_options options = {})
      : pool{world.sys, test::all_procedures(), [&] {
               options.program = TROUPE_WORKER_PROGRAM;
               return options;
             }()} {}

  test::actor_world world;
  test::errand_folder folder;
  process_pool pool;
};

} // namespace

// -- results ------------------------------------------------------------------

TEST_CASE("100,000 tiny requests travel and have their results in order",
          "[process_link]") {
  auto processes = GENERATE(1u, 3u);
  auto together = GENERATE(7u, 1024u);
  CAPTURE(processes, together);
  crew c{{.processes = processes, .max_together = together}};
  std::vector<int> all(100'000);
  std::iota(all.begin(), all.end(), 0);
  auto results = c.pool.map(all, test::twice).get();
  REQUIRE(results.size() == all.size());
  auto wrong = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    wrong += results[i] != 2 * all[i];
  CHECK(wrong == 0);
  CHECK(c.pool.stats().succeeded == 100'000);
  std::uint64_t answered = 0;
  for (const auto& x : c.pool.processes().processes)
    answered += x.answered;
  CHECK(answered == 100'000);
}

TEST_CASE("each request that travels is made once", "[process_link]") {
  crew c{{.processes = 2}};
  auto pids = c.pool.map(c.folder.errands(5'000), run_errand).get();
  CHECK(pids.size() == 5'000);
  auto made = c.folder.made();
  CHECK(made.size() == 5'000);
  CHECK(made_twice(made).empty());
}

// Answers that fill the page, that do not fit into it, and that are larger than
// all of it.
TEST_CASE("results of all sizes travel", "[process_link]") {
  crew c{{.processes = 2}};
  std::minstd_rand random{7};
  std::vector<std::uint64_t> sizes(600);
  for (auto& x : sizes)
    x = random() % 100 == 0 ? random() % 3'000'000 : random() % 20'000;
  auto all = c.pool.map(sizes, test::letters).get();
  REQUIRE(all.size() == sizes.size());
  auto wrong = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    wrong += all[i] != std::string(sizes[i], 'a');
  CHECK(wrong == 0);
}

TEST_CASE("a request that waits in the message of a slow one is made elsewhere",
          "[process_link]") {
  crew c{{.processes = 2}};
  auto op =
      c.pool.map(c.folder.errands(5'000, 3'000, "hold"), run_errand).start();
  c.folder.await_arrival();
  eventually([&] { return c.folder.made().size() == 5'000; });
  c.folder.open();
  CHECK(op.get().size() == 5'000);
  CHECK(made_twice(c.folder.made()).empty());
}

TEST_CASE("a process makes no more calls than it may, also when they travel",
          "[process_link]") {
  crew c{{.processes = 1, .max_requests_per_worker = 50}};
  std::map<int, int> by_process;
  for (auto pid : c.pool.map(c.folder.errands(1'000), run_errand).get())
    ++by_process[pid];
  CHECK(by_process.size() == 20);
  for (auto [pid, calls] : by_process)
    CHECK(calls == 50);
  CHECK(c.pool.processes().recycled == 20);
}

// -- crashes ------------------------------------------------------------------

TEST_CASE("a crash costs the request that ran, and those that travel with it "
          "are made once",
          "[process_link]") {
  crew c{{.processes = 2}};
  auto pids =
      c.pool.map(c.folder.errands(3'000, 1'500, "kill once"), run_errand)
          .retry({.attempts = 2, .backoff = 0ms})
          .get();
  CHECK(pids.size() == 3'000);
  auto made = c.folder.made();
  CHECK(made.size() == 3'000);
  CHECK(made_twice(made) == std::vector{1'500});
  CHECK(made[1'500] == 2);
  CHECK(c.pool.processes().lost == 1);
}

TEST_CASE("without retry a crash fails the map, and nothing is made twice",
          "[process_link]") {
  crew c{{.processes = 1}};
  auto lost = failure_of(
      c.pool.map(c.folder.errands(3'000, 1'500, "kill"), run_errand));
  CHECK(lost.code == ec::worker_lost);
  CHECK_THAT(lost.text, Catch::Contains("'run_errand' was lost")
                            && Catch::Contains("SIGKILL"));
  auto made = c.folder.made();
  CHECK(made_twice(made).empty());
  CHECK(made.contains(1'500));
  auto seen = c.pool.stats().total();
  CHECK(seen.failed == 1);
  CHECK(seen.succeeded + 1 == made.size());
  CHECK(seen.succeeded + seen.failed + seen.cancelled == 3'000);
}

TEST_CASE(
    "an idempotent one that is lost on its way runs once more, the others "
    "do not",
    "[process_link]") {
  crew c{{.processes = 2}};
  auto pids =
      c.pool.map(c.folder.errands(3'000, 1'500, "kill once"), run_errand_again)
          .get();
  CHECK(pids.size() == 3'000);
  auto made = c.folder.made();
  CHECK(made.size() == 3'000);
  CHECK(made_twice(made) == std::vector{1'500});
  CHECK(made[1'500] == 2);
}

TEST_CASE("an idempotent one runs twice at most, also when it travels",
          "[process_link]") {
  crew c{{.processes = 1}};
  auto lost = failure_of(
      c.pool.map(c.folder.errands(3'000, 1'500, "kill"), run_errand_again));
  CHECK(lost.code == ec::worker_lost);
  CHECK_THAT(lost.text, Catch::Contains("run twice"));
  auto made = c.folder.made();
  CHECK(made_twice(made) == std::vector{1'500});
  CHECK(made[1'500] == 2);
  CHECK(made.size() == 1'501);
}

TEST_CASE("one that has ended its share of processes is named, also when it "
          "travels",
          "[process_link]") {
  crew c{{.processes = 1, .max_lost = 3}};
  auto lost =
      failure_of(c.pool.map(c.folder.errands(3'000, 1'500, "kill"), run_errand)
                     .retry({.attempts = 6, .backoff = 0ms}));
  CHECK(lost.code == ec::worker_lost);
  CHECK_THAT(lost.text, Catch::Contains("'run_errand' was lost with")
                            && Catch::Contains("it is not run again: it has "
                                               "ended 3 worker processes")
                            && Catch::EndsWith("after 3 attempts"));
  auto made = c.folder.made();
  CHECK(made_twice(made) == std::vector{1'500});
  CHECK(made[1'500] == 3);
}

TEST_CASE("processes are killed at random, and no request is made twice",
          "[process_link]") {
  crew c{{.processes = 3}};
  std::atomic<bool> over{false};
  std::thread killer{[&] {
    std::minstd_rand random{42};
    while (!over) {
      for (const auto& x : c.pool.processes().processes)
        if (x.ready && random() % 2 == 0)
          ::kill(x.pid, SIGKILL);
      std::this_thread::sleep_for(std::chrono::microseconds{random() % 20'000});
    }
  }};
  auto losses = 0;
  auto unexpected = 0;
  for (int round = 0; round < 30; ++round) {
    auto lost = failure_of(c.pool.map(c.folder.errands(1'000), run_errand));
    losses += lost.code == ec::worker_lost;
    unexpected += lost.code != ec::worker_lost && lost.code != ec{};
    auto made = c.folder.made();
    CHECK(made_twice(made).empty());
    if (lost.code == ec{})
      CHECK(made.size() == 1'000);
    std::filesystem::remove(c.folder.file("made"));
  }
  over = true;
  killer.join();
  CHECK(unexpected == 0);
  CHECK(losses > 0);
}

// -- failures of a function ---------------------------------------------------

TEST_CASE("behind one that throws, nothing is made that travels with it",
          "[process_link]") {
  crew c{{.processes = 1}};
  auto why = failure_of(
      c.pool.map(c.folder.errands(3'000, 1'500, "throw"), run_errand));
  CHECK(why.code == ec::request_failed);
  CHECK_THAT(why.text, Catch::Contains("std::out_of_range: 1500"));
  CHECK(c.folder.made().size() == 1'501);
  CHECK(c.pool.processes().lost == 0);
}

TEST_CASE("a result that is too large fails alone among those that travel",
          "[process_link]") {
  crew c{{.processes = 1, .max_message = 1000}};
  std::vector<std::uint64_t> sizes(1'000, 10);
  sizes[500] = 2'000;
  auto large = failure_of(c.pool.map(sizes, test::letters));
  CHECK(large.code == ec::too_large);
  CHECK_THAT(large.text, Catch::Contains("result of procedure 'letters'"));
  CHECK(c.pool.stats().succeeded == 500);
  CHECK(c.pool.processes().processes.size() == 1);
}

TEST_CASE("arguments that are too large fail alone among those that travel",
          "[process_link]") {
  crew c{{.processes = 1, .max_message = 1000}};
  std::vector<std::string> texts(1'000, "x");
  texts[500].assign(2'000, 'x');
  auto large = failure_of(c.pool.map(texts, test::echo));
  CHECK(large.code == ec::too_large);
  CHECK_THAT(large.text, Catch::Contains("arguments of procedure 'echo'"));
  CHECK(c.pool.stats().succeeded == 500);
}

TEST_CASE("a map of a procedure that is not known over there fails with both "
          "sides",
          "[process_link]") {
  crew c{{.processes = 1, .arguments = {"--other"}}};
  auto unknown = failure_of(c.pool.map(std::vector<int>(1'000), test::twice));
  CHECK(unknown.code == ec::unknown_procedure);
  CHECK_THAT(unknown.text, Catch::Contains("'twice', int(int)")
                               && Catch::Contains("has only"));
}

// -- stopping -----------------------------------------------------------------

TEST_CASE("a cancel ends the one that runs, and what travels with it is never "
          "made",
          "[process_link]") {
  crew c{{.processes = 1}};
  std::stop_source source;
  auto op = c.pool.map(c.folder.errands(3'000, 1'500, "hold"), run_errand)
                .stop_with(source.get_token())
                .start();
  auto pid = c.folder.await_arrival();
  troupe::unique_fd end{troupe::open_end_signal(pid)};
  source.request_stop();
  CHECK(failure_of(std::move(op)).code == ec::cancelled);
  pollfd fd{end.get(), POLLIN, 0};
  REQUIRE(end.get() >= 0);
  while (::poll(&fd, 1, -1) < 0) {
  }
  CHECK(c.folder.made().size() == 1'501);
  CHECK(made_twice(c.folder.made()).empty());
  auto seen = c.pool.stats().total();
  CHECK(seen.succeeded + seen.failed + seen.cancelled == 3'000);
}

TEST_CASE(
    "a deadline ends the one that runs, and what travels with it is never "
    "made",
    "[process_link]") {
  auto clock = std::make_shared<test::manual_clock>();
  crew c{{.processes = 1, .clock = clock}};
  auto op = c.pool.map(c.folder.errands(3'000, 1'500, "hold"), run_errand)
                .timeout(5s)
                .start();
  c.folder.await_arrival();
  clock->advance(5s);
  CHECK(failure_of(std::move(op)).code == ec::deadline_exceeded);
  CHECK(c.pool.call(test::add, 1, 1).get() == 2);
  CHECK(c.folder.made().size() == 1'501);
}

TEST_CASE("one that runs too long is ended, and not for the time of those "
          "before it",
          "[process_link]") {
  auto clock = std::make_shared<test::manual_clock>();
  crew c{{.processes = 1, .max_run_time = 5s, .clock = clock}};
  auto op = c.pool.map(c.folder.errands(3'000, 1'500, "hold"), run_errand)
                .retry({.attempts = 1})
                .start();
  auto pid = c.folder.await_arrival();
  // Its time begins when the message has taken too long to be one of tiny
  // calls, at the latest.
  auto passed = 0s;
  while (c.pool.processes().ended == 0) {
    clock->advance(1s);
    ++passed;
    std::this_thread::yield();
  }
  CHECK(passed >= 5s);
  auto late = failure_of(std::move(op));
  CHECK(late.code == ec::deadline_exceeded);
  CHECK_THAT(late.text, Catch::Contains("max_run_time = 5s")
                            && Catch::Contains(std::to_string(pid)));
  CHECK(c.pool.processes().ended == 1);
  CHECK(made_twice(c.folder.made()).empty());
}
