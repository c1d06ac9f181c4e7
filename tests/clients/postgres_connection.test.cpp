// Connections to a real server, alone and as the resource of workers, also when
// it crashes while they are busy. Without PostgreSQL there is nothing to test.
#include "troupe/postgres_connection.hpp"

#include "actor_ways.hpp"
#include "postgres_server.hpp"

#include <catch2/catch.hpp>

#include <chrono>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using Catch::Matchers::Contains;
using test::the_server;
using troupe::postgres_connection;
using troupe::postgres_error;
using troupe::postgres_value;

namespace {

template <class Fn>
postgres_error error_of(Fn fn) {
  try {
    fn();
  } catch (const postgres_error& error) {
    return error;
  }
  throw std::runtime_error{"it succeeded"};
}

// Blocks until `n` statements sleep on the server.
void wait_for_sleepers(postgres_connection& by, int n) {
  auto text = std::to_string(n);
  while (by.query("SELECT count(*) FROM pg_stat_activity WHERE state = "
                  "'active' AND wait_event = 'PgSleep'")
             .rows[0][0]
         != text)
    std::this_thread::yield();
}

troupe::pool_options with_connections(const std::string& address,
                                      std::size_t workers) {
  troupe::pool_options result{.name = "db", .workers = workers};
  result.resource = troupe::make_resource<postgres_connection>(
                        [address] { return postgres_connection{address}; })
                        .check(&postgres_connection::ping)
                        .backoff(10ms, 200ms);
  return result;
}

std::string sleep_long(troupe::context& ctx) {
  ctx.resource<postgres_connection>().query("SELECT pg_sleep(3600)", {},
                                            ctx.stop_token());
  return "woke";
}

std::string answer(troupe::context& ctx) {
  auto result = ctx.resource<postgres_connection>().query("SELECT 42");
  return *result.rows.at(0).at(0);
}

} // namespace

TEST_CASE("values go to the server and come back", "[postgres_connection]") {
  auto server = the_server();
  if (!server)
    return;
  postgres_connection db{server->address()};
  db.ping();
  db.query("CREATE TEMP TABLE t(a int, b text)");
  CHECK(db.query("INSERT INTO t VALUES($1, $2), (2, 'x')", {"1", std::nullopt})
            .affected
        == 2);
  auto all = db.query("SELECT * FROM t ORDER BY a");
  CHECK(all.columns == std::vector<std::string>{"a", "b"});
  REQUIRE(all.rows.size() == 2);
  CHECK(all.rows[0] == std::vector<postgres_value>{"1", std::nullopt});
  CHECK(all.rows[1] == std::vector<postgres_value>{"2", "x"});
  CHECK(db.query("").rows.empty());
}

TEST_CASE("an error of the server has its sqlstate and leaves the connection "
          "good",
          "[postgres_connection]") {
  auto server = the_server();
  if (!server)
    return;
  postgres_connection db{server->address()};
  auto error = error_of([&] { db.query("SELECT * FROM none"); });
  CHECK(error.sqlstate() == "42P01");
  CHECK_FALSE(error.connection_lost());
  CHECK_THAT(error.what(),
             Contains("cannot run 'SELECT * FROM none' on PostgreSQL: ERROR:  "
                      "relation \"none\" does not exist"));
  CHECK(error_of([&] { db.query("SELECT 1; SELECT 2"); }).sqlstate()
        == "42601");
  CHECK_FALSE(db.broken());
  db.ping();
  db.query("BEGIN");
  CHECK(db.broken());
  CHECK_THAT(error_of([&] { db.query("COPY pg_class TO STDOUT"); }).what(),
             Contains("COPY"));
  CHECK(db.broken());
}

TEST_CASE("a server that is not there is told with its address",
          "[postgres_connection]") {
  auto error = error_of([] {
    postgres_connection{"host=/tmp/troupe-no-such-folder user=me password=xyz"};
  });
  CHECK(error.connection_lost());
  CHECK(error.sqlstate().empty());
  CHECK_THAT(error.what(), Contains("cannot connect to PostgreSQL "
                                    "(host=/tmp/troupe-no-such-folder"));
  CHECK_THAT(error.what(), !Contains("xyz"));
}

TEST_CASE("a statement that is stopped is cancelled on the server",
          "[postgres_connection]") {
  auto server = the_server();
  if (!server)
    return;
  postgres_connection db{server->address()};
  postgres_connection watch{server->address()};
  std::stop_source stop;
  auto before = GENERATE(false, true);
  if (before)
    stop.request_stop();
  std::jthread later{[&] {
    if (!before)
      wait_for_sleepers(watch, 1);
    stop.request_stop();
  }};
  // Failure here is a hang.
  auto error = error_of(
      [&] { db.query("SELECT pg_sleep(3600)", {}, stop.get_token()); });
  CHECK(error.sqlstate() == "57014");
  CHECK_FALSE(error.connection_lost());
  CHECK_FALSE(db.broken());
  CHECK(db.query("SELECT 1").rows.size() == 1);
}

// -- as the resource of workers -----------------------------------------------

TEST_CASE("a query that is cancelled frees its worker and keeps the connection",
          "[postgres_connection]") {
  auto server = the_server();
  if (!server)
    return;
  test::actor_world world;
  troupe::pool pool{world.sys, with_connections(server->address(), 1)};
  postgres_connection watch{server->address()};
  std::stop_source stop;
  auto sleeping = pool.run(sleep_long).stop_with(stop.get_token()).start();
  wait_for_sleepers(watch, 1);
  stop.request_stop();
  CHECK(error_of([&] { sleeping.get(); }).sqlstate() == "57014");
  CHECK(pool.run(answer).get() == "42");
  CHECK(pool.stats().resource.opens == 1);
}

TEST_CASE("a connection that is lost while it is idle is replaced before a "
          "request has it",
          "[postgres_connection]") {
  auto server = the_server();
  if (!server)
    return;
  test::actor_world world;
  auto options = with_connections(server->address(), 1);
  options.resource->rules.check_after = 0s;
  troupe::pool pool{world.sys, options};
  auto own_pid = [](troupe::context& ctx) {
    return *ctx.resource<postgres_connection>()
                .query("SELECT pg_backend_pid()")
                .rows.at(0)
                .at(0);
  };
  auto first = pool.run(own_pid).get();
  CHECK(pool.run(own_pid).get() == first);
  postgres_connection{server->address()}.query(
      "SELECT pg_terminate_backend($1, 60000)", {first});
  CHECK(pool.run(own_pid).get() != first);
  CHECK(pool.stats().resource.failed_checks == 1);
}

TEST_CASE("when the server crashes, what runs fails, and what waits runs once "
          "it is back",
          "[postgres_connection]") {
  auto server = the_server();
  if (!server)
    return;
  constexpr auto workers = 4;
  test::actor_world world;
  troupe::pool pool{world.sys, with_connections(server->address(), workers)};
  {
    postgres_connection watch{server->address()};
    std::vector<troupe::operation<std::string>> running;
    for (int i = 0; i < workers; ++i)
      running.push_back(pool.run(sleep_long).start());
    wait_for_sleepers(watch, workers);
    // Behind those that will fail, for whoever has a connection then.
    std::vector<troupe::operation<std::string>> waiting;
    for (int i = 0; i < 20; ++i)
      waiting.push_back(pool.run(answer).start());
    server->crash();
    for (auto& x : running) {
      auto error = error_of([&] { x.get(); });
      CHECK(error.connection_lost());
    }
    // Nobody can connect: the workers say so, and take nothing.
    while (pool.stats().resource.unavailable != workers)
      std::this_thread::yield();
    auto stats = pool.stats();
    CHECK(stats.resource.opens == workers);
    CHECK(stats.resource.closes == workers);
    CHECK_THAT(stats.resource.last_open_error,
               Contains("postgres_error: cannot connect to PostgreSQL"));
    CHECK(stats.failed == workers);
    server->start();
    for (auto& x : waiting)
      CHECK(x.get() == "42");
  }
  CHECK(pool.stats().resource.opens > workers);
  CHECK(pool.stats().succeeded == 20);
  CHECK(pool.run(answer).get() == "42");
}

TEST_CASE("when the server stays away, what waits fails and says why",
          "[postgres_connection]") {
  auto how = GENERATE(test::way::get, test::way::then, test::way::co_await_);
  test::actor_world world;
  auto options = with_connections("host=/tmp/troupe-no-such-folder", 2);
  options.resource->rules.give_up_after = 50ms;
  troupe::pool pool{world.sys, options};
  auto result = test::hear(how, world.sys, [&](caf::event_based_actor*) {
    return pool.run(answer);
  });
  CHECK(result.code() == troupe::ec::resource_unavailable);
  auto text = result.thrown ? troupe::describe(result.thrown)
                            : troupe::describe(result.error);
  CHECK_THAT(text, Contains("cannot connect to PostgreSQL"));
}
