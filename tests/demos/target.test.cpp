// What fanout makes of the words on its command line.
#include "targets/target.hpp"

#include <catch2/catch.hpp>

#include <string>

using namespace targets;

TEST_CASE("URLs are fetched, in whatever case their scheme is written",
          "[target]") {
  CHECK(parse_target("http://a/b").what == kind::http);
  CHECK(parse_target("HTTPS://a/b").what == kind::http);
}

TEST_CASE("what is neither URL nor query is a path", "[target]") {
  for (auto* text : {"http:/a", "./http://a", "ftp://a/b", "sqlite", "-", ""}) {
    auto parsed = parse_target(text);
    CHECK(parsed.what == kind::file);
    CHECK(parsed.text == text);
    CHECK(parsed.problem.empty());
  }
}

TEST_CASE("a query is split at its first question mark", "[target]") {
  auto text = std::string{"sqlite:a.db?SELECT '?'"};
  auto parsed = parse_target(text);
  CHECK(parsed.what == kind::sqlite);
  CHECK(parsed.problem.empty());
  auto parts = split_sqlite(text);
  REQUIRE(parts);
  CHECK(parts->file == "a.db");
  CHECK(parts->query == "SELECT '?'");
}

TEST_CASE("a query without file, mark or text has a problem", "[target]") {
  for (auto* text : {"sqlite:", "sqlite:a.db", "sqlite:a.db?", "sqlite:?q"}) {
    CHECK_FALSE(split_sqlite(text));
    CHECK(parse_target(text).problem == "not of the form sqlite:FILE?QUERY");
  }
}

TEST_CASE("a name with a NUL byte has a problem", "[target]") {
  CHECK(parse_target(std::string("/etc\0/x", 7)).problem
        == "contains a NUL byte");
}
