// What a worker is to the system it runs on: a named thread that no signal
// interrupts, with a resource of its own, that ends when it has been idle.

#include "actor_ways.hpp"
#include "gate.hpp"
#include "manual_clock.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <csignal>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <sys/syscall.h>
#include <unistd.h>

using namespace std::chrono_literals;

using test::failure_code;
using troupe::ec;
using troupe::pool_options;

namespace {

/// Reads a file of the calling thread below /proc.
std::string read_own(const std::string& name) {
  std::ifstream file{"/proc/self/task/" + std::to_string(::syscall(SYS_gettid))
                     + "/" + name};
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string own_name() {
  auto name = read_own("comm");
  return name.substr(0, name.find('\n'));
}

bool blocks_signal(int number) {
  auto status = read_own("status");
  auto at = status.find("SigBlk:");
  auto mask = std::stoull(status.substr(at + 7), nullptr, 16);
  return (mask >> (number - 1) & 1) != 0;
}

struct connection {
  explicit connection(std::thread::id where) : opened_on{where} {}
  std::thread::id opened_on;
  int used = 0;
};

} // namespace

TEST_CASE("the threads of workers carry the names of their pools", "[worker]") {
  test::actor_world world;
  troupe::pool io{world.sys, pool_options{.name = "io", .workers = 3}};
  troupe::pool db{world.sys, pool_options{.name = "db", .workers = 1}};
  test::gate door;
  auto names = io.map(std::vector<int>(3, 0), [&](int) {
                   door.pass();
                   return own_name();
                 }).start();
  door.wait_for_arrivals(3);
  CHECK(db.run(own_name).get() == "db-1");
  door.open();
  auto all = names.get();
  CHECK(std::set(all.begin(), all.end())
        == std::set<std::string>{"io-1", "io-2", "io-3"});
}

TEST_CASE("a long pool name leaves room for the worker's number", "[worker]") {
  test::actor_world world;
  troupe::pool pool{world.sys, "a-name-beyond-all-limits"};
  CHECK(pool.run(own_name).get() == "a-name-beyond-1");
}

TEST_CASE("workers block SIGINT and SIGTERM, and no other thread is changed",
          "[worker]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto [interrupt, terminate, user] =
      pool.run([] {
            return std::tuple{blocks_signal(SIGINT), blocks_signal(SIGTERM),
                              blocks_signal(SIGUSR1)};
          })
          .get();
  CHECK(interrupt);
  CHECK(terminate);
  CHECK_FALSE(user);
  CHECK_FALSE(blocks_signal(SIGINT));
  CHECK_FALSE(blocks_signal(SIGTERM));
}

// -- resource -----------------------------------------------------------------

TEST_CASE("a resource is opened on the worker's thread, kept, and closed there",
          "[worker]") {
  struct log {
    std::atomic<int> opened{0};
    std::atomic<int> closed{0};
    std::atomic<int> strangers{0};
  };
  log seen;
  {
    test::actor_world world;
    pool_options options{.workers = 2};
    options.resource = troupe::make_resource<connection>(
        [&] {
          ++seen.opened;
          return connection{std::this_thread::get_id()};
        },
        [&](connection& x) {
          ++seen.closed;
          seen.strangers += x.opened_on != std::this_thread::get_id();
        });
    troupe::pool pool{world.sys, options};
    CHECK(pool.run([&] { return seen.opened.load(); }).get() == 1);
    test::gate door;
    auto both = pool.map(std::vector<int>(2, 0),
                         [&](troupe::context& ctx, int) {
                           auto& mine = ctx.resource<connection>();
                           seen.strangers +=
                               mine.opened_on != std::this_thread::get_id();
                           door.pass();
                           return ++mine.used;
                         })
                    .start();
    door.wait_for_arrivals(2);
    door.open();
    CHECK(both.get() == std::vector{1, 1});
    CHECK(pool.map(std::vector<int>(50, 0),
                   [&](troupe::context& ctx, int) {
                     return ++ctx.resource<connection>().used > 1;
                   })
              .get()
          == std::vector<bool>(50, true));
    CHECK(seen.opened == 2);
    CHECK(seen.closed == 0);
  }
  CHECK(seen.closed == 2);
  CHECK(seen.strangers == 0);
}

namespace {

// A server that is up or down, and a clock that stands still.
struct outage {
  // As a pool sees it from the start; no pool outlives it.
  std::atomic<bool> up{false};
  std::atomic<int> tries{0};
  std::atomic<int> open{0};
  test::manual_time time;

  pool_options options(std::size_t workers,
                       std::chrono::nanoseconds patience = 30s) {
    pool_options result{.workers = workers};
    result.clock = time.clock;
    result.resource = troupe::make_resource<connection>(
                          [this] {
                            ++tries;
                            if (!up)
                              throw std::runtime_error{"connection refused"};
                            ++open;
                            return connection{std::this_thread::get_id()};
                          },
                          [this](connection&) { --open; })
                          .backoff(1s, 1s)
                          .give_up_after(patience);
    return result;
  }

  // Nothing tells when a worker has come to rest, so this looks again and
  // again.
  static void wait_for_resting(const troupe::pool& pool, std::size_t n) {
    while (pool.stats().resource.unavailable != n)
      std::this_thread::yield();
  }
};

int use(troupe::context& ctx) {
  return ++ctx.resource<connection>().used;
}

} // namespace

TEST_CASE("a worker that cannot open its resource takes its request when it "
          "can",
          "[worker]") {
  outage down;
  test::actor_world world;
  // The clock is moved on until the worker has tried again, however long it
  // takes until the worker gets a processor.
  troupe::pool pool{world.sys, down.options(1, 8'000h)};
  auto waiting = pool.run(use).start();
  for (int i = 1; i <= 3; ++i) {
    while (down.tries < i)
      std::this_thread::yield();
    outage::wait_for_resting(pool, 1);
    CHECK(pool.stats().resource.last_open_error
          == "std::runtime_error: connection refused");
    CHECK(pool.stats().queued == 1);
    down.up = i == 3;
    // In steps shorter than any pause, so that no more than one try fits in.
    while (down.tries == i) {
      down.time.clock->advance(100ms);
      std::this_thread::yield();
    }
  }
  CHECK(waiting.get() == 1);
  CHECK(pool.run(use).get() == 2);
  CHECK(down.tries == 4);
  CHECK(pool.stats().resource.open_failures == 3);
}

TEST_CASE("a request fails, and says why, when no worker could open its "
          "resource for too long",
          "[worker]") {
  auto how = GENERATE(test::way::get, test::way::then, test::way::co_await_);
  outage down;
  test::actor_world world;
  troupe::pool pool{world.sys, down.options(2)};
  std::jthread time{[&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      down.time.clock->advance(1s);
      std::this_thread::yield();
    }
  }};
  auto result = test::hear(
      how, world.sys, [&](caf::event_based_actor*) { return pool.run(use); });
  CHECK(result.code() == ec::resource_unavailable);
  auto text = result.thrown ? troupe::describe(result.thrown)
                            : troupe::describe(result.error);
  CHECK_THAT(text, Catch::Contains("connection refused"));
  CHECK(pool.stats().resource.opens == 0);
}

TEST_CASE("a pool whose workers cannot open their resources ends all the same",
          "[worker]") {
  outage down;
  auto how = GENERATE(0, 1, 2);
  test::actor_world world;
  auto options = down.options(2);
  options.min_workers = 2;
  troupe::pool pool{world.sys, options};
  auto waiting = pool.run(use).start();
  outage::wait_for_resting(pool, 2);
  // Failure here is a hang: time stands still.
  if (how == 0) {
    auto end = pool.shutdown(0s).start();
    down.time.clock->advance(0s);
    CHECK(end.get().cancelled == 1);
  } else if (how == 1) {
    caf::anon_send_exit(pool.actor(), caf::exit_reason::kill);
  } else {
    down.up = true;
    while (down.open == 0) {
      down.time.clock->advance(1s);
      std::this_thread::yield();
    }
  }
  if (how == 2)
    CHECK(waiting.get() == 1);
  else
    CHECK(failure_code([&] { waiting.get(); }) == ec::pool_stopped);
}

TEST_CASE("opens equal closes when a pool has ended", "[worker]") {
  outage flaky;
  flaky.up = true;
  {
    test::actor_world world;
    auto options = flaky.options(4);
    options.resource->rules.recycle_after = 7;
    troupe::pool pool{world.sys, options};
    pool.map(std::vector<int>(500, 0),
             [&](troupe::context& ctx, int i) {
               if (use(ctx) == 5 && ctx.worker() % 2 == 0)
                 ctx.discard_resource();
               return i;
             })
        .get();
    CHECK(pool.stats().resource.opens > 70);
  }
  CHECK(flaky.tries > 70);
  CHECK(flaky.open == 0);
}

TEST_CASE("a resource that the pool does not have is unavailable", "[worker]") {
  test::actor_world world;
  troupe::pool none{world.sys};
  auto use = [](troupe::context& ctx) {
    return ++ctx.resource<connection>().used;
  };
  CHECK(failure_code([&] { none.run(use).get(); }) == ec::resource_unavailable);
  pool_options options;
  options.resource = troupe::make_resource<int>([] { return 1; });
  troupe::pool other{world.sys, options};
  CHECK(failure_code([&] { other.run(use).get(); })
        == ec::resource_unavailable);
}

// -- idle ---------------------------------------------------------------------

TEST_CASE("workers end when they have been idle for the idle timeout",
          "[worker]") {
  test::actor_world world;
  auto clock = std::make_shared<test::manual_clock>();
  pool_options options{.workers = 4, .idle_timeout = 10s};
  options.clock = clock;
  troupe::pool pool{world.sys, options};
  test::gate door;
  auto all =
      pool.map(std::vector<int>(4, 0), [&](int) { door.pass(); }).start();
  door.wait_for_arrivals(4);
  door.open();
  all.get();
  CHECK(pool.stats().workers == 4);
  // Each worker becomes idle at a time of its own, so time goes on until all
  // are gone and only the coordinator is left. Failure here is a hang.
  while (world.sys.registry().running() > 1) {
    clock->advance(10s);
    std::this_thread::yield();
  }
  CHECK(pool.stats().workers == 0);
  CHECK(pool.run([] { return 1; }).get() == 1);
  CHECK(pool.stats().workers == 1);
}

TEST_CASE("workers stay before the idle timeout, and the minimum for ever",
          "[worker]") {
  test::actor_world world;
  auto clock = std::make_shared<test::manual_clock>();
  pool_options options{.workers = 3, .min_workers = 2, .idle_timeout = 10s};
  options.clock = clock;
  troupe::pool pool{world.sys, options};
  test::gate door;
  auto all =
      pool.map(std::vector<int>(3, 0), [&](int) { door.pass(); }).start();
  door.wait_for_arrivals(3);
  door.open();
  all.get();
  caf::scoped_actor self{world.sys};
  // Answered by the coordinator behind whatever a timer has told it.
  auto workers = [&] {
    std::size_t result = 0;
    troupe::compat::ask(self, pool.actor(), troupe::compat::forever,
                        troupe::stats_atom_v)
        .receive([&](const troupe::pool_stats& x) { result = x.workers; },
                 [](const caf::error&) { FAIL("no statistics"); });
    return result;
  };
  clock->advance(9s);
  CHECK(workers() == 3);
  while (workers() > 2)
    clock->advance(10s);
  for (int i = 0; i < 10; ++i) {
    clock->advance(1h);
    REQUIRE(workers() == 2);
  }
}
