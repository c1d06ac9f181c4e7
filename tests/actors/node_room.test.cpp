// Requests that travel together to a node: whatever happens there and on the
// way, each has one outcome, and none is made twice that may not be. Each call
// leaves a line in a file, so the tests know what was made.

#include "troupe/node_room.hpp"

#include "end_of_process.hpp"
#include "errand_folder.hpp"
#include "node_world.hpp"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::end_of_process;
using test::errand;
using test::eventually;
using test::failure_of;
using test::hall;
using test::made_twice;
using test::run_errand;
using test::run_errand_again;
using test::start_node;
using troupe::ec;

namespace {

/// A pool of nodes, and a folder for what their processes leave.
struct errand_hall : hall {
  using hall::hall;

  test::errand_folder folder;
};

} // namespace

// -- results ------------------------------------------------------------------

TEST_CASE("tiny requests travel together to nodes, and each is made once",
          "[node_room]") {
  errand_hall h;
  auto a = start_node(h.pool.port(), "a", 2);
  auto b = start_node(h.pool.port(), "b");
  CHECK(h.pool.map(h.folder.errands(5'000), run_errand).get().size() == 5'000);
  auto made = h.folder.made();
  CHECK(made.size() == 5'000);
  CHECK(made_twice(made).empty());
  CHECK(h.pool.stats().succeeded == 5'000);
}

TEST_CASE("what travels to a node behind a slow one is given back, and made "
          "elsewhere",
          "[node_room]") {
  errand_hall h;
  auto a = start_node(h.pool.port(), "a");
  auto b = start_node(h.pool.port(), "b");
  eventually([&] { return h.pool.nodes().nodes.size() == 2; });
  auto op =
      h.pool.map(h.folder.errands(5'000, 3'000, "hold"), run_errand).start();
  h.folder.await_arrival();
  eventually([&] { return h.folder.made().size() == 5'000; });
  h.folder.open();
  CHECK(op.get().size() == 5'000);
  CHECK(made_twice(h.folder.made()).empty());
}

// -- failures -----------------------------------------------------------------

TEST_CASE("a crash on a node costs the request that ran, and those that travel "
          "with it are made once",
          "[node_room]") {
  errand_hall h;
  auto a = start_node(h.pool.port(), "a", 2);
  auto pids =
      h.pool.map(h.folder.errands(3'000, 1'500, "kill once"), run_errand)
          .retry({.attempts = 2, .backoff = 0ms})
          .get();
  CHECK(pids.size() == 3'000);
  auto made = h.folder.made();
  CHECK(made.size() == 3'000);
  CHECK(made_twice(made) == std::vector{1'500});
  CHECK(made[1'500] == 2);
  CHECK(h.pool.nodes().lost == 0);
}

TEST_CASE("a crash on a node fails the map, and nothing is made twice",
          "[node_room]") {
  errand_hall h;
  auto a = start_node(h.pool.port(), "a");
  auto lost = failure_of(
      h.pool.map(h.folder.errands(3'000, 1'500, "kill"), run_errand));
  CHECK(lost.code == ec::worker_lost);
  CHECK_THAT(lost.text, Catch::Contains("'run_errand' was lost")
                            && Catch::Contains("on node 'a'"));
  auto made = h.folder.made();
  CHECK(made_twice(made).empty());
  CHECK(made.contains(1'500));
}

TEST_CASE("an idempotent one that is lost on a node runs once more, the others "
          "do not",
          "[node_room]") {
  errand_hall h;
  auto a = start_node(h.pool.port(), "a", 2);
  auto pids =
      h.pool.map(h.folder.errands(3'000, 1'500, "kill once"), run_errand_again)
          .get();
  CHECK(pids.size() == 3'000);
  auto made = h.folder.made();
  CHECK(made.size() == 3'000);
  CHECK(made_twice(made) == std::vector{1'500});
}

TEST_CASE("behind one that throws on a node, nothing is made that travels with "
          "it",
          "[node_room]") {
  errand_hall h;
  auto a = start_node(h.pool.port(), "a");
  auto why = failure_of(
      h.pool.map(h.folder.errands(3'000, 1'500, "throw"), run_errand));
  CHECK(why.code == ec::request_failed);
  CHECK_THAT(why.text, Catch::Contains("std::out_of_range: 1500"));
  CHECK(h.folder.made().size() == 1'501);
}

TEST_CASE("a result that is too large fails alone among those that travel to "
          "a node",
          "[node_room]") {
  errand_hall h{{.max_message = 1000}};
  auto a = start_node(h.pool.port(), "a");
  std::vector<std::uint64_t> sizes(1'000, 10);
  sizes[500] = 2'000;
  auto large = failure_of(h.pool.map(sizes, test::letters));
  CHECK(large.code == ec::too_large);
  // Those behind it may have been made by then.
  CHECK(h.pool.stats().succeeded >= 500);
  CHECK(h.pool.nodes().lost == 0);
}

// -- nodes that are lost ------------------------------------------------------

TEST_CASE("a node that is killed while it makes many calls fails the map, and "
          "nothing is made twice",
          "[node_room]") {
  errand_hall h;
  auto a = start_node(h.pool.port(), "a");
  auto op =
      h.pool.map(h.folder.errands(3'000, 1'500, "hold"), run_errand).start();
  end_of_process worker{h.folder.await_arrival()};
  a.signal(SIGKILL);
  auto lost = failure_of(std::move(op));
  CHECK(lost.code == ec::node_lost);
  worker.wait();
  auto b = start_node(h.pool.port(), "b");
  CHECK(h.pool.call(test::add, 1, 1).get() == 2);
  auto made = h.folder.made();
  CHECK(made_twice(made).empty());
  CHECK(made.size() == 1'501);
}

TEST_CASE("many calls that may run twice go on elsewhere when their node is "
          "killed",
          "[node_room]") {
  errand_hall h;
  auto a = start_node(h.pool.port(), "a");
  auto op = h.pool.map(h.folder.errands(3'000, 1'500, "hold"), run_errand_again)
                .start();
  auto before = h.folder.await_arrival();
  end_of_process worker{before};
  a.signal(SIGKILL);
  worker.wait();
  auto b = start_node(h.pool.port(), "b");
  auto after = h.folder.await_arrival();
  h.folder.open();
  auto pids = op.get();
  CHECK(pids.size() == 3'000);
  CHECK(pids[1'500] == after);
  CHECK(pids[0] == before);
  auto made = h.folder.made();
  CHECK(made.size() == 3'000);
  for (auto [number, times] : made) {
    CAPTURE(number);
    CHECK(times <= 2);
  }
}

TEST_CASE("a cancel ends the one that runs on a node, and what travels with it "
          "is never made",
          "[node_room]") {
  errand_hall h;
  auto a = start_node(h.pool.port(), "a");
  std::stop_source source;
  auto op = h.pool.map(h.folder.errands(3'000, 1'500, "hold"), run_errand)
                .stop_with(source.get_token())
                .start();
  end_of_process worker{h.folder.await_arrival()};
  source.request_stop();
  CHECK(failure_of(std::move(op)).code == ec::cancelled);
  worker.wait();
  CHECK(h.folder.made().size() == 1'501);
  CHECK(h.pool.call(test::add, 1, 1).get() == 2);
}
