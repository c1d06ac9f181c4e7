// Bad input to fanout, and bad luck: what it concerns says so, all else is as
// it would be without it.
#include "child.hpp"
#include "read_watch.hpp"
#include "temp_folder.hpp"
#include "tiny_server.hpp"

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

using texts = std::vector<std::string>;

constexpr auto digest_of_a =
    "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

// Checks that `target` fails with `cause`, between two files that succeed.
void check_fails(const std::string& target, const std::string& cause) {
  CAPTURE(target);
  test::temp_folder folder;
  auto good = folder.write("good", "a");
  auto end = test::fanout({good, target, good});
  CHECK(end.status == 1);
  auto line = std::string{digest_of_a} + "  " + good;
  CHECK(test::lines(end.out) == texts{line, line});
  auto told = test::lines(end.err);
  REQUIRE(told.size() > 1);
  CHECK_THAT(told[0], StartsWith("failed: " + target + ": " + cause));
  CHECK(told[1] == "3 requests: 2 succeeded, 1 failed");
}

// A file that takes for ever to read, without taking room on the disk.
std::string endless(const test::temp_folder& folder) {
  auto path = folder.write("endless", "");
  std::filesystem::resize_file(path, std::uintmax_t{1} << 42);
  return path;
}

void check_usage(const texts& arguments, const std::string& line) {
  auto end = test::fanout(arguments);
  CHECK(end.status == 2);
  CHECK(end.out.empty());
  REQUIRE(test::lines(end.err).size() == 1);
  CHECK_THAT(end.err, StartsWith("fanout: ") && Contains(line));
}

} // namespace

// -- targets ------------------------------------------------------------------

TEST_CASE("a target that does not exist fails alone", "[fanout]") {
  test::temp_folder folder;
  check_fails(folder.path("none"), "cannot open: No such file or directory");
}

TEST_CASE("a file that may not be read fails alone", "[fanout]") {
  // Also root may not read this one.
  check_fails("/proc/self/mem", "cannot read: Input/output error");
}

TEST_CASE("a loop of links fails alone", "[fanout]") {
  test::temp_folder folder;
  std::filesystem::create_symlink("b", folder.path("a"));
  std::filesystem::create_symlink("a", folder.path("b"));
  check_fails(folder.path("a"),
              "cannot open: Too many levels of symbolic links");
}

TEST_CASE("a folder that loops fails alone, where it loops", "[fanout]") {
  test::temp_folder folder;
  auto file = folder.write("d/file", "a");
  std::filesystem::create_symlink("..", folder.path("d/up"));
  auto end = test::fanout({"--follow", folder.path()});
  CHECK(end.status == 1);
  CHECK(end.out == std::string{digest_of_a} + "  " + file + "\n");
  CHECK_THAT(end.err, StartsWith("failed: " + folder.path("d/up")
                                 + ": directory loop: "));
  auto without = test::fanout({folder.path()});
  CHECK(without.status == 0);
  CHECK_THAT(without.err, StartsWith("fanout: passed by 1 symbolic link"));
}

TEST_CASE("what is no regular file fails alone and is not waited for",
          "[fanout]") {
  test::temp_folder folder;
  auto fifo = folder.path("fifo");
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  check_fails(fifo, "not a regular file but a FIFO");
  check_fails("/dev/zero", "not a regular file but a device");
}

TEST_CASE("a file that changes while it is read fails alone", "[fanout]") {
  test::temp_folder folder;
  auto path = endless(folder);
  auto good = folder.write("good", "a");
  test::read_watch watch{path};
  test::child running{test::fanout_command({path, good})};
  watch.wait();
  std::filesystem::resize_file(path, 0);
  auto end = running.wait();
  CHECK(end.status == 1);
  CHECK(end.out == std::string{digest_of_a} + "  " + good + "\n");
  CHECK_THAT(end.err, StartsWith("failed: " + path
                                 + ": it changed while it was read\n"));
}

TEST_CASE("a file that vanishes while it is read fails alone", "[fanout]") {
  test::temp_folder folder;
  auto path = endless(folder);
  auto good = folder.write("good", "a");
  test::read_watch watch{path};
  test::child running{test::fanout_command({path, good})};
  watch.wait();
  auto held = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  std::filesystem::remove(path);
  REQUIRE(ftruncate(held, 0) == 0);
  close(held);
  auto end = running.wait();
  CHECK(end.status == 1);
  CHECK(end.out == std::string{digest_of_a} + "  " + good + "\n");
  CHECK_THAT(end.err, StartsWith("failed: " + path
                                 + ": it vanished while it was read\n"));
}

TEST_CASE("a URL whose port refuses fails alone", "[fanout]") {
  test::tiny_server deaf{false};
  check_fails(deaf.url("/x"), "cannot connect: Connection refused");
}

TEST_CASE("a server that hangs up half-way fails alone", "[fanout]") {
  test::temp_folder folder;
  test::tiny_server server;
  auto good = folder.write("good", "a");
  test::child running{
      test::fanout_command({good, server.url("/x"), server.url("/y")})};
  for (auto i = 0; i < 2; ++i) {
    auto caller = server.accept();
    auto head = caller.read_request();
    caller.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    caller.send(head.starts_with("GET /x") ? "ha" : "full");
  }
  auto end = running.wait();
  CHECK(end.status == 1);
  CHECK(test::lines(end.out)
        == texts{std::string{digest_of_a} + "  " + good,
                 "200  4 B  " + server.url("/y")});
  CHECK_THAT(end.err, StartsWith("failed: " + server.url("/x")
                                 + ": the server hung up half-way: "));
}

TEST_CASE("a corrupt database and a bad query fail alone", "[fanout]") {
  test::temp_folder folder;
  auto corrupt = folder.write("corrupt.db", std::string(4096, 'x'));
  check_fails("sqlite:" + corrupt + "?SELECT 1 FROM t",
              "cannot run the query: file is not a database");
  auto empty = folder.write("empty.db", "");
  check_fails("sqlite:" + empty + "?SELEC", "cannot run the query: near ");
  check_fails("sqlite:" + folder.path("none.db") + "?SELECT 1",
              "cannot open the database: No such file or directory");
  check_fails("sqlite:" + empty, "not of the form sqlite:FILE?QUERY");
}

TEST_CASE("a failure line is one line, whatever the name", "[fanout]") {
  test::temp_folder folder;
  auto end = test::fanout({folder.path("a\n\x1b[2J")});
  CHECK(end.status == 1);
  CHECK_THAT(end.err, StartsWith("failed: " + folder.path("a\\n\\x1b[2J")
                                 + ": cannot open: "));
}

TEST_CASE("results that nobody takes end the run with an error", "[fanout]") {
  auto end = test::run({"/bin/sh", "-c", "exec \"$0\" \"$1\" > /dev/full",
                        test::fanout_command({})[0], "/etc/passwd"});
  CHECK(end.status == 1);
  CHECK_THAT(end.err, Contains("cannot write to standard output: No space left "
                               "on device"));
}

TEST_CASE("a table that nobody takes is an error, too", "[fanout]") {
  auto end =
      test::run({"/bin/sh", "-c", "exec \"$0\" --compare \"$1\" > /dev/full",
                 test::fanout_command({})[0], "/etc/passwd"});
  CHECK(end.status == 1);
  CHECK_THAT(end.err, Contains("cannot write to standard output: No space left "
                               "on device"));
}

TEST_CASE("no other file is taken for a closed standard one", "[fanout]") {
  auto with = [](const std::string& redirection) {
    return test::run({"/bin/sh", "-c", "exec \"$0\" \"$@\" " + redirection,
                      test::fanout_command({})[0], "/etc/passwd", "-"});
  };
  auto no_output = with(">&-");
  CHECK(no_output.status == 1);
  CHECK_THAT(no_output.err,
             Contains("cannot write to standard output: Bad file descriptor"));
  CHECK(with("2>&-").status == 0);
  auto no_list = with("<&-");
  CHECK(no_list.status == 1);
  CHECK(test::lines(no_list.out).size() == 1);
  CHECK_THAT(no_list.err, StartsWith("failed: (standard input): cannot read "
                                     "this list: Bad file descriptor\n"));
  // Failure here is a hang: it waits for what never comes.
  auto no_input = test::run({"/bin/sh", "-c", "exec \"$0\" --list=- <&-",
                             test::fanout_command({})[0]});
  CHECK(no_input.status == 2);
  CHECK(no_input.err
        == "fanout: cannot read the list '-': Bad file descriptor\n");
}

// -- usage --------------------------------------------------------------------

TEST_CASE("bad options are one line and status 2", "[fanout]") {
  check_usage({"--no-such-option"}, "--no-such-option");
  check_usage({"--output=xml"},
              "output = 'xml': not a format (accepted: text, json)");
  check_usage({"--troupe.workers=0"}, "troupe.workers = '0'");
  check_usage({"--troupe.workers=-3"}, "troupe.workers = '-3'");
  check_usage({"--troupe.workers=many"}, "troupe.workers = 'many'");
  check_usage({"--list"}, "list");
  // An empty variable of a script is no wish for a run without.
  check_usage({"--list="}, "cannot read the list '': No such file");
  check_usage({"--trace=", "/etc/passwd"}, "cannot write the trace ''");
}

TEST_CASE("a list that cannot be read is one line and status 2", "[fanout]") {
  test::temp_folder folder;
  check_usage({"--list", folder.path("none")},
              "cannot read the list '" + folder.path("none")
                  + "': No such file or directory");
  check_usage({"--list", folder.path()}, "Is a directory");
}

TEST_CASE("standard input cannot be read twice", "[fanout]") {
  check_usage({"-", "--list=-"}, "standard input: given as a list more than "
                                 "once");
  check_usage({"-", "--compare"}, "compare: a list from a pipe can be read "
                                  "only once");
}

// -- interrupts ---------------------------------------------------------------

TEST_CASE("SIGINT ends a run between requests, and counts what it left",
          "[fanout]") {
  test::temp_folder folder;
  test::tiny_server server;
  auto file = folder.write("a", "a");
  texts words{"--troupe.workers=1", file, file, server.url("/never")};
  for (auto i = 0; i < 50; ++i)
    words.push_back(file);
  test::child running{test::fanout_command(words)};
  auto caller = server.accept();
  caller.read_request();
  running.signal(SIGINT);
  // Failure here is a hang: the server never answers.
  auto end = running.wait();
  CHECK(end.status == 130);
  CHECK(test::lines(end.out).size() == 2);
  CHECK_THAT(end.err, Contains("interrupted: 2 done, 1 stopped on the way, 50 "
                               "never started\n"));
}

TEST_CASE("SIGTERM does the same, with a status of its own", "[fanout]") {
  test::tiny_server server;
  test::child running{test::fanout_command({server.url("/never")})};
  auto caller = server.accept();
  caller.read_request();
  running.signal(SIGTERM);
  auto end = running.wait();
  CHECK(end.status == 143);
  CHECK_THAT(end.err, Contains("interrupted: 0 done, 1 stopped on the way, 0 "
                               "never started\n"));
}

TEST_CASE("SIGINT stops the reading of a large file", "[fanout]") {
  test::temp_folder folder;
  auto path = endless(folder);
  test::read_watch watch{path};
  test::child running{test::fanout_command({path})};
  watch.wait();
  running.signal(SIGINT);
  // Failure here is a hang, or nearly so.
  CHECK(running.wait().status == 130);
}

TEST_CASE("SIGINT ends the wait for a list that somebody types", "[fanout]") {
  test::temp_folder folder;
  test::tiny_server server;
  test::child running{test::fanout_command({server.url("/1"), "-"}),
                      {.hold_input = true}};
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  running.signal(SIGINT);
  // Failure here is a hang: nobody types anything.
  CHECK(running.wait().status == 130);
}

TEST_CASE("SIGINT also ends what a shell started in the background",
          "[fanout]") {
  test::tiny_server server;
  // There, a shell has its children ignore SIGINT.
  test::child running{{"/bin/sh", "-c", "trap '' INT; exec \"$0\" \"$1\"",
                       test::fanout_command({})[0], server.url("/never")}};
  auto caller = server.accept();
  caller.read_request();
  running.signal(SIGINT);
  CHECK(running.wait().status == 130);
}

TEST_CASE("SIGINT in the default run counts every request once", "[fanout]") {
  test::child running{test::fanout_command({"--troupe.workers=1"}),
                      {.terminal = true}};
  // In the middle of more than two seconds of work.
  running.wait_for_output(" done, ");
  running.signal(SIGINT);
  auto end = running.wait();
  CHECK(end.status == 130);
  int done;
  int stopped;
  int never;
  auto* told = std::strstr(end.out.c_str(), "interrupted: ");
  REQUIRE(told != nullptr);
  REQUIRE(std::sscanf(told,
                      "interrupted: %d done, %d stopped on the way, %d never "
                      "started",
                      &done, &stopped, &never)
          == 3);
  CHECK(done + stopped + never == 400);
  CHECK(stopped <= 1);
}

TEST_CASE("results that nobody takes end the wait for more input", "[fanout]") {
  test::temp_folder folder;
  auto file = folder.write("a", "a");
  test::child running{{"/bin/sh", "-c", "exec \"$0\" - > /dev/full",
                       test::fanout_command({})[0]},
                      {.hold_input = true}};
  running.write_input(file + "\n");
  // Failure here is a hang: nobody writes anything more.
  CHECK(running.wait().status == 1);
}
