// That a receipt accounts for every request: each that was admitted is in
// exactly one bucket, whatever it was doing when the shutdown came.

#include "actor_ways.hpp"
#include "gate.hpp"
#include "mail.hpp"

#include <catch2/catch.hpp>

#include <random>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::failure_code;
using troupe::ec;
using troupe::pool_options;

namespace {

/// Requests of all kinds, none of which has returned: some wait at the gate,
/// the others behind them.
struct load {
  load(const troupe::pool& io, test::gate& shut, unsigned seed)
      : pool{io}, door{shut}, random{seed} {}

  unsigned dice(unsigned n) { return random() % n; }

  void add() {
    switch (dice(5)) {
    case 0:
      requests += 1;
      singles.push_back(pool.run([this] { door.pass(); }).start());
      break;
    case 1: {
      auto n = 1 + dice(200);
      requests += n;
      maps.push_back(pool.map(std::vector<int>(n, 1),
                              [this](int x) {
                                door.pass();
                                return x;
                              })
                         .start());
      break;
    }
    case 2:
      requests += 1;
      singles.push_back(pool.run([this] {
                              door.pass();
                              throw std::runtime_error{"in vain"};
                            })
                            .start());
      break;
    case 3: {
      // Its worker runs the inner ones while it waits for them.
      auto n = 1 + dice(4);
      requests += 1;
      singles.push_back(pool.run([this, n] {
                              pool.map(std::vector<int>(n, 1),
                                       [this](int) { door.pass(); })
                                  .start()
                                  .get();
                            })
                            .start());
      break;
    }
    default: {
      requests += 1;
      singles.push_back(pool.run([this] { door.pass(); })
                            .retry({.attempts = 3, .backoff = 1h})
                            .key("one", 1)
                            .start());
    }
    }
  }

  /// Waits for all of them, whatever comes of them.
  void settle() {
    for (auto& x : singles)
      failure_code([&] {
        try {
          x.get();
        } catch (const std::runtime_error& err) {
          if (dynamic_cast<const troupe::failure*>(&err) != nullptr)
            throw;
        }
      });
    for (auto& x : maps)
      failure_code([&] { x.get(); });
  }

  troupe::pool pool;
  test::gate& door;
  std::mt19937 random;
  std::uint64_t requests = 0;
  std::vector<troupe::operation<void>> singles;
  std::vector<troupe::operation<std::vector<int>>> maps;
};

} // namespace

TEST_CASE("each request of a pool is in exactly one bucket of its receipt",
          "[shutdown]") {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    test::gate door;
    test::actor_world world;
    test::open_at_exit opener{door};
    auto workers = 1 + seed % 5;
    troupe::pool pool{world.sys, pool_options{.workers = workers}};
    load all{pool, door, seed};
    auto n = 1 + all.dice(12);
    for (unsigned i = 0; i < n; ++i)
      all.add();
    auto gives_up = all.dice(2) == 0;
    auto end = pool.shutdown(gives_up ? 0ns : 1h).start();
    // One that gives up at once may have ended by now.
    CHECK((test::catch_up(world.sys, pool) || gives_up));
    CHECK(failure_code([&] { pool.run([] {}).get(); }) == ec::pool_stopped);
    if (!gives_up)
      door.open();
    auto what = end.get();
    CHECK(what.still_running.size() <= 2 * workers);
    if (!gives_up)
      CHECK(what.still_running.empty());
    auto buckets = what.drained + what.cancelled + what.still_running.size();
    // Those that running requests made meanwhile come on top.
    CHECK(buckets >= all.requests);
    door.open();
    all.settle();
    // All is over, so nothing that was promised is missing, and nothing came
    // that had not been counted.
    auto over = pool.stats();
    CHECK(over.succeeded + over.failed + over.cancelled + over.expired
              - over.not_admitted
          == buckets);
  }
}

TEST_CASE("after the drain timeout running requests can submit no more",
          "[shutdown]") {
  test::gate door;
  test::actor_world world;
  test::open_at_exit opener{door};
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto outer = pool.run([&] {
                     door.pass();
                     return failure_code([&] { pool.run([] {}).get(); });
                   })
                   .label("outer")
                   .start();
  door.wait_for_arrivals();
  auto what = pool.shutdown(0s).get();
  REQUIRE(what.still_running.size() == 1);
  CHECK(what.still_running[0].label == "outer");
  door.open();
  CHECK(outer.get() == ec::pool_stopped);
}

TEST_CASE("a shutdown calls the hooks of batches that only a waiting worker "
          "runs",
          "[shutdown]") {
  test::gate door;
  test::actor_world world;
  test::open_at_exit opener{door};
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto outer = pool.run([&] {
                     pool.run([&](troupe::context& ctx) {
                           auto hook = ctx.on_cancel([&] { door.open(); });
                           door.pass();
                         })
                         .label("inner")
                         .get();
                   })
                   .label("outer")
                   .start();
  door.wait_for_arrivals();
  // Without the hook, this would be a receipt with two requests that run, and
  // the next line a hang.
  auto what = pool.shutdown(0s).get();
  CHECK_NOTHROW(outer.get());
  CHECK(what.drained + what.still_running.size() == 2);
}

TEST_CASE("a shutdown asked for by message after the end gets the same receipt "
          "or hears of the end",
          "[shutdown]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  pool.run([] {}).get();
  auto first = pool.shutdown().get();
  CHECK(first.still_running.empty());
  auto late = test::request<troupe::receipt>(
      world.sys, pool.actor(), troupe::drain_atom_v, caf::timespan{1s});
  if (late.value) {
    CHECK(late.value->drained == first.drained);
    CHECK(late.value->cancelled == first.cancelled);
    CHECK(late.value->still_running.empty());
  } else {
    // The coordinator has gone meanwhile.
    CAPTURE(caf::to_string(late.error));
    CHECK((late.error == ec::pool_stopped
           || late.error == caf::sec::request_receiver_down));
  }
}
