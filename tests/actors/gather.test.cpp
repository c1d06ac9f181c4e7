// What `gather` promises: results in input order whatever is mixed, the first
// failure by arrival, and what becomes of the rest.

#include "actor_ways.hpp"
#include "gate.hpp"
#include "manual_clock.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;

using test::hear;
using test::way;
using troupe::ec;
using troupe::pool_options;

namespace {

troupe::task<std::string> twice(caf::event_based_actor*, troupe::pool pool,
                                std::string text) {
  // Named, since GCC 12 destroys closures inside a co_await twice.
  auto echo = pool.run([text] { return text; });
  auto half = co_await std::move(echo);
  co_return half + half;
}

troupe::task<int> never_ends(caf::event_based_actor* self,
                             test::counted frame) {
  static_cast<void>(frame);
  co_await troupe::sleep_for(self, 24h);
  co_return 1;
}

/// Waits in a request until it is asked to stop.
void wait_for_stop(troupe::context& ctx) {
  test::gate stopped;
  auto hook = ctx.on_cancel([&] { stopped.touch(); });
  stopped.wait_for_arrivals();
}

} // namespace

// -- results ------------------------------------------------------------------

TEST_CASE("gather of a vector keeps the order of requests, not of replies",
          "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 3}};
  test::gate first;
  test::gate second;
  auto result = hear(how, world.sys, [&](auto*) {
    std::vector<troupe::operation<int>> ops;
    ops.push_back(pool.run([&] {
      first.pass();
      return 0;
    }));
    ops.push_back(pool.run([&] {
      second.pass();
      first.open();
      return 1;
    }));
    ops.push_back(pool.run([&] {
      second.open();
      return 2;
    }));
    return troupe::gather(std::move(ops));
  });
  CHECK(result.value == std::vector{0, 1, 2});
}

TEST_CASE("gather of different operations yields a tuple in which a void one "
          "is a monostate",
          "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    return troupe::gather(
        pool.run([] { return 1; }), pool.run([] {}),
        pool.map(std::vector{1, 2, 3}, [](int x) { return x * x; }),
        pool.run([] { return std::make_unique<std::string>("own"); }));
  });
  REQUIRE(result.value.has_value());
  auto& [number, nothing, squares, text] = *result.value;
  CHECK(number == 1);
  CHECK(nothing == std::monostate{});
  CHECK(squares == std::vector{1, 4, 9});
  CHECK(*text == "own");
}

TEST_CASE("gathers nest", "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    std::vector<troupe::operation<std::tuple<int, int>>> pairs;
    for (int i = 0; i < 10; ++i)
      pairs.push_back(troupe::gather(pool.run([i] { return i; }),
                                     pool.run([i] { return -i; })));
    return troupe::gather(troupe::gather(std::move(pairs)),
                          pool.run([] { return 'c'; }));
  });
  REQUIRE(result.value.has_value());
  auto& [pairs, letter] = *result.value;
  CHECK(letter == 'c');
  REQUIRE(pairs.size() == 10);
  for (int i = 0; i < 10; ++i)
    CHECK(pairs[static_cast<std::size_t>(i)] == std::tuple{i, -i});
}

TEST_CASE("gather mixes pools, tasks, waits and delays", "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool one{world.sys, "one"};
  troupe::pool two{world.sys, "two"};
  troupe::event done{world.sys};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::gather(twice(self, one, "ab"), two.run([&] {
      done.set();
      return 2;
    }),
                          done.wait(), troupe::sleep_for(self, 1ms),
                          one.run([] { return 1.5; }));
  });
  REQUIRE(result.value.has_value());
  CHECK(std::get<0>(*result.value) == "abab");
  CHECK(std::get<1>(*result.value) == 2);
  CHECK(std::get<4>(*result.value) == 1.5);
}

TEST_CASE("gather of a vector of void operations yields nothing when all are "
          "done",
          "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto ran = std::make_shared<test::tally>();
  auto result = hear(how, world.sys, [&](auto*) {
    std::vector<troupe::operation<void>> ops;
    for (int i = 0; i < 100; ++i)
      ops.push_back(pool.run([ran] { ran->add(); }));
    auto all = troupe::gather(std::move(ops));
    static_assert(std::is_same_v<decltype(all), troupe::operation<void>>);
    return all;
  });
  CHECK(result.value.has_value());
  CHECK(ran->value() == 100);
}

TEST_CASE("gather of a vector of tasks runs them side by side", "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    std::vector<troupe::task<std::string>> tasks;
    for (auto text : {"a", "b", "c"})
      tasks.push_back(twice(self, pool, text));
    return troupe::gather(std::move(tasks));
  });
  CHECK(result.value == std::vector<std::string>{"aa", "bb", "cc"});
}

TEST_CASE("gather of nothing replies at once with nothing", "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  auto values = hear(how, world.sys, [](auto*) {
    return troupe::gather(std::vector<troupe::operation<int>>{});
  });
  CHECK(values.value == std::vector<int>{});
  auto nothing = hear(how, world.sys, [](auto*) {
    return troupe::gather(std::vector<troupe::operation<void>>{});
  });
  CHECK(nothing.value.has_value());
}

TEST_CASE("gather takes operations that have started", "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto early = pool.run([] { return 1; }).start();
  auto late = pool.run([] { return 2; });
  CHECK(troupe::gather(std::move(early), std::move(late)).get()
        == std::tuple{1, 2});
}

TEST_CASE("gather gives its label to its parts", "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto label = [](troupe::context& ctx) { return std::string{ctx.label()}; };
  auto early = pool.run(label).label("its own").start();
  auto parts =
      troupe::gather(pool.run(label), pool.run(label), std::move(early))
          .label("all");
  CHECK(parts.get() == std::tuple{"all", "all", "its own"});
}

TEST_CASE("calls of several pools are gathered as they are", "[gather]") {
  test::actor_world world;
  troupe::pool one{world.sys, pool_options{.name = "one", .workers = 1}};
  troupe::pool two{world.sys, pool_options{.name = "two", .workers = 1}};
  std::vector<troupe::operation<std::string>> ops;
  auto name = [](troupe::context& ctx) { return ctx.cell().home().name(); };
  for (int i = 0; i < 3; ++i) {
    ops.push_back(one.run(name));
    ops.push_back(two.run(name));
  }
  // Not a call any more.
  ops.push_back(one.run(name).label("named"));
  CHECK(troupe::gather(std::move(ops)).get()
        == std::vector<std::string>{"one", "two", "one", "two", "one", "two",
                                    "one"});
}

TEST_CASE("a gather of calls has each of them tried again", "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  std::vector<std::atomic<int>> attempts(10);
  std::vector<troupe::operation<int>> ops;
  for (int i = 0; i < 10; ++i)
    ops.push_back(pool.run([&attempts, i] {
      auto n = ++attempts[static_cast<std::size_t>(i)];
      if (n <= i % 3)
        throw std::runtime_error{"not yet"};
      return n;
    }));
  auto results = troupe::gather(std::move(ops))
                     .label("again")
                     .retry({.attempts = 3, .backoff = 1ms})
                     .get();
  CHECK(results == std::vector<int>{1, 2, 3, 1, 2, 3, 1, 2, 3, 1});
}

TEST_CASE("a gather of calls gives its label and its tags to each",
          "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto tell = [](troupe::context& ctx) {
    return std::string{ctx.label()} + " for " + std::string{ctx.tag("user")};
  };
  std::vector<troupe::operation<std::string>> ops;
  for (int i = 0; i < 3; ++i)
    ops.push_back(pool.run(tell));
  CHECK(troupe::gather(std::move(ops)).label("copy").tag("user", "ann").get()
        == std::vector<std::string>(3, "copy for ann"));
  std::vector<troupe::operation<std::string>> plain;
  for (int i = 0; i < 3; ++i)
    plain.push_back(pool.run(tell));
  CHECK(troupe::gather(std::move(plain)).label("copy").get()
        == std::vector<std::string>(3, "copy for "));
}

TEST_CASE("no more calls of a gather run at once than it allows", "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 4, .min_workers = 4}};
  test::gate door;
  test::open_at_exit opener{door};
  std::atomic<int> begun{0};
  std::vector<troupe::operation<int>> ops;
  for (int i = 0; i < 20; ++i)
    ops.push_back(pool.run([&] {
      auto before = begun++;
      door.pass();
      return before;
    }));
  auto all = troupe::gather(std::move(ops)).max_in_flight(2).start();
  door.wait_for_arrivals(2);
  // Whoever could take a third one takes this one instead.
  pool.run([] {}).get();
  CHECK(begun == 2);
  door.open();
  CHECK(all.get().size() == 20);
}

TEST_CASE("a gather of one call is as good as the call", "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::vector<troupe::operation<int>> ops;
  ops.push_back(pool.run([] { return 7; }));
  CHECK(troupe::gather(std::move(ops)).get() == std::vector<int>{7});
  ops.clear();
  ops.push_back(pool.run([]() -> int { throw std::out_of_range{"far"}; }));
  CHECK_THROWS_AS(troupe::gather(std::move(ops)).get(), std::out_of_range);
}

TEST_CASE("a gather with a consumed operation refuses, and keeps nothing",
          "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::atomic<int> alive{0};
  {
    std::vector<troupe::operation<void>> ops;
    for (int i = 0; i < 3; ++i)
      ops.push_back(pool.run([x = test::counted{alive}] {}));
    ops.back().get();
    CHECK(test::failure_code(
              [&] { static_cast<void>(troupe::gather(std::move(ops))); })
          == ec::already_consumed);
  }
  CHECK(alive == 0);
}

TEST_CASE("a gather of calls hears its deadline from the clock of the pool",
          "[gather]") {
  test::actor_world world;
  test::manual_time time;
  auto clock = time.clock;
  troupe::pool pool{world.sys, pool_options{.workers = 1, .clock = clock}};
  test::gate door;
  test::open_at_exit opener{door};
  std::atomic<bool> ran{false};
  std::vector<troupe::operation<void>> ops;
  ops.push_back(pool.run([&] { door.pass(); }));
  ops.push_back(pool.run([&] { ran = true; }));
  auto all = troupe::gather(std::move(ops)).timeout(1s).start();
  door.wait_for_arrivals();
  clock->advance(1s);
  CHECK(test::failure_code([&] { all.get(); }) == ec::deadline_exceeded);
  door.open();
  pool.shutdown().get();
  CHECK_FALSE(ran);
}

TEST_CASE("gather sets its event when all are done", "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  troupe::event done{world.sys};
  test::gate door;
  test::open_at_exit opener{door};
  auto op = troupe::gather(pool.run([] { return 1; }), pool.run([&] {
              door.pass();
              return 2;
            }))
                .notify(done)
                .start();
  door.wait_for_arrivals();
  CHECK_FALSE(done.is_set());
  door.open();
  done.wait().get();
  CHECK(op.get() == std::tuple{1, 2});
}

// -- failures -----------------------------------------------------------------

TEST_CASE("gather fails with the first failure by arrival", "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool one{world.sys, "one"};
  troupe::pool two{world.sys, "two"};
  test::gate door;
  test::gate second;
  auto result = hear(how, world.sys, [&](auto*) {
    return troupe::gather(one.run([&](troupe::context& ctx) {
      second.touch();
      wait_for_stop(ctx);
      throw std::runtime_error{"late"};
    }),
                          two.run([&]() -> int {
                            second.wait_for_arrivals();
                            throw std::out_of_range{"early"};
                          }));
  });
  CHECK(troupe::describe(result.exception()) == "std::out_of_range: early");
}

TEST_CASE("the first failure of a gather drops the unclaimed rest",
          "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto ran = std::make_shared<test::tally>();
  auto result = hear(how, world.sys, [&](auto*) {
    std::vector<troupe::operation<void>> ops;
    ops.push_back(pool.run([] { throw std::runtime_error{"first"}; }));
    for (int i = 0; i < 100; ++i)
      ops.push_back(pool.run([ran] { ran->add(); }));
    return troupe::gather(std::move(ops));
  });
  CHECK(troupe::describe(result.exception()) == "std::runtime_error: first");
  CHECK(ran->value() == 0);
}

TEST_CASE("a gather that fails delivers after its running requests have "
          "returned",
          "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate running;
  running.open();
  test::gate failed;
  std::atomic<bool> returned{false};
  auto result = hear(how, world.sys, [&](auto*) {
    // Two batches, since the pool's other worker must have begun its request.
    return troupe::gather(pool.run([&](troupe::context& ctx) {
                                running.touch();
                                wait_for_stop(ctx);
                                returned = true;
                              })
                              .stop_with(std::stop_source{}.get_token()),
                          pool.map(std::vector{1}, [&](int) {
                            running.wait_for_arrivals();
                            throw std::runtime_error{"now"};
                          }));
  });
  CHECK(returned);
  CHECK(troupe::describe(result.exception()) == "std::runtime_error: now");
}

TEST_CASE("the first failure of a gather asks running requests of the same "
          "pool to stop",
          "[gather]") {
  // Single requests of one pool travel as one batch. Once, each of them had a
  // stop token of its own that nobody stopped. Failure here is a hang.
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate running;
  auto op = troupe::gather(pool.run([&](troupe::context& ctx) {
    running.touch();
    wait_for_stop(ctx);
  }),
                           pool.run([&] {
                             running.wait_for_arrivals();
                             throw std::runtime_error{"now"};
                           }));
  CHECK(test::thrown_text([&] { op.get(); }) == "now");
}

TEST_CASE("the first failure of a gather ends tasks, waits and delays at once",
          "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  troupe::event never{world.sys};
  std::atomic<int> frames{0};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::gather(
        troupe::sleep_for(self, 24h), never.wait(),
        never_ends(self, test::counted{frames}),
        troupe::gather(troupe::sleep_for(self, 24h), never.wait()),
        pool.run([] { throw std::runtime_error{"now"}; }));
  });
  CHECK(troupe::describe(result.exception()) == "std::runtime_error: now");
  CHECK(frames == 0);
}

TEST_CASE("a part behind a failure that is known already never runs",
          "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool one{world.sys, "one"};
  troupe::pool two{world.sys, "two"};
  std::stop_source stop;
  stop.request_stop();
  std::atomic<int> frames{0};
  auto ran = std::make_shared<test::tally>();
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::gather(
        one.run([] {}).stop_with(stop.get_token()),
        two.map(std::vector{1}, [ran](int) { ran->add(); }),
        never_ends(self, test::counted{frames}),
        troupe::gather(never_ends(self, test::counted{frames}),
                       troupe::sleep_for(self, 24h)));
  });
  CHECK(result.code() == ec::cancelled);
  two.shutdown().get();
  CHECK(ran->value() == 0);
  CHECK(frames == 0);
}

TEST_CASE("a failure may come while the gather is still beginning",
          "[gather]") {
  // A worker failed while the actor was half-way into starting the next part:
  // the delay had no timer yet, the inner gather no parts. Failure here is a
  // crash.
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  troupe::event never{world.sys};
  auto body = [&](caf::event_based_actor* self) -> troupe::task<int> {
    auto failures = 0;
    for (int i = 0; i < 500; ++i) {
      std::vector<troupe::operation<void>> inner;
      for (int k = 0; k < 5; ++k) {
        inner.push_back(troupe::sleep_for(self, 24h));
        inner.push_back(never.wait());
      }
      try {
        co_await troupe::gather(pool.run([] { throw std::string{"now"}; }),
                                troupe::gather(std::move(inner)),
                                troupe::sleep_for(self, 24h));
      } catch (const std::string&) {
        ++failures;
      }
    }
    co_return failures;
  };
  CHECK(troupe::run(world.sys, body) == 500);
}

TEST_CASE("stop_with cancels all parts of a gather", "[gather]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  troupe::event never{world.sys};
  std::stop_source stop;
  test::gate running;
  auto ran = std::make_shared<test::tally>();
  std::thread stopper{[&] {
    running.wait_for_arrivals(2);
    stop.request_stop();
  }};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    auto busy = [&](troupe::context& ctx) {
      running.touch();
      wait_for_stop(ctx);
    };
    return troupe::gather(pool.run(busy), pool.run(busy),
                          pool.run([ran] { ran->add(); }), never.wait(),
                          troupe::sleep_for(self, 24h))
        .stop_with(stop.get_token());
  });
  stopper.join();
  CHECK(result.code() == ec::cancelled);
  CHECK(ran->value() == 0);
}

TEST_CASE("a gather that is never consumed runs nothing and keeps nothing",
          "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::atomic<int> alive{0};
  auto ran = std::make_shared<test::tally>();
  auto body = [&](caf::event_based_actor* self) -> troupe::task<void> {
    {
      auto op = troupe::gather(
          never_ends(self, test::counted{alive}),
          pool.run([ran, mark = test::counted{alive}] { ran->add(); }));
      CHECK(alive == 2);
    }
    CHECK(alive == 0);
    co_return;
  };
  troupe::run(world.sys, body);
  pool.shutdown().get();
  CHECK(ran->value() == 0);
}

TEST_CASE("a gather runs on the pool's own only worker", "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto outer = pool.run([pool] {
    auto [a, b] =
        troupe::gather(pool.run([] { return 1; }),
                       pool.map(std::vector{2, 3}, [](int x) { return x; }))
            .get();
    return a + b[0] + b[1];
  });
  CHECK(outer.get() == 6);
}

TEST_CASE("many gathers from many threads all deliver", "[gather]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 4}};
  std::atomic<int> good{0};
  std::vector<std::jthread> callers;
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        std::vector<troupe::operation<int>> ops;
        for (int k = 0; k < 20; ++k)
          ops.push_back(pool.run([k, i] {
            if (i % 3 == 0 && k == 7)
              throw k;
            return k;
          }));
        try {
          auto all = troupe::gather(std::move(ops)).get();
          good += all.size() == 20 && all[19] == 19 && i % 3 != 0;
        } catch (int k) {
          good += k == 7 && i % 3 == 0;
        }
      }
    });
  callers.clear();
  CHECK(good == 400);
}
