// What `as_completed` promises: every operation arrives once, in order of
// completion, with a value or a failure.

#include "troupe/as_completed.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::failure_code;
using troupe::ec;
using troupe::operation;
using troupe::outcome_state;
using troupe::pool_options;

TEST_CASE("as_completed streams in order of completion", "[as_completed]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 3}};
  test::gate door;
  test::open_at_exit opener{door};
  test::gate second;
  test::open_at_exit second_opener{second};
  std::vector<operation<int>> ops;
  ops.push_back(pool.run([&] {
    door.pass();
    return 10;
  }));
  ops.push_back(pool.run([&] {
    second.pass();
    return 11;
  }));
  ops.push_back(pool.run([] { return 12; }));
  auto results = troupe::as_completed(std::move(ops));
  auto next = [&] { return results.next().get(); };
  auto a = next();
  REQUIRE(a);
  CHECK(a->index() == 2);
  CHECK(a->value() == 12);
  second.open();
  CHECK(next()->index() == 1);
  door.open();
  CHECK(next()->index() == 0);
  CHECK_FALSE(next());
  CHECK_FALSE(next());
}

TEST_CASE("a failure arrives as a value and the others go on",
          "[as_completed]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  std::vector<operation<void>> ops;
  for (int i = 0; i < 6; ++i)
    ops.push_back(pool.run([i] {
      if (i % 2)
        throw std::out_of_range{"odd"};
    }));
  auto good = 0;
  auto bad = 0;
  for (auto& arrival : troupe::as_completed(std::move(ops))) {
    CHECK(static_cast<bool>(arrival) == (arrival.index() % 2 == 0));
    ++(arrival ? good : bad);
    if (!arrival)
      CHECK(arrival.state() == outcome_state::failed);
  }
  CHECK(good == 3);
  CHECK(bad == 3);
}

TEST_CASE("as_completed of nothing ends at once", "[as_completed]") {
  test::actor_world world;
  auto results = troupe::as_completed(std::vector<operation<int>>{});
  CHECK_FALSE(results.next().get());
}

TEST_CASE("as_completed starts nothing before it is read", "[as_completed]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto ran = std::make_shared<test::tally>();
  {
    std::vector<operation<void>> ops;
    ops.push_back(pool.run([ran] { ran->add(); }));
    auto results = troupe::as_completed(std::move(ops));
  }
  pool.shutdown().get();
  CHECK(ran->value() == 0);
}

TEST_CASE("as_completed mixes tasks, waits and delays in an actor",
          "[as_completed]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto body = [&](caf::event_based_actor* self) -> troupe::task<int> {
    troupe::event later{world.sys};
    auto child = [&](caf::event_based_actor*) -> troupe::task<void> {
      auto op = pool.run([] {});
      co_await std::move(op);
      later.set();
    };
    auto results = troupe::as_completed(later.wait(), child(self),
                                        troupe::sleep_for(self, 0ns));
    auto sum = 0;
    while (auto arrival = co_await results.next())
      sum += static_cast<int>(arrival->index()) + 10;
    co_return sum;
  };
  CHECK(troupe::run(world.sys, body) == 33);
}

TEST_CASE("each hands every arrival to the actor", "[as_completed]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  std::promise<int> sum;
  world.sys.spawn([&](caf::event_based_actor* self) {
    std::vector<operation<int>> ops;
    for (int i = 0; i < 100; ++i)
      ops.push_back(pool.run([i] { return i; }));
    auto total = std::make_shared<int>(0);
    troupe::as_completed(std::move(ops))
        .each(
            self, [total](troupe::arrival<int> x) { *total += x.value(); },
            [](caf::error) {}, [&, total] { sum.set_value(*total); });
  });
  CHECK(sum.get_future().get() == 4950);
}

TEST_CASE("leaving as_completed early cancels the rest", "[as_completed]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  auto ran = std::make_shared<test::tally>();
  {
    std::vector<operation<void>> ops;
    ops.push_back(pool.run([] {}));
    ops.push_back(pool.run([&] { door.pass(); }));
    for (int i = 0; i < 10; ++i)
      ops.push_back(pool.run([ran] { ran->add(); }));
    auto results = troupe::as_completed(std::move(ops));
    CHECK(results.next().get()->index() == 0);
    door.wait_for_arrivals();
  }
  door.open();
  pool.shutdown().get();
  CHECK(ran->value() == 0);
}

TEST_CASE("with a stopped token every operation still arrives",
          "[as_completed]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  std::stop_source stop;
  std::vector<operation<void>> ops;
  ops.push_back(pool.run([&] { door.pass(); }));
  for (int i = 0; i < 10; ++i)
    ops.push_back(pool.run([] {}));
  auto results =
      troupe::as_completed(std::move(ops)).stop_with(stop.get_token());
  auto first = results.next().start();
  door.wait_for_arrivals();
  stop.request_stop();
  door.open();
  auto never = 0;
  auto done = 0;
  auto count = [&](const std::optional<troupe::arrival<void>>& x) {
    if (x)
      ++(*x ? done : never);
    return x.has_value();
  };
  count(first.get());
  while (count(results.next().get()))
    continue;
  CHECK(done == 1);
  CHECK(never == 10);
}

TEST_CASE("an operation that was consumed cannot be streamed",
          "[as_completed]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto op = pool.run([] {});
  op.get();
  CHECK(failure_code([&] { troupe::as_completed(std::move(op)).stop(); })
        == ec::already_consumed);
}

TEST_CASE("a worker reads the operations of its own pool", "[as_completed]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  auto outer = pool.run([pool] {
    std::vector<operation<int>> ops;
    for (int i = 0; i < 20; ++i)
      ops.push_back(pool.run([i] { return i; }));
    auto sum = 0;
    for (auto& x : troupe::as_completed(std::move(ops)))
      sum += x.value();
    return sum;
  });
  CHECK(outer.get() == 190);
}

TEST_CASE("stopping races with arrivals without harm", "[as_completed]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 3}};
  auto good = 0;
  for (int i = 0; i < 100; ++i) {
    std::stop_source stop;
    std::vector<operation<int>> ops;
    for (int k = 0; k < 20; ++k)
      ops.push_back(pool.run([k] { return k; }));
    auto results =
        troupe::as_completed(std::move(ops)).stop_with(stop.get_token());
    std::jthread stopper{[&] { stop.request_stop(); }};
    auto n = 0;
    while (auto x = results.next().get())
      n += *x ? x->value() == static_cast<int>(x->index())
              : x->code() == ec::cancelled;
    good += n == 20;
  }
  CHECK(good == 100);
}
