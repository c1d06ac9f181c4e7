// What mirror does with servers that behave, with some that don't, and with
// users who interrupt it.
#include "child.hpp"
#include "gate.hpp"
#include "page_server.hpp"
#include "temp_folder.hpp"
#include "tiny_server.hpp"

#include "parts/text.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

using texts = std::vector<std::string>;

texts command(texts arguments) {
  arguments.insert(arguments.begin(), MIRROR_BINARY);
  return arguments;
}

test::exited mirror(texts arguments, test::child::settings how) {
  return test::run(command(std::move(arguments)), std::move(how));
}

test::exited mirror(texts arguments) {
  return mirror(std::move(arguments), {});
}

std::string content(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

// Whether nothing is in the folder, but for folders.
bool has_no_file(const std::string& folder) {
  auto all = std::filesystem::recursive_directory_iterator{folder};
  return std::none_of(begin(all), end(all),
                      [](const auto& entry) { return !entry.is_directory(); });
}

// Counts how often each page was asked for.
class visits {
public:
  // Returns how often it was asked for before.
  int add(const std::string& path) {
    std::lock_guard guard{mutex_};
    return counts_[path]++;
  }

  int of(const std::string& path) {
    std::lock_guard guard{mutex_};
    return counts_[path];
  }

private:
  std::mutex mutex_;
  std::map<std::string, int> counts_;
};

void check_usage(const texts& arguments, const std::string& line) {
  auto end = mirror(arguments);
  CHECK(end.status == 2);
  CHECK(end.out.empty());
  REQUIRE(test::lines(end.err).size() == 1);
  CHECK_THAT(end.err, StartsWith("mirror: ") && Contains(line));
}

constexpr auto half_an_answer =
    "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf";

} // namespace

// -- what is fetched ----------------------------------------------------------

TEST_CASE("all URLs of a list are in the folder, byte for byte", "[mirror]") {
  test::temp_folder folder;
  auto body = [](const std::string& path) {
    std::string result;
    for (auto i = 0; i < 1000; ++i)
      result += path + std::string(1, '\0');
    return result;
  };
  test::page_server server{[&](const std::string& path) {
    return test::page{200, body(path)};
  }};
  std::string list;
  for (auto i = 0; i < 300; ++i)
    list += server.url(fmt::format("/d{}/{}?x={}\n", i % 7, i, i));
  auto end =
      mirror({fmt::format("--list={}", folder.write("list", list)),
              fmt::format("--into={}", folder.path("into")), server.url("/")});
  CHECK(end.status == 0);
  CHECK(end.err.empty());
  CHECK_THAT(end.out, StartsWith("fetched 301, already there 0, failed 0; "));
  CHECK_THAT(end.out, Contains("; hedged 0, retried 0\n"));
  auto place = folder.path("into/") + server.host();
  CHECK(content(place + "/index.html") == body("/"));
  for (auto i = 0; i < 300; ++i) {
    auto path = fmt::format("/d{}/{}?x={}", i % 7, i, i);
    CHECK(content(place + path) == body(path));
  }
  CHECK_FALSE(std::filesystem::exists(folder.path("into/.mirror")));
}

TEST_CASE("a rerun fetches only what is missing", "[mirror]") {
  test::temp_folder folder;
  visits seen;
  test::page_server server{[&](const std::string& path) {
    seen.add(path);
    return test::page{200, path};
  }};
  auto into = fmt::format("--into={}", folder.path("into"));
  CHECK(mirror({into, server.url("/a"), server.url("/b")}).status == 0);
  auto end =
      mirror({into, server.url("/a"), server.url("/b"), server.url("/c")});
  CHECK(end.status == 0);
  CHECK_THAT(end.out, StartsWith("fetched 1, already there 2, failed 0; "));
  CHECK(seen.of("/a") == 1);
  CHECK(seen.of("/b") == 1);
  CHECK(seen.of("/c") == 1);
}

TEST_CASE("what is typed is fetched before more is typed", "[mirror]") {
  test::temp_folder folder;
  test::tiny_server server;
  test::child running{
      command({fmt::format("--into={}", folder.path()), "--list=-"}),
      {.hold_input = true}};
  for (auto* path : {"/1", "/2"}) {
    running.write_input(server.url(path) + "\n\n");
    auto caller = server.accept();
    CHECK_THAT(caller.read_request(), StartsWith(fmt::format("GET {} ", path)));
    caller.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                "Connection: close\r\n\r\nok");
  }
  running.close_input();
  auto end = running.wait();
  CHECK(end.status == 0);
  CHECK_THAT(end.out, StartsWith("fetched 2, "));
}

TEST_CASE("a long list takes no more memory than a short one", "[mirror]") {
  test::temp_folder folder;
  test::page_server server{[](const std::string& path) {
    return path == "/0" ? test::page{200, "x"} : test::page{404, {}};
  }};
  auto peak = [&](int count) {
    auto list = server.url("/0\n");
    // Failures, which need no disk to come back from a worker.
    for (auto i = 1; i <= count; ++i)
      list += server.url(fmt::format("/{}\n", i));
    // What is there is passed by as fast as it can be read.
    for (auto i = 0; i < 10 * count; ++i)
      list += server.url("/0\n");
    auto end = mirror(
        {fmt::format("--list={}", folder.write("list", list)), "--per-host=32",
         fmt::format("--into={}", folder.path(std::to_string(count)))});
    CHECK(end.status == 1);
    CHECK_THAT(end.out,
               Contains(fmt::format("failed {}",
                                    parts::human_count(std::size_t(count)))));
    return end.peak_kib;
  };
  // More than is ever under way.
  auto small = peak(1500);
  CHECK(peak(10'000) < small + 8 * 1024);
}

// -- limits -------------------------------------------------------------------

TEST_CASE("one host is asked for as many files at once as may be, no more",
          "[mirror]") {
  test::temp_folder folder;
  std::mutex mutex;
  std::condition_variable changed;
  auto inside = 0;
  auto rounds = 0;
  auto most = 0;
  // Each page waits until three are asked for. Failure here is a hang.
  test::page_server server{[&](const std::string&) {
    std::unique_lock lock{mutex};
    most = std::max(most, ++inside);
    auto round = rounds;
    if (inside % 3 == 0) {
      ++rounds;
      changed.notify_all();
    }
    changed.wait(lock, [&] { return rounds > round; });
    --inside;
    return test::page{200, "x"};
  }};
  texts words{fmt::format("--into={}", folder.path()), "--per-host=3"};
  for (auto i = 0; i < 12; ++i)
    words.push_back(server.url(fmt::format("/{}", i)));
  auto end = mirror(words);
  CHECK(end.status == 0);
  CHECK(most == 3);
}

TEST_CASE("a host that is slow does not hold up the others", "[mirror]") {
  test::temp_folder folder;
  test::gate served;
  test::page_server server{[&](const std::string& path) {
    if (path == "/fast")
      served.open();
    else
      served.pass();
    return test::page{200, "x"};
  }};
  test::open_at_exit guard{served};
  texts words{fmt::format("--into={}", folder.path()), "--per-host=1"};
  for (auto i = 0; i < 100; ++i)
    words.push_back(server.url(fmt::format("/slow/{}", i)));
  words.push_back(fmt::format("http://{}/fast", server.host("localhost")));
  // Failure here is a hang.
  CHECK(mirror(words).status == 0);
}

// -- failures -----------------------------------------------------------------

TEST_CASE("a failure that may pass is tried again", "[mirror]") {
  for (auto status : {500, 503, 429}) {
    CAPTURE(status);
    test::temp_folder folder;
    visits seen;
    test::page_server server{[&](const std::string& path) {
      return seen.add(path) == 0 ? test::page{status, "sorry"}
                                 : test::page{200, "good"};
    }};
    auto end =
        mirror({fmt::format("--into={}", folder.path()), server.url("/a")});
    CHECK(end.status == 0);
    CHECK(end.err.empty());
    CHECK_THAT(end.out, StartsWith("fetched 1, ") && Contains("retried 1\n"));
    CHECK(content(folder.path(server.host() + "/a")) == "good");
  }
}

TEST_CASE("a broken connection is tried again", "[mirror]") {
  test::temp_folder folder;
  test::tiny_server server;
  test::child running{
      command({fmt::format("--into={}", folder.path()), server.url("/a")})};
  {
    auto caller = server.accept();
    caller.read_request();
    caller.send(half_an_answer);
  }
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole");
  auto end = running.wait();
  CHECK(end.status == 0);
  CHECK_THAT(end.out, Contains("retried 1\n"));
  auto path = server.url("/a").substr(7);
  CHECK(content(folder.path(path)) == "whole");
}

TEST_CASE("a failure that stays is told once, with its cause", "[mirror]") {
  test::temp_folder folder;
  visits seen;
  test::page_server server{[&](const std::string& path) {
    seen.add(path);
    return test::page{path == "/missing"  ? 404
                      : path == "/broken" ? 500
                                          : 200,
                      "x"};
  }};
  test::tiny_server deaf{false};
  auto end = mirror({fmt::format("--into={}", folder.path()), "--attempts=2",
                     server.url("/missing"), server.url("/broken"),
                     deaf.url("/x"), "nonsense\x1b[2J", server.url("/good"),
                     server.url("/good/below")});
  CHECK(end.status == 1);
  auto told = test::lines(end.err);
  std::sort(told.begin(), told.end());
  REQUIRE(told.size() >= 4);
  // One of these two has come too late.
  auto clash = std::remove_if(told.begin(), told.end(), [](const auto& line) {
    return line.find("/good") != std::string::npos;
  });
  CHECK(told.end() - clash == 1);
  told.erase(clash, told.end());
  texts expected{
      fmt::format("failed: {}: the server answered with status 404",
                  server.url("/missing")),
      fmt::format("failed: {}: the server answered with status 500",
                  server.url("/broken")),
      fmt::format("failed: {}: cannot connect: Connection refused",
                  deaf.url("/x")),
      "failed: nonsense\\x1b[2J: not a URL that can be fetched (accepted: "
      "http://HOST/PATH and https://HOST/PATH)"};
  std::sort(expected.begin(), expected.end());
  CHECK(told == expected);
  CHECK_THAT(end.out, StartsWith("fetched 1, already there 0, failed 5; ")
                          && Contains("retried 2\n"));
  // Only what may pass is tried again.
  CHECK(seen.of("/missing") == 1);
  CHECK(seen.of("/broken") == 2);
  CHECK_FALSE(std::filesystem::exists(folder.path(server.host() + "/missing")));
}

TEST_CASE("a file that cannot be written is a failure of that file alone",
          "[mirror]") {
  test::temp_folder folder;
  test::page_server server{[](const std::string&) {
    return test::page{200, "x"};
  }};
  folder.write(server.host() + "/a", "in the way");
  auto end = mirror({fmt::format("--into={}", folder.path()),
                     server.url("/a/b"), server.url("/c")});
  CHECK(end.status == 1);
  CHECK(end.err
        == fmt::format(
            "failed: {}: cannot make the folder '{}/a': a file is there, "
            "which another URL has brought\n",
            server.url("/a/b"), server.host()));
  CHECK_THAT(end.out, StartsWith("fetched 1, already there 0, failed 1; "));
}

// -- hedges and deadlines -----------------------------------------------------

TEST_CASE("a slow answer is asked for a second time", "[mirror]") {
  test::temp_folder folder;
  visits seen;
  test::gate late;
  test::page_server server{[&](const std::string& path) {
    if (seen.add(path) == 0)
      late.pass();
    return test::page{200, "good"};
  }};
  test::open_at_exit guard{late};
  // Failure here is a hang: the first answer never comes.
  auto end = mirror({fmt::format("--into={}", folder.path()),
                     "--hedge-after=20ms", server.url("/a")});
  CHECK(end.status == 0);
  CHECK_THAT(end.out, StartsWith("fetched 1, ") && Contains("hedged 1, "));
  CHECK(content(folder.path(server.host() + "/a")) == "good");
  CHECK_FALSE(std::filesystem::exists(folder.path(".mirror")));
}

TEST_CASE("a deadline ends the whole, and what it left is counted",
          "[mirror]") {
  test::temp_folder folder;
  test::tiny_server server;
  test::child running{command(
      {fmt::format("--into={}", folder.path()), "--deadline=2s", "--per-host=1",
       server.url("/1"), server.url("/2"), server.url("/3")})};
  auto caller = server.accept();
  caller.read_request();
  caller.send(half_an_answer);
  // Failure here is a hang: the rest never comes.
  auto end = running.wait();
  CHECK(end.status == 1);
  CHECK(end.err.empty());
  CHECK_THAT(end.out,
             StartsWith("fetched 0, already there 0, failed 0; ")
                 && Contains("the deadline passed: 1 stopped on the way, 2 "
                             "never started\n"));
  CHECK(has_no_file(folder.path()));
}

TEST_CASE("a deadline ends the wait for a list that somebody types",
          "[mirror]") {
  test::temp_folder folder;
  test::child running{command({fmt::format("--into={}", folder.path()),
                               "--deadline=50ms", "--list=-"}),
                      {.hold_input = true}};
  // Failure here is a hang: nobody types anything.
  auto end = running.wait();
  CHECK(end.status == 1);
  CHECK_THAT(end.out, Contains("the deadline passed: 0 stopped on the way, at "
                               "least 0 never started\n"));
}

// -- interrupts ---------------------------------------------------------------

TEST_CASE("an interrupted run leaves no half file", "[mirror]") {
  test::temp_folder folder;
  test::tiny_server server;
  test::child running{
      command({fmt::format("--into={}", folder.path()), "--per-host=1",
               server.url("/1"), server.url("/2")})};
  auto caller = server.accept();
  caller.read_request();
  caller.send(half_an_answer);
  running.signal(SIGINT);
  // Failure here is a hang: the rest never comes.
  auto end = running.wait();
  CHECK(end.status == 130);
  CHECK(end.err.empty());
  CHECK_THAT(end.out, Contains("interrupted: 1 stopped on the way, 1 never "
                               "started\n"));
  CHECK(has_no_file(folder.path()));
  CHECK_FALSE(std::filesystem::exists(folder.path(".mirror")));
}

TEST_CASE("a run that was killed leaves no half file, and the next one none "
          "of its own",
          "[mirror]") {
  test::temp_folder folder;
  test::tiny_server server;
  auto words =
      command({fmt::format("--into={}", folder.path()), server.url("/1")});
  auto place = folder.path(server.url("/1").substr(7));
  {
    test::child running{words};
    auto caller = server.accept();
    caller.read_request();
    caller.send(half_an_answer);
    running.signal(SIGKILL);
    CHECK(running.wait().status == 128 + SIGKILL);
  }
  CHECK_FALSE(std::filesystem::exists(place));
  CHECK_FALSE(has_no_file(folder.path(".mirror")));
  test::child running{words};
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole");
  CHECK(running.wait().status == 0);
  CHECK(content(place) == "whole");
  CHECK_FALSE(std::filesystem::exists(folder.path(".mirror")));
}

TEST_CASE("an interrupt ends the wait for a list, and for another attempt",
          "[mirror]") {
  test::temp_folder folder;
  test::tiny_server server;
  test::child running{command({fmt::format("--into={}", folder.path()),
                               "--list=-", "--attempts=1000"}),
                      {.hold_input = true}};
  running.write_input(server.url("/1") + "\n");
  {
    auto caller = server.accept();
    caller.read_request();
    caller.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n"
                "Connection: close\r\n\r\n");
  }
  // The second attempt shows that the first has failed.
  auto caller = server.accept();
  running.signal(SIGINT);
  // Failure here is a hang, or nearly so.
  auto end = running.wait();
  CHECK(end.status == 130);
}

// -- what is shown, and bad usage ---------------------------------------------

TEST_CASE("a terminal shows how far a mirror is", "[mirror]") {
  test::temp_folder folder;
  test::tiny_server server;
  test::child running{command({fmt::format("--into={}", folder.path()),
                               server.url("/1"), "nonsense"}),
                      {.terminal = true}};
  auto caller = server.accept();
  caller.read_request();
  running.wait_for_output(" 50 %  1 done, 1 failed, ");
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole");
  auto end = running.wait();
  CHECK(end.status == 1);
  CHECK_THAT(end.out, Contains("failed: nonsense: not a URL")
                          && Contains("fetched 1, "));
}

TEST_CASE("bad usage of mirror is one line and status 2", "[mirror]") {
  test::temp_folder folder;
  auto into = fmt::format("--into={}", folder.path());
  check_usage({"--no-such-option"}, "--no-such-option");
  check_usage({"http://h/"}, "--into is missing");
  check_usage({into}, "nothing to fetch (accepted: URLs as arguments, "
                      "--list=FILE with one a line)");
  check_usage({into, "--per-host=0", "http://h/"}, "per-host = '0'");
  check_usage({into, "--per-host=many", "http://h/"}, "per-host = 'many'");
  check_usage({into, "--attempts=0", "http://h/"}, "attempts = '0'");
  check_usage({into, "--hedge-after=0s", "http://h/"},
              "hedge-after = '0s': every file would be fetched twice");
  check_usage({into, "--hedge-after=soon", "http://h/"},
              "hedge-after = 'soon'");
  check_usage({into, "--deadline=-1s", "http://h/"}, "deadline = '-1s'");
  check_usage({into, "--deadline=", "http://h/"}, "deadline = ''");
  check_usage({into, "--hedge-after=", "http://h/"}, "hedge-after = ''");
  check_usage({into, "--list=", "http://h/"}, "cannot read the list ''");
  check_usage({into, "--troupe.workers=0", "http://h/"},
              "troupe.workers = '0'");
  check_usage(
      {into, fmt::format("--list={}", folder.path("none"))},
      fmt::format("cannot read the list '{}': No such file or directory",
                  folder.path("none")));
  auto file = folder.write("file", "");
  check_usage({"--into=" + file, "http://h/"},
              fmt::format("cannot mirror into '{}': Not a directory", file));
  check_usage({"--into=/proc/none", "http://h/"},
              "cannot mirror into '/proc/none': ");
}

TEST_CASE("a summary that nobody takes is an error", "[mirror]") {
  test::temp_folder folder;
  auto with = [&](const char* redirection) {
    return test::run({"/bin/sh", "-c",
                      fmt::format("exec \"$0\" \"$@\" {}", redirection),
                      MIRROR_BINARY, fmt::format("--into={}", folder.path()),
                      "--list=/dev/null"});
  };
  auto full = with("> /dev/full");
  CHECK(full.status == 1);
  CHECK(
      full.err
      == "mirror: cannot write to standard output: No space left on device\n");
  // Nor does it go into a file that has got the number of a closed one.
  auto closed = with(">&-");
  CHECK(closed.status == 1);
  CHECK(closed.err
        == "mirror: cannot write to standard output: Bad file descriptor\n");
}

TEST_CASE("two runs into one folder do not meet", "[mirror]") {
  test::temp_folder folder;
  test::tiny_server server;
  test::child running{
      command({fmt::format("--into={}", folder.path()), server.url("/1")})};
  auto caller = server.accept();
  caller.read_request();
  check_usage(
      {fmt::format("--into={}", folder.path()), server.url("/2")},
      fmt::format("cannot mirror into '{}': another process does so right "
                  "now",
                  folder.path()));
}
