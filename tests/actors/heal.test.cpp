// That a pool mends itself: workers that end are replaced and lose nothing,
// threads that the system refuses are missed and tried again, and a coordinator
// that ends leaves nobody waiting.

#include "actor_ways.hpp"
#include "captured_log.hpp"
#include "gate.hpp"
#include "programs.hpp"
#include "run_child.hpp"

#include "troupe/worker.hpp"

#include <catch2/catch.hpp>

#include <numeric>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::failure_code;
using test::hear;
using test::way;
using troupe::ec;
using troupe::pool_options;

namespace {

/// Returns the address of the worker that runs the calling request.
caf::actor_addr this_worker() {
  return static_cast<troupe::actor_cell*>(troupe::worker_cell::current())
      ->address;
}

void kill(const caf::actor_addr& who, caf::exit_reason why) {
  if (auto actor = caf::actor_cast<caf::actor>(who))
    caf::anon_send_exit(actor, why);
}

/// Blocks until `n` workers have ended unasked and the pool has as many as it
/// should. Nothing tells when, so this looks again and again; failure is a
/// hang.
void await_healed(const troupe::pool& pool, std::uint64_t n,
                  std::size_t workers) {
  for (;;) {
    auto now = pool.stats();
    if (now.workers_lost >= n && now.workers == workers)
      return;
    std::this_thread::yield();
  }
}

} // namespace

// -- workers ------------------------------------------------------------------

TEST_CASE("a worker that is killed while idle is replaced at once", "[heal]") {
  auto why = GENERATE(caf::exit_reason::kill, caf::exit_reason::user_shutdown);
  test::captured_log log;
  test::actor_world world;
  troupe::pool pool{world.sys,
                    pool_options{.name = "io", .workers = 2, .min_workers = 2}};
  auto victim = pool.run(this_worker).get();
  kill(victim, why);
  await_healed(pool, 1, 2);
  log.await(1);
  auto line = log.entries().at(0);
  CHECK(line.level == troupe::log_level::warning);
  CHECK(line.pool == "io");
  CHECK(line.text.find("has ended without being told to") != std::string::npos);
  CHECK(pool.map(std::vector<int>(100, 1), [](int x) { return x; }).get()
        == std::vector<int>(100, 1));
}

TEST_CASE("a worker that is killed in a call ends that first, and has a "
          "successor then",
          "[heal]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::captured_log log;
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  caf::actor_addr victim;
  auto result = hear(how, world.sys, [&](auto*) {
    auto running = pool.run([&] {
                         victim = this_worker();
                         door.pass();
                         return 7;
                       })
                       .start();
    door.wait_for_arrivals();
    kill(victim, caf::exit_reason::kill);
    door.open();
    return running;
  });
  CHECK(result.value == 7);
  while (pool.stats().workers_lost == 0)
    std::this_thread::yield();
  CHECK(pool.run(this_worker).get() != victim);
}

TEST_CASE("no request is lost or run twice while workers are killed all the "
          "time",
          "[heal]") {
  constexpr auto rounds = 50;
  constexpr auto calls = 200;
  test::captured_log log;
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 4, .min_workers = 2}};
  std::vector<std::atomic<int>> ran(rounds * calls);
  for (int round = 0; round < rounds; ++round) {
    std::vector<troupe::operation<int>> all;
    for (int i = 0; i < calls; ++i)
      all.push_back(pool.run(
                            [&ran](int index, bool kills) {
                              if (kills)
                                kill(this_worker(), caf::exit_reason::kill);
                              ++ran[index];
                              return index;
                            },
                            round * calls + i, i % 50 == 7)
                        .start());
    for (int i = 0; i < calls; ++i)
      REQUIRE(all[i].get() == round * calls + i);
  }
  CHECK(std::all_of(ran.begin(), ran.end(),
                    [](const auto& x) { return x == 1; }));
  auto what = pool.shutdown().get();
  CHECK(what.still_running.empty());
}

TEST_CASE("between requests a worker needs no memory that it might not get",
          "[heal]") {
  auto result = test::run_child(TROUPE_FAILING_MEMORY);
  CAPTURE(result.output);
  CHECK(result.status == 0);
  auto number = [&](const std::string& of) {
    auto at = ("\n" + result.output).find("\n" + of + " ");
    REQUIRE(at != std::string::npos);
    return std::stoi(result.output.substr(at + of.size() + 1));
  };
  CHECK(number("thrown") == 0);
  CHECK(number("wrong") == 0);
  CHECK(number("lost") == 0);
  CHECK(number("workers") == 3);
  // What workers take is seen.
  CHECK(number("inside") > 1000);
}

// -- the coordinator ----------------------------------------------------------

TEST_CASE("if the coordinator ends, every caller gets pool_stopped", "[heal]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::captured_log log;
  test::gate door;
  test::actor_world world;
  test::open_at_exit opener{door};
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  auto running = pool.run([&] {
                       door.pass();
                       return 7;
                     })
                     .start();
  door.wait_for_arrivals();
  auto half =
      pool.map(std::vector<int>(10, 1), [](int x) { return x; }).start();
  auto end = pool.shutdown(1h).start();
  auto queued = hear(how, world.sys, [&](auto*) {
    // Admitted before the shutdown has reached the coordinator, or refused.
    auto op = pool.run([] { return 8; }).start();
    kill(pool.actor().address(), caf::exit_reason::kill);
    return op;
  });
  CHECK(queued.code() == ec::pool_stopped);
  CHECK(failure_code([&] { half.get(); }) == ec::pool_stopped);
  CHECK(failure_code([&] { end.get(); }) == ec::pool_stopped);
  CHECK(failure_code([&] { pool.shutdown().get(); }) == ec::pool_stopped);
  auto fresh = hear(how, world.sys, [&](auto*) { return pool.run([] {}); });
  CHECK(fresh.code() == ec::pool_stopped);
  // What runs cannot be taken back; its caller is told what came of it.
  door.open();
  CHECK(running.get() == 7);
  // Callers hear of the end before the log does.
  log.await(1);
  CHECK(log.texts()
        == std::vector<std::string>{"its coordinator has ended; the pool takes "
                                    "no more requests"});
}

// -- threads ------------------------------------------------------------------

TEST_CASE("a pool that the system refuses threads runs with fewer, says so "
          "once, and tries again",
          "[heal]") {
  // The leak checker cannot look into a process that has changed its user.
  auto result =
      test::run_child("env ASAN_OPTIONS=detect_leaks=0 " TROUPE_THREAD_LIMIT);
  CHECK(result.output == "ok\n");
  CHECK(result.status == 0);
}
