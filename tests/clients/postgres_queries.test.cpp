// The demo queries, against a real server.
#include "child.hpp"
#include "postgres_server.hpp"

#include <catch2/catch.hpp>

#include <csignal>
#include <string>
#include <vector>

using Catch::Matchers::Contains;
using test::the_server;

namespace {

std::vector<std::string> queries(const test::postgres_server& server) {
  return {QUERIES_BINARY, "--database=" + server.address(),
          "--troupe.workers=3"};
}

test::exited run(const std::vector<std::string>& command,
                 const std::string& input) {
  return test::child{command, {.input = input}}.wait();
}

} // namespace

TEST_CASE("queries prints the rows of all statements in their order",
          "[queries]") {
  auto server = the_server();
  if (!server)
    return;
  std::string input = "select pg_sleep(0.2), 0\n\n";
  std::string expected = "\t0\n";
  for (auto i = 1; i < 100; ++i) {
    input += "select " + std::to_string(i) + ", null\n";
    expected += std::to_string(i) + "\t\\N\n";
  }
  auto end = run(queries(*server), input);
  CHECK(end.status == 0);
  CHECK(end.out == expected);
  CHECK(end.err.empty());
}

TEST_CASE("queries names the line of a statement that fails, and runs the rest",
          "[queries]") {
  auto server = the_server();
  if (!server)
    return;
  auto end = run(queries(*server), "select 1\n\nselect from nowhere\nselect 3");
  CHECK(end.status == 1);
  CHECK(end.out == "1\n3\n");
  CHECK_THAT(end.err, Contains("queries: line 3: ") && Contains("nowhere"));
}

TEST_CASE("an interrupt ends queries and what the server runs for it",
          "[queries]") {
  auto server = the_server();
  if (!server)
    return;
  test::child running{queries(*server),
                      {.input = "select 'begun'\nselect pg_sleep(1000)\n"}};
  running.wait_for_output("begun");
  running.signal(SIGINT);
  auto end = running.wait();
  CHECK(end.status == 128 + SIGINT);
  CHECK_THAT(end.err, Contains("queries: interrupted"));
}

TEST_CASE("queries says that it reaches no server, and what it does not know",
          "[queries]") {
  auto end = run({QUERIES_BINARY, "--database=host=/nowhere"}, "select 1\n");
  CHECK(end.status == 1);
  CHECK_THAT(end.err, Contains("queries: line 1: ") && Contains("/nowhere"));
  end = run({QUERIES_BINARY, "select 1"}, "");
  CHECK(end.status == 2);
  CHECK_THAT(end.err, Contains("unknown argument 'select 1'"));
}
