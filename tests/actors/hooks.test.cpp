// What runs when a worker begins and ends, and what its thread is given: hooks
// on its own thread, around its resource, and a stack of the size asked for.

#include "actor_ways.hpp"
#include "captured_log.hpp"
#include "gate.hpp"
#include "manual_clock.hpp"

#include <catch2/catch.hpp>

#include <pthread.h>

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::failure_code;
using test::hear;
using test::thrown_text;
using test::way;
using troupe::ec;
using troupe::pool_options;

namespace {

/// What happened to each worker, in order.
class diary {
public:
  void write(int worker, const std::string& what) {
    std::lock_guard guard{mutex_};
    auto& [thread, lines] = entries_[worker];
    if (lines.empty())
      thread = std::this_thread::get_id();
    strangers_ += thread != std::this_thread::get_id();
    lines.push_back(what);
  }

  std::vector<std::string> of(int worker) {
    std::lock_guard guard{mutex_};
    return entries_[worker].second;
  }

  std::size_t workers() {
    std::lock_guard guard{mutex_};
    return entries_.size();
  }

  int strangers() {
    std::lock_guard guard{mutex_};
    return strangers_;
  }

private:
  std::mutex mutex_;
  std::map<int, std::pair<std::thread::id, std::vector<std::string>>> entries_;
  int strangers_ = 0;
};

std::size_t own_stack() {
  pthread_attr_t attributes;
  pthread_getattr_np(pthread_self(), &attributes);
  std::size_t result = 0;
  pthread_attr_getstacksize(&attributes, &result);
  pthread_attr_destroy(&attributes);
  return result;
}

} // namespace

TEST_CASE("the hooks run on each worker's own thread, before its first request "
          "and after its last",
          "[hooks]") {
  diary seen;
  {
    test::actor_world world;
    pool_options options{.workers = 2, .min_workers = 2};
    options.on_worker_start = [&](int worker) { seen.write(worker, "start"); };
    options.on_worker_stop = [&](int worker) { seen.write(worker, "stop"); };
    troupe::pool pool{world.sys, options};
    test::gate door;
    auto both = pool.map(std::vector<int>(2, 0),
                         [&](troupe::context& ctx, int) {
                           seen.write(ctx.worker(), "request");
                           door.pass();
                         })
                    .start();
    door.wait_for_arrivals(2);
    door.open();
    both.get();
  }
  CHECK(seen.workers() == 2);
  CHECK(seen.of(1) == std::vector<std::string>{"start", "request", "stop"});
  CHECK(seen.of(2) == std::vector<std::string>{"start", "request", "stop"});
  CHECK(seen.strangers() == 0);
}

TEST_CASE("a worker whose start hook throws takes no request, and the caller "
          "is told why",
          "[hooks]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::manual_time time;
  test::captured_log log;
  std::atomic<int> starts{0};
  std::atomic<int> stops{0};
  {
    test::actor_world world;
    pool_options options{.name = "db", .workers = 1};
    options.clock = time.clock;
    options.on_worker_start = [&](int) {
      if (++starts <= 2)
        throw std::runtime_error{"no licence"};
    };
    options.on_worker_stop = [&](int) { ++stops; };
    troupe::pool pool{world.sys, options};
    auto ran = std::make_shared<test::tally>();
    auto call = [&](caf::event_based_actor*) {
      return pool.run([ran] { ran->add(); });
    };
    auto first = hear(how, world.sys, call);
    CHECK(first.code() == ec::resource_unavailable);
    CHECK(ran->value() == 0);
    log.await(1);
    auto line = log.entries().at(0);
    CHECK(line.level == troupe::log_level::error);
    CHECK(line.pool == "db");
    CHECK(line.text
          == "worker db-1 takes no request: on_worker_start threw "
             "std::runtime_error: no licence");
    // Nobody tries again so soon.
    CHECK(thrown_text([&] { call(nullptr).get(); })
          == "the pool 'db' has no worker: on_worker_start threw "
             "std::runtime_error: no licence");
    CHECK(starts == 1);
    CHECK(pool.stats().failed_starts == 1);
    CHECK(pool.stats().missing == 1);
    // Whoever comes after the pause has another worker tried.
    time.clock->advance(100ms);
    CHECK(failure_code([&] { call(nullptr).get(); })
          == ec::resource_unavailable);
    CHECK(starts == 2);
    time.clock->advance(199ms);
    CHECK(failure_code([&] { call(nullptr).get(); })
          == ec::resource_unavailable);
    CHECK(starts == 2);
    time.clock->advance(1ms);
    CHECK(hear(how, world.sys, call).value);
    CHECK(ran->value() == 1);
    CHECK(pool.stats().missing == 0);
  }
  CHECK(starts == 3);
  CHECK(stops == 1);
}

TEST_CASE("while other workers live, one that cannot start is only missed",
          "[hooks]") {
  test::manual_time time;
  test::captured_log log;
  test::gate door;
  test::actor_world world;
  test::open_at_exit opener{door};
  pool_options options{.workers = 2};
  options.clock = time.clock;
  std::atomic<int> starts{0};
  options.on_worker_start = [&](int) {
    if (++starts == 2)
      throw 7;
  };
  troupe::pool pool{world.sys, options};
  auto busy = pool.run([&] { door.pass(); }).start();
  door.wait_for_arrivals(1);
  auto waiting = pool.run([&] { door.pass(); }).start();
  log.await(1);
  CHECK(log.entries().at(0).text.find("on_worker_start threw int: 7")
        != std::string::npos);
  CHECK(pool.stats().workers == 1);
  CHECK(pool.stats().missing == 1);
  time.clock->advance(100ms);
  door.wait_for_arrivals(2);
  CHECK(pool.stats().missing == 0);
  door.open();
  busy.get();
  waiting.get();
}

TEST_CASE("what a stop hook throws is logged", "[hooks]") {
  test::captured_log log;
  {
    test::actor_world world;
    pool_options options{.name = "io", .workers = 1};
    options.on_worker_stop = [](int) { throw std::string{"too late"}; };
    troupe::pool pool{world.sys, options};
    pool.run([] {}).get();
  }
  REQUIRE(log.entries().size() == 1);
  CHECK(log.entries()[0].pool == "io");
  CHECK(log.entries()[0].level == troupe::log_level::error);
  CHECK(log.entries()[0].text
        == "worker io-1: on_worker_stop threw std::string: too late");
}

TEST_CASE("the stop hook runs after the resource is closed", "[hooks]") {
  diary seen;
  {
    test::actor_world world;
    pool_options options{.workers = 1};
    options.resource = troupe::make_resource<int>(
        [&] {
          seen.write(1, "open");
          return 7;
        },
        [&](int&) { seen.write(1, "close"); });
    options.on_worker_start = [&](int worker) { seen.write(worker, "start"); };
    options.on_worker_stop = [&](int worker) { seen.write(worker, "stop"); };
    troupe::pool pool{world.sys, options};
    pool.run([](troupe::context& ctx) { ++ctx.resource<int>(); }).get();
  }
  CHECK(seen.of(1)
        == std::vector<std::string>{"start", "open", "close", "stop"});
  CHECK(seen.strangers() == 0);
}

TEST_CASE("workers have the stack that was asked for, and never less than "
          "before",
          "[hooks]") {
  constexpr std::size_t large = 64 * 1024 * 1024;
  test::actor_world world;
  auto usual = troupe::pool{world.sys}.run(own_stack).get();
  troupe::pool deep{world.sys, pool_options{.stack_size = large}};
  CHECK(deep.run(own_stack).get() >= large);
  // Twice what a thread has without it.
  auto used = deep.run([] {
                    volatile char room[16 * 1024 * 1024];
                    for (std::size_t i = 0; i < sizeof(room); i += 4096)
                      room[i] = 1;
                    return room[0];
                  })
                  .get();
  CHECK(used == 1);
  troupe::pool shallow{world.sys, pool_options{.stack_size = 65'536}};
  CHECK(shallow.run(own_stack).get() >= usual);
  CHECK(failure_code([&] {
          troupe::pool{world.sys, pool_options{.stack_size = large * 1024}};
        })
        == ec::invalid_option);
}
