// What `troupe::run` promises: a task from `main`, its result or its failure
// back, and nothing left running.

#include "troupe/run.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

using troupe::ec;

namespace {

troupe::task<std::string> join(caf::event_based_actor*, troupe::pool pool,
                               std::string a, std::unique_ptr<std::string> b) {
  co_return co_await pool.run([&] { return a + *b; });
}

} // namespace

TEST_CASE("run passes arguments in and the result out", "[run]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  CHECK(troupe::run(world.sys, join, pool, "a",
                    std::make_unique<std::string>("b"))
        == "ab");
}

TEST_CASE("run returns a result that can only be moved", "[run]") {
  test::actor_world world;
  auto body =
      [](caf::event_based_actor*) -> troupe::task<std::unique_ptr<int>> {
    co_return std::make_unique<int>(3);
  };
  CHECK(*troupe::run(world.sys, body) == 3);
}

TEST_CASE("run of a task without a value returns when it is done", "[run]") {
  test::actor_world world;
  auto ran = false;
  auto body = [&](caf::event_based_actor* self) -> troupe::task<void> {
    co_await troupe::sleep_for(self, 1ms);
    ran = true;
  };
  troupe::run(world.sys, body);
  CHECK(ran);
}

TEST_CASE("run throws the task's own exception", "[run]") {
  test::actor_world world;
  auto body = [](caf::event_based_actor*) -> troupe::task<int> {
    throw std::out_of_range{"mine"};
    co_return 1;
  };
  CHECK_THROWS_AS(troupe::run(world.sys, body), std::out_of_range);
}

TEST_CASE("run throws the whole failure of a request that never ran", "[run]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  pool.shutdown().get();
  auto body = [&](caf::event_based_actor*) -> troupe::task<int> {
    co_return co_await pool.run([] { return 1; }).label("too late");
  };
  try {
    troupe::run(world.sys, body);
    FAIL("nothing was thrown");
  } catch (const troupe::failure& err) {
    CHECK(err.code() == ec::pool_stopped);
    CHECK(err.label() == "too late");
    CHECK_FALSE(err.started());
  }
}

TEST_CASE("run throws owner_gone if something ends its actor", "[run]") {
  test::actor_world world;
  std::atomic<int> frames{0};
  auto body = [&](caf::event_based_actor* self,
                  test::counted frame) -> troupe::task<int> {
    static_cast<void>(frame);
    caf::anon_send_exit(self, caf::exit_reason::kill);
    co_await troupe::sleep_for(self, 24h);
    co_return 1;
  };
  CHECK(test::failure_code(
            [&] { troupe::run(world.sys, body, test::counted{frames}); })
        == ec::owner_gone);
  CHECK(frames == 0);
}

TEST_CASE("run ends its actor with the task, whatever was left running there",
          "[run]") {
  test::actor_world world;
  std::atomic<int> frames{0};
  auto sleeper = [](caf::event_based_actor* self,
                    test::counted frame) -> troupe::task<void> {
    static_cast<void>(frame);
    co_await troupe::sleep_for(self, 24h);
  };
  auto body = [&](caf::event_based_actor* self) -> troupe::task<int> {
    self->become([](const std::string&) {});
    static_cast<void>(sleeper(self, test::counted{frames}).start());
    co_await troupe::sleep_for(self, 1ms);
    co_return 4;
  };
  CHECK(troupe::run(world.sys, body) == 4);
  // Failure here is a hang.
  world.sys.registry().await_running_count_equal(0);
}
