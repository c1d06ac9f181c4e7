// Queries on databases that are well, and on some that aren't.
#include "targets/sqlite_client.hpp"

#include "temp_folder.hpp"

#include <catch2/catch.hpp>

#include <sqlite3.h>

#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>

using Catch::Matchers::Contains;
using targets::sqlite_client;

namespace {

std::string make_database(const test::temp_folder& folder, const char* name,
                          int rows) {
  auto path = folder.path(name);
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
  auto script = "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
                "SELECT i + 1 FROM n WHERE i < "
                + std::to_string(rows) + ") INSERT INTO t SELECT i FROM n;";
  CHECK(sqlite3_exec(database, script.c_str(), nullptr, nullptr, nullptr)
        == SQLITE_OK);
  sqlite3_close(database);
  return path;
}

} // namespace

TEST_CASE("a query gives its number of rows", "[sqlite_client]") {
  test::temp_folder folder;
  auto file = make_database(folder, "a.db", 1000);
  sqlite_client client;
  CHECK(client.count_rows(file, "SELECT * FROM t", {}) == 1000);
  CHECK(client.count_rows(file, "SELECT * FROM t WHERE a < 0; -- none", {})
        == 0);
}

TEST_CASE("more databases than connections are asked in turn",
          "[sqlite_client]") {
  test::temp_folder folder;
  sqlite_client client;
  auto count = static_cast<int>(sqlite_client::most_connections) + 2;
  for (auto round = 0; round < 2; ++round)
    for (auto i = 1; i <= count; ++i) {
      auto name = std::to_string(i);
      auto file = round == 0 ? make_database(folder, name.c_str(), i)
                             : folder.path(name);
      CHECK(client.count_rows(file, "SELECT * FROM t", {})
            == static_cast<std::uint64_t>(i));
    }
}

TEST_CASE("a database that takes another's name is opened anew",
          "[sqlite_client]") {
  test::temp_folder folder;
  auto file = make_database(folder, "a.db", 1);
  sqlite_client client;
  CHECK(client.count_rows(file, "SELECT * FROM t", {}) == 1);
  std::filesystem::rename(make_database(folder, "b.db", 2), file);
  CHECK(client.count_rows(file, "SELECT * FROM t", {}) == 2);
}

TEST_CASE("a bad query says what is wrong, and the next one works",
          "[sqlite_client]") {
  test::temp_folder folder;
  auto file = make_database(folder, "a.db", 3);
  sqlite_client client;
  auto ask = [&](const char* query) {
    return client.count_rows(file, query, {});
  };
  CHECK_THROWS_WITH(ask("SELEC 1"),
                    "cannot run the query: near \"SELEC\": syntax error");
  CHECK_THROWS_WITH(ask("SELECT * FROM none"),
                    "cannot run the query: no such table: none");
  CHECK_THROWS_WITH(ask("SELECT 1; SELECT 2"), Contains("more follows"));
  CHECK_THROWS_WITH(ask(" -- "), Contains("it is no statement"));
  CHECK_THROWS_WITH(ask("DELETE FROM t"), Contains("it would write"));
  CHECK_THROWS_WITH(ask("BEGIN"), Contains("it asks for no rows"));
  CHECK(ask("SELECT * FROM t") == 3);
}

TEST_CASE("a query that would make another database is refused",
          "[sqlite_client]") {
  test::temp_folder folder;
  auto file = make_database(folder, "a.db", 3);
  sqlite_client client;
  CHECK_THROWS(
      client.count_rows(file, "VACUUM INTO '" + folder.path("b.db") + "'", {}));
  CHECK_FALSE(std::filesystem::exists(folder.path("b.db")));
}

TEST_CASE("a corrupt database says so", "[sqlite_client]") {
  test::temp_folder folder;
  sqlite_client client;
  auto no_header = folder.write("a.db", std::string(4096, 'x'));
  CHECK_THROWS_WITH(client.count_rows(no_header, "SELECT 1 FROM t", {}),
                    "cannot run the query: file is not a database");
  auto file = make_database(folder, "b.db", 10'000);
  std::filesystem::resize_file(file, 8192);
  CHECK_THROWS_WITH(client.count_rows(file, "SELECT * FROM t", {}),
                    "cannot run the query: database disk image is malformed");
}

TEST_CASE("a database that is no file says why", "[sqlite_client]") {
  test::temp_folder folder;
  sqlite_client client;
  CHECK_THROWS_WITH(client.count_rows(folder.path("none"), "SELECT 1", {}),
                    "cannot open the database: No such file or directory");
  auto fifo = folder.path("fifo");
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  CHECK_THROWS_WITH(client.count_rows(fifo, "SELECT 1", {}),
                    "cannot open the database: not a regular file");
}

TEST_CASE("a query ends when it is told to stop", "[sqlite_client]") {
  test::temp_folder folder;
  auto file = make_database(folder, "a.db", 1);
  sqlite_client client;
  std::stop_source stop;
  stop.request_stop();
  // Failure here is a hang: this query has no end.
  CHECK_THROWS_WITH(client.count_rows(file,
                                      "WITH RECURSIVE n(i) AS (SELECT 1 UNION "
                                      "ALL SELECT i FROM n) SELECT i FROM n",
                                      stop.get_token()),
                    Contains("interrupted"));
  CHECK(client.count_rows(file, "SELECT * FROM t", {}) == 1);
}
