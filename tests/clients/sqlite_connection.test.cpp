// Connections to databases that are well, and to some that aren't, alone and as
// the resource of workers.
#include "troupe/sqlite_connection.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"
#include "temp_folder.hpp"

#include <catch2/catch.hpp>

#include <sqlite3.h>

#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using Catch::Matchers::Contains;
using troupe::sqlite_connection;
using troupe::sqlite_error;
using troupe::sqlite_value;
using row = sqlite_connection::row;
using mode = sqlite_connection::mode;

namespace {

template <class Fn>
sqlite_error error_of(Fn fn) {
  try {
    fn();
  } catch (const sqlite_error& error) {
    return error;
  }
  throw std::runtime_error{"it succeeded"};
}

// A statement that never ends by itself.
const std::string endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT "
                            "i FROM n) SELECT count(*) FROM n";

} // namespace

TEST_CASE("values go into a database and come back as they were",
          "[sqlite_connection]") {
  test::temp_folder folder;
  auto file = folder.path("a.db");
  row values{std::monostate{}, std::int64_t{-7}, 2.5,
             std::string{"it's\0here", 9},
             std::vector<std::byte>{std::byte{0}, std::byte{255}}};
  {
    sqlite_connection writer{file};
    writer.execute("CREATE TABLE t(a, b, c, d, e); -- two statements\n"
                   "CREATE INDEX i ON t(b);");
    auto done = writer.run("INSERT INTO t VALUES(?, ?, ?, ?, ?)", values, {});
    CHECK(done.changes == 1);
    CHECK(done.columns == 0);
  }
  sqlite_connection reader{file, mode::read_only};
  CHECK(reader.query("SELECT * FROM t WHERE b < ?", {std::int64_t{0}})
        == std::vector<row>{values});
  CHECK(reader.query("SELECT * FROM t WHERE b > ?", {std::int64_t{0}}).empty());
}

TEST_CASE("an error of a statement has operation, cause and code",
          "[sqlite_connection]") {
  test::temp_folder folder;
  auto file = folder.path("a.db");
  sqlite_connection db{file};
  db.execute("CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES(1)");
  auto error = error_of([&] { db.query("SELECT * FROM none"); });
  CHECK(error.what()
        == "cannot run 'SELECT * FROM none' on " + file
               + ": no such table: none");
  CHECK(error.code() == SQLITE_ERROR);
  error = error_of([&] { db.query("INSERT INTO t VALUES(1)"); });
  CHECK(error.code() == SQLITE_CONSTRAINT);
  CHECK(error.extended() == SQLITE_CONSTRAINT_UNIQUE);
  CHECK(error.cause() == "UNIQUE constraint failed: t.a");
  CHECK(error_of([&] { db.query(" -- nothing"); }).code() == SQLITE_MISUSE);
  CHECK(error_of([&] { db.query("SELECT 1; SELECT 2"); }).code()
        == SQLITE_MISUSE);
  CHECK_THAT(error_of([&] { db.query("SELECT ?"); }).what(),
             Contains("has 1 parameters and got 0 values"));
  CHECK_THAT(error_of([&] { db.execute("SELECT 1; SELEC 2"); }).what(),
             Contains("cannot run ' SELEC 2'"));
  CHECK_FALSE(db.broken());
  CHECK(db.query("SELECT a FROM t") == std::vector<row>{row{std::int64_t{1}}});
}

TEST_CASE("a database that is not there is not opened", "[sqlite_connection]") {
  test::temp_folder folder;
  auto file = folder.path("none/a.db");
  auto error = error_of([&] { sqlite_connection{file}; });
  CHECK(error.code() == SQLITE_CANTOPEN);
  CHECK(error.what()
        == "cannot open the database " + file
               + ": unable to open database file");
  CHECK(error_of([&] {
          sqlite_connection{folder.path("none.db"), mode::read_write};
        }).code()
        == SQLITE_CANTOPEN);
}

TEST_CASE("a read-only connection writes nowhere", "[sqlite_connection]") {
  test::temp_folder folder;
  auto file = folder.path("a.db");
  sqlite_connection{file}.execute("CREATE TABLE t(a)");
  sqlite_connection db{file, mode::read_only};
  for (auto sql : {std::string{"INSERT INTO t VALUES(1)"},
                   "VACUUM INTO '" + folder.path("b.db") + "'"}) {
    CHECK(error_of([&] { db.query(sql); }).code() == SQLITE_READONLY);
    CHECK(error_of([&] { db.execute(sql); }).code() == SQLITE_READONLY);
  }
  CHECK_FALSE(std::filesystem::exists(folder.path("b.db")));
}

TEST_CASE("a statement ends when it is stopped, before or while it runs",
          "[sqlite_connection]") {
  sqlite_connection db{":memory:"};
  std::stop_source stop;
  auto before = GENERATE(false, true);
  if (before)
    stop.request_stop();
  std::jthread later{[&] { stop.request_stop(); }};
  // Failure here is a hang.
  auto error = error_of([&] { db.query(endless, {}, stop.get_token()); });
  CHECK(error.code() == SQLITE_INTERRUPT);
  CHECK_FALSE(db.broken());
  CHECK(db.query("SELECT 1").size() == 1);
}

TEST_CASE("a sink that throws ends its statement", "[sqlite_connection]") {
  sqlite_connection db{":memory:"};
  CHECK_THROWS_AS(
      db.run("SELECT 1 UNION SELECT 2", {}, [](row&&) { throw 42; }), int);
  CHECK(db.query("SELECT 1 UNION SELECT 2").size() == 2);
}

TEST_CASE("a connection is broken by a corrupt file or an open transaction",
          "[sqlite_connection]") {
  test::temp_folder folder;
  sqlite_connection garbage{folder.write("a.db", std::string(4096, 'x'))};
  CHECK(error_of([&] { garbage.query("SELECT * FROM t"); }).code()
        == SQLITE_NOTADB);
  CHECK(garbage.broken());
  sqlite_connection db{":memory:"};
  db.execute("BEGIN");
  CHECK(db.broken());
  db.execute("COMMIT");
  CHECK_FALSE(db.broken());
}

TEST_CASE("a ping notices that the file is another one or gone",
          "[sqlite_connection]") {
  test::temp_folder folder;
  auto file = folder.path("a.db");
  sqlite_connection db{file};
  db.execute("CREATE TABLE t(a)");
  CHECK(db.ping());
  std::filesystem::rename(file, folder.path("b.db"));
  CHECK_FALSE(db.ping());
  sqlite_connection{file}.execute("CREATE TABLE t(a)");
  CHECK_FALSE(db.ping());
  CHECK(sqlite_connection{":memory:"}.ping());
}

// -- as the resource of workers -----------------------------------------------

namespace {

troupe::pool_options with_database(const std::string& file,
                                   std::size_t workers) {
  troupe::pool_options result{.name = "db", .workers = workers};
  result.resource = troupe::make_resource<sqlite_connection>(
                        [file] { return sqlite_connection{file}; })
                        .check(&sqlite_connection::ping)
                        .check_after(0s);
  return result;
}

} // namespace

TEST_CASE("workers write to one database, each by a connection of its own",
          "[sqlite_connection]") {
  test::temp_folder folder;
  auto file = folder.path("a.db");
  sqlite_connection db{file};
  db.execute("PRAGMA journal_mode = WAL; CREATE TABLE t(a)");
  test::actor_world world;
  troupe::pool pool{world.sys, with_database(file, 4)};
  std::vector<std::int64_t> numbers(100);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<std::int64_t>(i);
  pool.map(numbers,
           [](troupe::context& ctx, std::int64_t i) {
             ctx.resource<sqlite_connection>().query("INSERT INTO t VALUES(?)",
                                                     {i}, ctx.stop_token());
           })
      .get();
  CHECK(db.query("SELECT count(*), sum(a) FROM t")
        == std::vector<row>{row{std::int64_t{100}, std::int64_t{4950}}});
}

TEST_CASE("a transaction that a request leaves open goes with its connection",
          "[sqlite_connection]") {
  test::temp_folder folder;
  auto file = folder.path("a.db");
  sqlite_connection db{file};
  db.execute("CREATE TABLE t(a)");
  test::actor_world world;
  troupe::pool pool{world.sys, with_database(file, 1)};
  auto leave = [](troupe::context& ctx) {
    ctx.resource<sqlite_connection>().execute("BEGIN; INSERT INTO t VALUES(1)");
    throw std::runtime_error{"half done"};
  };
  CHECK_THROWS_WITH(pool.run(leave).get(), "half done");
  auto count = [](troupe::context& ctx) {
    return ctx.resource<sqlite_connection>().query("SELECT * FROM t").size();
  };
  CHECK(pool.run(count).get() == 0);
  CHECK(pool.stats().resource.opens == 2);
}

TEST_CASE("a database that was replaced is opened anew",
          "[sqlite_connection]") {
  test::temp_folder folder;
  auto file = folder.path("a.db");
  auto make = [](const std::string& at, int rows) {
    sqlite_connection db{at};
    db.execute("CREATE TABLE t(a)");
    while (rows-- > 0)
      db.execute("INSERT INTO t VALUES(1)");
  };
  make(file, 1);
  test::actor_world world;
  troupe::pool pool{world.sys, with_database(file, 1)};
  auto count = [](troupe::context& ctx) {
    return ctx.resource<sqlite_connection>().query("SELECT * FROM t").size();
  };
  CHECK(pool.run(count).get() == 1);
  make(folder.path("b.db"), 2);
  std::filesystem::rename(folder.path("b.db"), file);
  CHECK(pool.run(count).get() == 2);
  CHECK(pool.stats().resource.failed_checks == 1);
}

TEST_CASE("a query is stopped by a deadline", "[sqlite_connection]") {
  test::actor_world world;
  troupe::pool pool{world.sys, with_database(":memory:", 1)};
  auto running = pool.run([](troupe::context& ctx) {
                       ctx.resource<sqlite_connection>().query(
                           endless, {}, ctx.stop_token());
                     })
                     .timeout(10ms)
                     .start();
  CHECK(test::failure_code([&] { running.get(); })
        == troupe::ec::deadline_exceeded);
  // Failure here is a hang: the worker has another request to run.
  CHECK(pool.run([] { return 1; }).get() == 1);
}
