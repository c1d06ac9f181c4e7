// What `gather_settled` promises: an outcome for each operation, whatever comes
// of the others, also when a deadline or a cancel comes in between.

#include "troupe/settled.hpp"
#include "troupe/shield.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"
#include "manual_clock.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::hear;
using test::way;
using troupe::ec;
using troupe::operation;
using troupe::outcome_state;
using troupe::pool_options;

namespace {

int odd_only(int x) {
  if (x % 2 == 0)
    throw std::out_of_range{std::to_string(x)};
  return x;
}

/// Runs `odd_only` for 0 to n - 1.
std::vector<operation<int>> some_calls(troupe::pool& pool, int n) {
  std::vector<operation<int>> ops;
  for (int i = 0; i < n; ++i)
    ops.push_back(pool.run(odd_only, i));
  return ops;
}

/// Sets a gate off and waits for a stop, or for the end of the test.
struct long_call {
  test::gate& begun;
  test::gate& door;

  int operator()(troupe::context& ctx) const {
    auto hook = ctx.on_cancel([this] { door.open(); });
    begun.touch();
    door.pass();
    if (ctx.stop_token().stop_requested())
      throw std::runtime_error{"interrupted"};
    return 1;
  }
};

} // namespace

TEST_CASE("gather_settled tells what came of each operation", "[settled]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 3}};
  auto result = hear(how, world.sys, [&](auto*) {
    return troupe::gather_settled(some_calls(pool, 200));
  });
  REQUIRE(result.value);
  auto& all = *result.value;
  REQUIRE(all.size() == 200);
  for (int i = 0; i < 200; ++i) {
    auto& it = all[static_cast<std::size_t>(i)];
    REQUIRE(it.attempts() == 1);
    REQUIRE(it.worker() >= 1);
    REQUIRE(it.worker() <= 3);
    REQUIRE(it.waited() >= 0ns);
    REQUIRE(it.ran() >= 0ns);
    if (i % 2) {
      REQUIRE(it.state() == outcome_state::done);
      REQUIRE(it.value() == i);
    } else {
      REQUIRE(it.state() == outcome_state::failed);
      REQUIRE_THROWS_AS(it.value(), std::out_of_range);
    }
  }
  auto stats = pool.stats();
  CHECK(stats.succeeded == 100);
  CHECK(stats.failed == 100);
}

TEST_CASE("gather_settled of nothing yields nothing", "[settled]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  auto result = hear(how, world.sys, [](auto*) {
    return troupe::gather_settled(std::vector<operation<int>>{});
  });
  REQUIRE(result.value);
  CHECK(result.value->empty());
}

TEST_CASE("gather_settled of different types yields a tuple of outcomes",
          "[settled]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto broken = [](caf::event_based_actor*) -> troupe::task<int> {
    throw std::logic_error{"task"};
    co_return 1;
  };
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::gather_settled(
        pool.run([] { return std::make_unique<int>(3); }).label("first"),
        broken(self), troupe::sleep_for(self, 1ns),
        pool.map(std::vector{1, 2}, odd_only));
  });
  REQUIRE(result.value);
  auto& [a, b, c, d] = *result.value;
  CHECK(*a.value() == 3);
  CHECK(a.label() == "first");
  CHECK(a.worker() >= 1);
  CHECK(troupe::describe(b.exception()) == "std::logic_error: task");
  CHECK(c);
  CHECK(c.ran() > 0ns);
  CHECK(c.worker() == 0);
  CHECK(troupe::describe(d.exception()) == "std::out_of_range: 2");
}

TEST_CASE("a settled call says how long it waited and how long it ran",
          "[settled]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto fails = GENERATE(false, true);
  auto nap = [fails] {
    std::this_thread::sleep_for(20ms);
    if (fails)
      throw std::runtime_error{"it broke"};
  };
  auto grouped = GENERATE(true, false);
  CAPTURE(fails, grouped);
  test::gate door;
  test::open_at_exit opener{door};
  auto busy = pool.run([&] { door.pass(); }).start();
  door.wait_for_arrivals();
  std::vector<operation<void>> ops;
  ops.push_back(pool.run(nap));
  ops.push_back(pool.run(nap));
  if (!grouped) {
    // What has a priority of its own is not part of a group.
    ops[0].priority(troupe::priority::high);
    ops[1].priority(troupe::priority::high);
  }
  auto gathered = troupe::gather_settled(std::move(ops)).start();
  door.open();
  auto all = gathered.get();
  CHECK(all[0].ran() >= 20ms);
  CHECK(all[1].ran() >= 20ms);
  // Both were queued before the first of them began.
  CHECK(all[0].waited() > 0ns);
  CHECK(all[1].waited() >= all[0].ran());
  for (auto& one : all) {
    CHECK(one.state() == (fails ? outcome_state::failed : outcome_state::done));
    CHECK(one.worker() == 1);
    CHECK(one.attempts() == 1);
  }
}

TEST_CASE("a cancelled gather_settled yields an outcome for each",
          "[settled]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate begun;
  begun.open();
  test::gate door;
  test::open_at_exit opener{door};
  std::stop_source stop;
  std::thread stopper{[&] {
    begun.wait_for_arrivals(2);
    stop.request_stop();
  }};
  auto result = hear(how, world.sys, [&](auto*) {
    std::vector<operation<int>> ops;
    ops.push_back(pool.run(long_call{begun, door}));
    ops.push_back(pool.run([&] {
      begun.touch();
      door.pass();
      return 2;
    }));
    for (int i = 0; i < 100; ++i)
      ops.push_back(pool.run([] { return 3; }));
    return troupe::gather_settled(std::move(ops)).stop_with(stop.get_token());
  });
  stopper.join();
  REQUIRE(result.value);
  auto& all = *result.value;
  CHECK(all[0].state() == outcome_state::stopped);
  CHECK(all[0].what().find("interrupted") != std::string::npos);
  CHECK(all[1].value() == 2);
  for (std::size_t i = 2; i < all.size(); ++i) {
    REQUIRE(all[i].state() == outcome_state::never_started);
    REQUIRE(all[i].code() == ec::cancelled);
    REQUIRE(all[i].attempts() == 0);
  }
}

TEST_CASE("a gather_settled whose token was stopped runs nothing",
          "[settled]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto ran = std::make_shared<test::tally>();
  std::stop_source stop;
  stop.request_stop();
  auto result = hear(how, world.sys, [&](auto*) {
    std::vector<operation<void>> ops;
    for (int i = 0; i < 3; ++i)
      ops.push_back(
          pool.run([ran] { ran->add(); }).stop_with(stop.get_token()));
    return troupe::gather_settled(std::move(ops));
  });
  REQUIRE(result.value);
  for (auto& it : *result.value)
    CHECK(it.state() == outcome_state::never_started);
  CHECK(ran->value() == 0);
}

TEST_CASE("a gather_settled of a stopped pool says so for each", "[settled]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  pool.shutdown().get();
  for (auto& it : troupe::gather_settled(some_calls(pool, 3)).get()) {
    CHECK(it.state() == outcome_state::never_started);
    CHECK(it.code() == ec::pool_stopped);
  }
}

// -- deadlines ----------------------------------------------------------------

TEST_CASE("at a deadline gather_settled delivers what has finished",
          "[settled]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  test::manual_time time;
  auto clock = time.clock;
  troupe::pool pool{world.sys, pool_options{.workers = 1, .clock = clock}};
  test::gate begun;
  begun.open();
  test::gate door;
  test::open_at_exit opener{door};
  std::thread mover{[&] {
    begun.wait_for_arrivals();
    clock->advance(1s);
  }};
  auto result = hear(how, world.sys, [&](auto*) {
    std::vector<operation<int>> ops;
    ops.push_back(pool.run([] { return 7; }));
    ops.push_back(pool.run(odd_only, 8));
    ops.push_back(pool.run([&] {
                        begun.touch();
                        door.pass();
                        return 9;
                      })
                      .label("slow"));
    for (int i = 0; i < 70; ++i)
      ops.push_back(pool.run([] { return 3; }));
    return troupe::gather_settled(std::move(ops)).timeout(1s);
  });
  mover.join();
  REQUIRE(result.value);
  auto& all = *result.value;
  CHECK(all[0].value() == 7);
  CHECK(all[1].state() == outcome_state::failed);
  CHECK(all[2].state() == outcome_state::still_running);
  CHECK(all[2].code() == ec::deadline_exceeded);
  CHECK(all[2].label() == "slow");
  CHECK(all[2].worker() == 1);
  CHECK(all[2].ran() > 0ns);
  for (std::size_t i = 3; i < all.size(); ++i) {
    REQUIRE(all[i].state() == outcome_state::never_started);
    REQUIRE(all[i].code() == ec::deadline_exceeded);
  }
  door.open();
  pool.shutdown().get();
  CHECK(pool.stats().succeeded + pool.stats().failed <= 3);
}

TEST_CASE("at a deadline each kind of operation says how far it came",
          "[settled]") {
  test::actor_world world;
  test::manual_time time;
  auto clock = time.clock;
  troupe::pool pool{world.sys, pool_options{.workers = 1, .clock = clock}};
  troupe::event never{world.sys};
  test::gate door;
  test::open_at_exit opener{door};
  auto op = troupe::gather_settled(
                pool.run([&] { door.pass(); }).priority(troupe::priority::high),
                never.wait(),
                pool.run([] { return 1; }).priority(troupe::priority::low))
                .timeout(1s)
                .start();
  door.wait_for_arrivals();
  clock->advance(1s);
  auto [a, b, c] = op.get();
  CHECK(a.state() == outcome_state::still_running);
  CHECK(b.code() == ec::deadline_exceeded);
  CHECK(c.state() == outcome_state::never_started);
}

TEST_CASE("a deadline in the past yields outcomes of calls that never ran",
          "[settled]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    return troupe::gather_settled(some_calls(pool, 5))
        .deadline(std::chrono::steady_clock::now() - 1s);
  });
  REQUIRE(result.value);
  for (auto& it : *result.value) {
    CHECK(it.state() == outcome_state::never_started);
    CHECK(it.code() == ec::deadline_exceeded);
  }
  CHECK(pool.stats().batches == 0);
}

TEST_CASE("labelled calls at a deadline say how far each came", "[settled]") {
  test::actor_world world;
  test::manual_time time;
  auto clock = time.clock;
  troupe::pool pool{world.sys, pool_options{.workers = 1, .clock = clock}};
  test::gate door;
  test::open_at_exit opener{door};
  std::vector<operation<void>> ops;
  ops.push_back(pool.run([&] { door.pass(); }));
  for (int i = 0; i < 3; ++i)
    ops.push_back(pool.run([] {}));
  auto all =
      troupe::gather_settled(std::move(ops)).label("copy").timeout(1s).start();
  door.wait_for_arrivals();
  clock->advance(1s);
  auto outcomes = all.get();
  REQUIRE(outcomes.size() == 4);
  CHECK(outcomes[0].state() == outcome_state::still_running);
  CHECK(outcomes[0].worker() == 1);
  CHECK(outcomes[0].attempts() == 1);
  for (auto& each : outcomes) {
    CHECK(each.label() == "copy");
    CHECK(each.code() == ec::deadline_exceeded);
  }
  for (std::size_t i = 1; i < 4; ++i) {
    CHECK(outcomes[i].state() == outcome_state::never_started);
    CHECK(outcomes[i].attempts() == 0);
  }
  door.open();
  pool.shutdown().get();
}

TEST_CASE("settled calls take what is set for each of them", "[settled]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  std::vector<std::atomic<int>> attempts(6);
  std::vector<operation<int>> ops;
  for (int i = 0; i < 6; ++i)
    ops.push_back(pool.run([&attempts, i] {
      auto n = ++attempts[static_cast<std::size_t>(i)];
      if (n <= i % 3)
        throw std::runtime_error{"not yet"};
      return n;
    }));
  auto outcomes = troupe::gather_settled(std::move(ops))
                      .priority(troupe::priority::low)
                      .retry({.attempts = 2, .backoff = 1ms})
                      .key("disk", 1)
                      .get();
  REQUIRE(outcomes.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(outcomes[i].attempts() == (i % 3 == 0 ? 1 : 2));
    CHECK(outcomes[i].state()
          == (i % 3 == 2 ? outcome_state::failed : outcome_state::done));
  }
}

TEST_CASE("a value that cannot be assigned is settled, too", "[settled]") {
  struct fixed {
    const int number;
  };
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::vector<operation<fixed>> ops;
  for (int i = 0; i < 3; ++i)
    ops.push_back(pool.run([i] { return fixed{i}; }));
  auto outcomes = troupe::gather_settled(std::move(ops)).get();
  REQUIRE(outcomes.size() == 3);
  CHECK(outcomes[2].value().number == 2);
}

TEST_CASE("a value whose move may throw is settled, too", "[settled]") {
  struct fragile {
    explicit fragile(int x) : number{x} {}
    // NOLINTNEXTLINE(performance-noexcept-move-constructor)
    fragile(fragile&& other) : number{other.number} {
      if (number == 2)
        throw std::runtime_error{"it broke"};
    }
    int number;
  };
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::vector<operation<fragile>> ops;
  for (int i = 0; i < 3; ++i)
    ops.push_back(pool.run([i] { return fragile{i}; }));
  auto outcomes = troupe::gather_settled(std::move(ops)).get();
  CHECK(outcomes[1].value().number == 1);
  CHECK(outcomes[2].state() == outcome_state::failed);
  CHECK_THROWS_WITH(outcomes[2].value(), "it broke");
}

TEST_CASE("outcomes at a deadline are whole, and count what ran", "[settled]") {
  // A member that finished while the outcomes were collected must be in them
  // whole or not at all, and one that is said never to have started must not.
  test::actor_world world;
  for (int round = 0; round < 60; ++round) {
    test::manual_time time;
    auto clock = time.clock;
    troupe::pool pool{world.sys, pool_options{.workers = 3, .clock = clock}};
    auto ran = std::make_shared<std::vector<std::atomic<int>>>(400);
    std::vector<operation<std::string>> ops;
    for (std::size_t i = 0; i < 400; ++i)
      ops.push_back(pool.run([ran, i] {
        ++(*ran)[i];
        return std::string(30, static_cast<char>('a' + i % 26));
      }));
    std::jthread mover{[&] { clock->advance(1s); }};
    auto all = troupe::gather_settled(std::move(ops)).timeout(1s).get();
    mover.join();
    pool.shutdown().get();
    for (std::size_t i = 0; i < 400; ++i) {
      auto ran_at_all = all[i].state() != outcome_state::never_started;
      REQUIRE(all[i].attempts() == (ran_at_all ? 1 : 0));
      REQUIRE((all[i].worker() > 0) == ran_at_all);
      REQUIRE(all[i].waited() >= 0ns);
      REQUIRE(all[i].ran() >= 0ns);
      switch (all[i].state()) {
      case outcome_state::done:
        REQUIRE(all[i].value()
                == std::string(30, static_cast<char>('a' + i % 26)));
        REQUIRE((*ran)[i] == 1);
        break;
      case outcome_state::never_started:
        REQUIRE((*ran)[i] == 0);
        break;
      default:
        REQUIRE(all[i].state() == outcome_state::still_running);
        REQUIRE((*ran)[i] == 1);
      }
    }
  }
}

TEST_CASE("a worker may settle calls of its own pool", "[settled]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto outer = pool.run([pool]() mutable {
    return troupe::gather_settled(some_calls(pool, 10)).get().size();
  });
  CHECK(outer.get() == 10);
}

TEST_CASE("a consumed operation cannot be settled", "[settled]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto op = pool.run([] {});
  op.get();
  CHECK(test::failure_code(
            [&] { static_cast<void>(troupe::gather_settled(std::move(op))); })
        == ec::already_consumed);
}

// -- operations with something around them ------------------------------------

TEST_CASE("an outcome tells of the call behind a timeout, a hedge or a shield",
          "[settled]") {
  auto what = GENERATE(as<std::string>{}, "timeout", "hedge", "shield");
  CAPTURE(what);
  test::gate door;
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::open_at_exit opener{door};
  auto busy = pool.run([&] { door.pass(); }).start();
  door.wait_for_arrivals();
  std::vector<operation<void>> ops;
  auto call = pool.run([] {}).label("name");
  if (what == "timeout")
    ops.push_back(std::move(call).timeout(1h));
  else if (what == "hedge")
    ops.push_back(std::move(call).hedge_after(1h));
  else
    ops.push_back(troupe::shield(std::move(call)));
  auto asked = std::chrono::steady_clock::now();
  auto gathered = troupe::gather_settled(std::move(ops)).start();
  door.open();
  auto all = gathered.get();
  auto over = std::chrono::steady_clock::now();
  CHECK(all[0].label() == "name");
  CHECK(all[0].worker() == 1);
  CHECK(all[0].attempts() == 1);
  CHECK(all[0].waited() > 0ns);
  CHECK(all[0].ran() > 0ns);
  // What it ran is without what it waited.
  CHECK(all[0].waited() + all[0].ran() <= over - asked);
}

TEST_CASE("an outcome tells what the call's own deadline has met",
          "[settled]") {
  test::gate door;
  test::manual_time time;
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1, .clock = time.clock}};
  test::open_at_exit opener{door};
  std::vector<operation<void>> ops;
  ops.push_back(pool.run([&] { door.pass(); }).timeout(1s));
  ops.push_back(pool.run([] {}).timeout(1s));
  auto gathered = troupe::gather_settled(std::move(ops)).start();
  door.wait_for_arrivals();
  time.clock->advance(1s);
  auto all = gathered.get();
  CHECK(all[0].code() == ec::deadline_exceeded);
  CHECK(all[0].state() == outcome_state::still_running);
  CHECK(all[1].code() == ec::deadline_exceeded);
  CHECK(all[1].state() == outcome_state::never_started);
  CHECK(all[1].attempts() == 0);
  CHECK(all[1].ran() == 0ns);
}

TEST_CASE("an attempt that was called off is not counted", "[settled]") {
  auto made = GENERATE(1u, 2u);
  CAPTURE(made);
  test::manual_time time;
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1, .clock = time.clock}};
  std::stop_source stop;
  test::gate begun;
  begun.open();
  std::vector<operation<void>> ops;
  ops.push_back(
      pool.run([&] {
            begun.pass();
            throw std::runtime_error{"no"};
          })
          .retry({.attempts = 5, .backoff = 1s, .factor = 1, .jitter = 0})
          .stop_with(stop.get_token()));
  auto gathered = troupe::gather_settled(std::move(ops)).start();
  begun.wait_for_arrivals(1);
  time.clock->wait_for_timer_in(1s);
  if (made == 2) {
    time.clock->advance(1s);
    begun.wait_for_arrivals(2);
    time.clock->wait_for_timer_in(1s);
  }
  stop.request_stop();
  auto all = gathered.get();
  CHECK(all[0].code() == ec::cancelled);
  CHECK(all[0].attempts() == made);
}
