// How the failure of a request reaches whoever waits for it: as the request's
// own exception, in an error that an actor can read, and without harm to the
// worker.

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <vector>

using test::hear;
using test::way;
using troupe::ec;

namespace {

struct odd_thing {
  int number;
};

/// Returns the text of the error by which an actor hears of `op`.
template <class T>
std::string error_text(caf::actor_system& sys, troupe::operation<T> op) {
  auto result = hear(way::then, sys, [&](auto*) { return std::move(op); });
  REQUIRE(result.error != caf::none);
  return troupe::describe(result.error);
}

bool contains(const std::string& text, const std::string& part) {
  INFO("text: " << text << "\nlooked for: " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("a std exception arrives as the original", "[failures]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    return pool.run([]() -> int { throw std::out_of_range{"index 9"}; });
  });
  CHECK_FALSE(result.value.has_value());
  REQUIRE(result.exception());
  try {
    std::rethrow_exception(result.exception());
  } catch (const std::out_of_range& err) {
    CHECK(err.what() == std::string{"index 9"});
  }
}

TEST_CASE("an int arrives as the original", "[failures]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result =
      hear(how, world.sys, [&](auto*) { return pool.run([] { throw 42; }); });
  REQUIRE(result.exception());
  try {
    std::rethrow_exception(result.exception());
  } catch (int what) {
    CHECK(what == 42);
  }
}

TEST_CASE("an exception of the user's own type arrives as the original",
          "[failures]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    return pool.map(std::vector<int>{1, 2, 3}, [](int x) {
      if (x == 2)
        throw odd_thing{x};
      return x;
    });
  });
  REQUIRE(result.exception());
  try {
    std::rethrow_exception(result.exception());
  } catch (const odd_thing& what) {
    CHECK(what.number == 2);
  }
}

TEST_CASE("nested exceptions arrive with what they hold", "[failures]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    return pool.run([] {
      try {
        throw std::runtime_error{"disk on fire"};
      } catch (...) {
        std::throw_with_nested(std::logic_error{"cannot save"});
      }
    });
  });
  REQUIRE(result.exception());
  auto text = troupe::describe(result.exception());
  CHECK(contains(text, "std::logic_error: cannot save"));
  CHECK(contains(text, "std::runtime_error: disk on fire"));
  if (how == way::then) {
    CHECK(contains(troupe::describe(result.error), "disk on fire"));
  }
}

TEST_CASE("a failure that the request throws keeps its code", "[failures]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](auto*) {
    return pool.run([] {
      throw troupe::failure{ec::resource_unavailable, "no such thing"};
    });
  });
  CHECK(result.code() == ec::resource_unavailable);
}

TEST_CASE("an actor's error names type, message, label and worker",
          "[failures]") {
  test::actor_world world;
  troupe::pool pool{world.sys,
                    troupe::pool_options{.name = "io", .workers = 1}};
  auto text = error_text(
      world.sys, pool.run([] { throw std::runtime_error{"no space left"}; })
                     .label("save a.csv"));
  CHECK(contains(text, "std::runtime_error"));
  CHECK(contains(text, "no space left"));
  CHECK(contains(text, "save a.csv"));
  CHECK(contains(text, "io-1"));
}

TEST_CASE("an actor's error names types that do not derive from std::exception",
          "[failures]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  CHECK(contains(error_text(world.sys, pool.run([] { throw odd_thing{1}; })),
                 "odd_thing"));
  CHECK(contains(error_text(world.sys, pool.run([] { throw 7; })), "int: 7"));
  CHECK(contains(error_text(world.sys, pool.run([] { throw "plain"; })),
                 "plain"));
}

TEST_CASE("an actor can compare the code of its error", "[failures]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto result = hear(way::then, world.sys,
                     [&](auto*) { return pool.run([] { throw 1; }); });
  CHECK(result.error == ec::request_failed);
  pool.shutdown().get();
  result = hear(way::then, world.sys, [&](auto*) { return pool.run([] {}); });
  CHECK(result.error == ec::pool_stopped);
  CHECK_FALSE(troupe::exception_of(result.error));
  CHECK_FALSE(troupe::failure_of(result.error)->started);
}

TEST_CASE("a failure made of an error made of a failure is the same",
          "[failures]") {
  troupe::failure original{ec::queue_full, "no room", false, "name", 3};
  auto copy = troupe::failure_of(original.to_error());
  CHECK(copy->code == ec::queue_full);
  CHECK(copy->label == "name");
  CHECK(copy->worker == 3);
  CHECK_FALSE(copy->started);
  CHECK(copy->text.find("no room") == 0);
}

TEST_CASE("a worker lives on after a request has thrown", "[failures]") {
  test::actor_world world;
  troupe::pool pool{world.sys, troupe::pool_options{.workers = 1}};
  auto thread_of = [&] {
    return pool.run([] { return std::this_thread::get_id(); }).get();
  };
  auto before = thread_of();
  CHECK_THROWS_AS(pool.run([] { throw std::runtime_error{""}; }).get(),
                  std::runtime_error);
  CHECK_THROWS_AS(pool.run([] { throw 1; }).get(), int);
  CHECK_THROWS_AS(pool.run([] { throw odd_thing{1}; }).get(), odd_thing);
  CHECK(thread_of() == before);
  auto stats = pool.stats();
  CHECK(stats.failed == 3);
  CHECK(stats.workers == 1);
}

TEST_CASE("the failure of a task carries the request's own exception",
          "[failures]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto body = [&](caf::event_based_actor*) -> troupe::task<int> {
    co_await pool.run([] { throw odd_thing{8}; });
    co_return 1;
  };
  auto result = hear(how, world.sys,
                     [&](caf::event_based_actor* self) { return body(self); });
  REQUIRE(result.exception());
  try {
    std::rethrow_exception(result.exception());
  } catch (const odd_thing& what) {
    CHECK(what.number == 8);
  }
}
