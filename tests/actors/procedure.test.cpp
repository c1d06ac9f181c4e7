// Procedures on a pool of threads: called by name, with no bytes in between.

#include "actor_ways.hpp"
#include "test_procedures.hpp"

#include "troupe/pool.hpp"
#include "troupe/procedure.hpp"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

using test::hear;
using test::way;
using troupe::ec;
using troupe::pool_options;

TEST_CASE("a pool calls a procedure by name, whichever way one waits",
          "[procedure]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{
                                   .workers = 2,
                                   .procedures = test::all_procedures(),
                               }};
  auto sum =
      hear(how, world.sys, [&](auto*) { return pool.call(test::add, 2, 3); });
  CHECK(sum.value == 5);
}

TEST_CASE("options of a pool can be written without their type",
          "[procedure]") {
  test::actor_world world;
  auto known = test::all_procedures();
  troupe::pool pool{world.sys, {.workers = 1, .procedures = known}};
  CHECK(pool.options().workers == 1);
}

TEST_CASE("arguments are converted where the call is written", "[procedure]") {
  test::actor_world world;
  troupe::pool pool{world.sys,
                    pool_options{.procedures = test::all_procedures()}};
  std::string gone = "hello";
  auto op = pool.call(test::echo, gone.c_str());
  gone = "other";
  CHECK(op.get() == "hello");
}

TEST_CASE("map and imap take a procedure as any function", "[procedure]") {
  test::actor_world world;
  troupe::pool pool{world.sys,
                    pool_options{.procedures = test::all_procedures()}};
  std::vector<std::string> words{"a", "b", "c"};
  CHECK(pool.map(words, test::echo).get() == words);
  auto letters = pool.imap(words, test::echo);
  std::vector<std::string> heard;
  while (auto next = letters.next().get())
    heard.push_back(*next);
  CHECK(heard == words);
}

TEST_CASE("on threads, an exception of a procedure keeps its type",
          "[procedure]") {
  test::actor_world world;
  troupe::pool pool{world.sys,
                    pool_options{.procedures = test::all_procedures()}};
  CHECK_THROWS_AS(pool.call(test::fail, "no").get(), std::out_of_range);
}

TEST_CASE("a pool without procedures says how to give it some", "[procedure]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.name = "bare"}};
  try {
    pool.call(test::add, 1, 2).get();
    FAIL("it was called");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::unknown_procedure);
    CHECK_THAT(why.what(), Catch::Contains("'add', int(int, int)")
                               && Catch::Contains("'bare'")
                               && Catch::Contains("pool_options::procedures"));
  }
}

TEST_CASE("a name that the pool does not know names both sides",
          "[procedure]") {
  test::actor_world world;
  troupe::pool pool{
      world.sys,
      pool_options{.name = "other", .procedures = test::all_procedures()}};
  try {
    pool.call(test::nowhere).get();
    FAIL("it was called");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::unknown_procedure);
    CHECK_THAT(why.what(), Catch::Contains("the caller asks for")
                               && Catch::Contains("'nowhere', int()")
                               && Catch::Contains("the pool 'other' has only"));
  }
}

TEST_CASE("a signature that differs shows both", "[procedure]") {
  static constexpr troupe::procedure<"add", double(double, double)> other_add;
  test::actor_world world;
  troupe::pool pool{world.sys,
                    pool_options{.procedures = test::all_procedures()}};
  try {
    pool.call(other_add, 1, 2).get();
    FAIL("it was called");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::unknown_procedure);
    CHECK_THAT(why.what(), Catch::Contains("double(double, double)")
                               && Catch::Contains("int(int, int)"));
  }
}
