// What fanout prints when all goes well, as its users see it.
#include "child.hpp"
#include "temp_folder.hpp"
#include "tiny_server.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <sqlite3.h>

#include <filesystem>
#include <string>
#include <vector>

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

using texts = std::vector<std::string>;

constexpr auto digest_of_a =
    "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

std::string make_database(const test::temp_folder& folder) {
  auto path = folder.path("a.db");
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
  CHECK(sqlite3_exec(database,
                     "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3);",
                     nullptr, nullptr, nullptr)
        == SQLITE_OK);
  sqlite3_close(database);
  return path;
}

} // namespace

TEST_CASE("digests of a folder are those that sha256sum confirms", "[fanout]") {
  test::temp_folder folder;
  for (auto i = 0; i < 300; ++i)
    folder.write(fmt::format("d{}/{}", i % 7, i),
                 std::string(static_cast<std::size_t>(i * i), 'x'));
  folder.write("back\\slash", "1");
  folder.write("line\nend", "2");
  folder.write("\xff", "3");
  auto ours = test::fanout({folder.path()});
  CHECK(ours.status == 0);
  CHECK(test::lines(ours.out).size() == 303);
  auto list = folder.write("../" + folder.path().substr(5) + ".sums", ours.out);
  auto theirs =
      test::run({"/usr/bin/sha256sum", "--check", "--quiet", "--strict", list});
  std::filesystem::remove(list);
  CHECK(theirs.status == 0);
  CHECK(theirs.out.empty());
  CHECK(theirs.err.empty());
}

TEST_CASE("results come in the order of their targets, whatever their size",
          "[fanout]") {
  test::temp_folder folder;
  texts paths;
  for (auto i = 0; i < 100; ++i)
    paths.push_back(folder.write(
        std::to_string(i), std::string(i % 10 == 0 ? 5'000'000 : 1, 'x')));
  auto got = test::lines(test::fanout(paths).out);
  REQUIRE(got.size() == paths.size());
  for (std::size_t i = 0; i < paths.size(); ++i)
    CHECK_THAT(got[i], Catch::Matchers::EndsWith("  " + paths[i]));
}

TEST_CASE("results are printed while later targets are still under way",
          "[fanout]") {
  test::temp_folder folder;
  test::tiny_server server;
  auto file = folder.write("a", "a");
  test::child running{test::fanout_command({file, server.url("/slow")})};
  auto caller = server.accept();
  caller.read_request();
  running.wait_for_output(digest_of_a);
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  auto end = running.wait();
  CHECK(end.status == 0);
  CHECK(end.out
        == std::string{digest_of_a} + "  " + file + "\n200  2 B  "
               + server.url("/slow") + "\n");
}

TEST_CASE("the three kinds of targets succeed together", "[fanout]") {
  test::temp_folder folder;
  test::tiny_server server;
  auto file = folder.write("a", "a");
  auto query = "sqlite:" + make_database(folder) + "?SELECT * FROM t";
  test::child running{test::fanout_command({query, server.url("/page"), file})};
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  auto end = running.wait();
  CHECK(end.status == 0);
  CHECK(test::lines(end.out)
        == texts{"3 rows  " + query, "200  5 B  " + server.url("/page"),
                 std::string{digest_of_a} + "  " + file});
  CHECK_THAT(end.err, StartsWith("3 requests: 3 succeeded, 0 failed\n"));
  CHECK_THAT(end.err, Contains("one after another this would have taken "));
  CHECK_THAT(end.err, Contains("as an observing actor received them: 3 "
                               "requests, 3 returned, 0 threw, 0 cancelled\n"));
}

TEST_CASE("JSON has one object per result, in input order", "[fanout]") {
  test::temp_folder folder;
  test::tiny_server server;
  auto file = folder.write("a", "a");
  auto query = "sqlite:" + make_database(folder) + "?SELECT * FROM t";
  auto bad_name = folder.write("\xff\"", "a");
  auto missing = folder.path("none");
  test::child running{test::fanout_command(
      {"--output=json", file, query, server.url("/page"), bad_name, missing})};
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
  auto end = running.wait();
  CHECK(end.status == 1);
  // Read by somebody else's parser, and checked there.
  auto script = R"(
import json, sys
rows = [json.loads(line) for line in sys.stdin]
for row in rows:
    assert isinstance(row.pop("ms"), float), row
digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
file, query, page, bad_name, missing = sys.argv[1:]
wanted = [
    dict(target=file, kind="file", ok=True, sha256=digest, bytes=1),
    dict(target=query, kind="sqlite", ok=True, rows=3),
    dict(target=page, kind="http", ok=False, status=503, bytes=4,
         error="the server answered with status 503"),
    dict(target=bad_name.encode(errors="surrogateescape")
                        .decode(errors="replace"),
         target_hex=bad_name.encode(errors="surrogateescape").hex(),
         kind="file", ok=True, sha256=digest, bytes=1),
    dict(target=missing, kind="file", ok=False,
         error="cannot open: No such file or directory"),
]
assert rows == wanted, rows
)";
  auto check = test::run({"/usr/bin/python3", "-X", "utf8", "-c", script, file,
                          query, server.url("/page"), bad_name, missing},
                         {.input = end.out});
  CHECK(check.err == "");
  CHECK(check.status == 0);
}

TEST_CASE("targets are read from a file and from standard input", "[fanout]") {
  test::temp_folder folder;
  auto a = folder.write("a", "a");
  auto b = folder.write("b", "a");
  auto line = [](const std::string& path) {
    return std::string{digest_of_a} + "  " + path + "\n";
  };
  auto list = folder.write("list", a + "\n" + b + "\n");
  CHECK(test::fanout({"--list", list}).out == line(a) + line(b));
  CHECK(test::fanout({"--list=" + list, b}).out == line(b) + line(a) + line(b));
  for (texts words : {texts{"-"}, texts{"--list=-"}, texts{"--list", "-"}}) {
    auto end = test::fanout(words, {.input = b + "\n" + a});
    CHECK(end.out == line(b) + line(a));
    CHECK(end.status == 0);
  }
}

TEST_CASE("who writes targets to a pipe sees each result before the next",
          "[fanout]") {
  test::temp_folder folder;
  auto a = folder.write("a", "a");
  auto b = folder.write("b", "a");
  test::child running{test::fanout_command({"-"}), {.hold_input = true}};
  running.write_input(a + "\n");
  // Failure here is a hang: the result is held back.
  running.wait_for_output("  " + a + "\n");
  running.write_input(b + "\n");
  running.wait_for_output("  " + b + "\n");
  running.close_input();
  CHECK(running.wait().status == 0);
}

TEST_CASE("an empty list is nothing to do, and that succeeds", "[fanout]") {
  auto end = test::fanout({"--list", "/dev/null"});
  CHECK(end.status == 0);
  CHECK(end.out.empty());
  CHECK_THAT(end.err, StartsWith("0 requests: 0 succeeded, 0 failed\n"));
}

TEST_CASE("memory stays flat for 100,000 targets", "[fanout]") {
  test::temp_folder folder;
  auto file = folder.write("a", "a");
  std::string list;
  for (auto i = 0; i < 100'000; ++i)
    list += file + "\n";
  auto path = folder.write("list", list);
  auto few = folder.write("few", list.substr(0, (file.size() + 1) * 100));
  auto small = test::fanout({"--list", few});
  auto large = test::fanout({"--list", path});
  CHECK(small.status == 0);
  CHECK(large.status == 0);
  CHECK(test::lines(large.out).size() == 100'000);
  // Holding the results would take 20 MiB and more. Sanitizers keep what was
  // freed, so nothing is flat with them.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(large.peak_kib < small.peak_kib + 4096);
#endif
}

TEST_CASE("a bar is drawn on a terminal, and none when piped", "[fanout]") {
  test::temp_folder folder;
  test::tiny_server server;
  // Held until the bar has been seen.
  test::child running{test::fanout_command({server.url("/")}),
                      {.terminal = true}};
  auto caller = server.accept();
  caller.read_request();
  running.wait_for_output("[------------------------------]   0 %  0 done, "
                          "0 failed, ");
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  CHECK(running.wait().status == 0);
  auto piped = test::fanout({"/etc/passwd"});
  CHECK_THAT(piped.out + piped.err, !Contains("\r") && !Contains("\x1b"));
}

TEST_CASE("the default run is a world where exactly the expected fails",
          "[fanout]") {
  auto end = test::fanout({});
  CHECK(end.status == 0);
  CHECK(end.err.empty());
  CHECK_THAT(end.out, Contains("/missing/20: the server answered with status "
                               "404\n"));
  CHECK_THAT(end.out, Contains("no such table: no_such_table\n"));
  CHECK_THAT(end.out, Contains("no-such-file: cannot open: No such file or "
                               "directory\n"));
  CHECK_THAT(end.out, Contains("400 requests: 392 succeeded, 8 failed (8 of "
                               "them expected, 8 expected in all)\n"));
  CHECK_THAT(end.out, Contains("completion event, as an observing actor "
                               "received it: 400 requests, 400 returned, 0 "
                               "threw, 0 cancelled, after "));
  CHECK_THAT(end.out, !Contains("should have failed"));
}

TEST_CASE("the default run prints JSON as well", "[fanout]") {
  auto end = test::fanout({"--output=json"});
  CHECK(end.status == 0);
  CHECK(test::lines(end.out).size() == 400);
  CHECK_THAT(end.err, Contains("400 requests: 392 succeeded"));
}

TEST_CASE("the default run leaves nothing behind", "[fanout]") {
  test::temp_folder folder;
  auto end = test::run(
      {"/usr/bin/env", "TMPDIR=" + folder.path(), test::fanout_command({})[0]});
  CHECK(end.status == 0);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("sizes are compared in a table with bars", "[fanout]") {
  test::temp_folder folder;
  for (auto i = 0; i < 20; ++i)
    folder.write(std::to_string(i), "x");
  auto end = test::fanout({"--compare", "--troupe.workers=3", folder.path()});
  CHECK(end.status == 0);
  auto rows = test::lines(end.out);
  REQUIRE(rows.size() == 4);
  CHECK_THAT(rows[0], StartsWith("workers   elapsed  speed-up"));
  CHECK_THAT(rows[1], StartsWith("      1  ") && Contains("1.0x"));
  CHECK_THAT(rows[2], StartsWith("      2  "));
  CHECK_THAT(rows[3], StartsWith("      3  ") && Contains("#"));
}

TEST_CASE("sizes are compared in the world of the default run", "[fanout]") {
  auto end = test::fanout({"--compare", "--troupe.workers=8", "--output=json"});
  CHECK(end.status == 0);
  auto rows = test::lines(end.out);
  REQUIRE(rows.size() == 4);
  CHECK_THAT(rows[3], StartsWith("{\"workers\":8,\"ms\":")
                          && Contains("\"requests\":400,\"failed\":8}"));
}
