// The trace that fanout writes, as whoever opens it finds it: valid, and with
// what was done by then, however the program has ended.

#include "child.hpp"
#include "json.hpp"
#include "temp_folder.hpp"
#include "tiny_server.hpp"

#include <catch2/catch.hpp>

#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/inotify.h>
#include <unistd.h>

using Catch::Contains;
using test::json;

namespace {

json read_trace(const std::string& path) {
  std::ifstream file{path};
  return json::parse(std::string{std::istreambuf_iterator<char>{file}, {}});
}

/// What a trace has of the requests that ran.
struct spans {
  double requests = 0;
  std::set<std::string> labels;
  std::set<double> lanes;
  int arrows = 0;
};

spans spans_of(const json& trace) {
  spans result;
  for (const auto& event : trace["traceEvents"].items()) {
    if (event["ph"].text() == "s")
      ++result.arrows;
    if (event["ph"].text() != "X" || event["cat"].text() != "request")
      continue;
    // Elements of an imap, which have spans of their own, are its parts.
    if (event["name"].text() == "imap")
      continue;
    CHECK(event["dur"].number() >= 0);
    CHECK(event["args"]["waited_us"].number() >= 0);
    CHECK_FALSE(event["args"]["outcome"].text().empty());
    result.requests += event["args"]["requests"].number();
    result.labels.insert(event["name"].text());
    result.lanes.insert(event["tid"].number());
  }
  return result;
}

/// Blocks until a file that somebody writes to is as a test wants it.
void await_file(const std::string& path, const std::function<bool()>& good) {
  auto watch = inotify_init1(IN_CLOEXEC);
  if (inotify_add_watch(watch, path.c_str(), IN_MODIFY) < 0)
    throw std::runtime_error{"cannot watch " + path};
  char event[4096];
  while (!good())
    if (read(watch, event, sizeof(event)) <= 0)
      throw std::runtime_error{"cannot watch a file any more"};
  close(watch);
}

/// Two files that are read at once, and a page that never comes, on one worker
/// after the other.
class stopped_fanout {
public:
  explicit stopped_fanout(const std::string& option)
      : running_{test::fanout_command(
          {"--troupe.workers=1", option + "=" + trace, files_.write("a", "a"),
           files_.write("b", "b"), server_.url("/never")})} {
    auto caller = server_.accept();
    caller.read_request();
    hold_.push_back(std::move(caller));
  }

  test::exited end_by(int signal) {
    running_.signal(signal);
    return running_.wait();
  }

private:
  test::temp_folder files_;
  test::tiny_server server_;

public:
  const std::string trace = files_.path("trace.json");

private:
  test::child running_;
  std::vector<test::connection> hold_;
};

} // namespace

TEST_CASE("the trace of fanout has every request, on the lane of its worker",
          "[trace]") {
  test::temp_folder folder;
  auto path = folder.path("trace.json");
  auto end = test::fanout({"--troupe.workers=3", "--trace=" + path});
  CHECK(end.status == 0);
  auto seen = spans_of(read_trace(path));
  CHECK(seen.requests == 400);
  CHECK(seen.lanes.size() == 3);
  CHECK(seen.arrows >= 1);
  // Each has the label of its own; some are asked for more than once.
  CHECK(seen.labels.size() > 100);
}

TEST_CASE("a trace that SIGINT cuts short is valid, and has what was done",
          "[trace]") {
  stopped_fanout fan{"--trace"};
  CHECK(fan.end_by(SIGINT).status == 130);
  // The page was stopped on its way, and is there, too.
  CHECK(spans_of(read_trace(fan.trace)).requests == 3);
}

TEST_CASE("a trace that SIGTERM cuts short is valid, and has what was done",
          "[trace]") {
  stopped_fanout fan{"--troupe.trace"};
  CHECK(fan.end_by(SIGTERM).status == 143);
  CHECK(spans_of(read_trace(fan.trace)).requests == 3);
}

TEST_CASE("a trace of a program that was killed is valid, and has what was "
          "done a moment before",
          "[trace]") {
  stopped_fanout fan{"--trace"};
  // Failure here is a hang: the file is written while the program runs.
  await_file(fan.trace,
             [&] { return spans_of(read_trace(fan.trace)).requests == 2; });
  CHECK(fan.end_by(SIGKILL).status == 128 + SIGKILL);
  CHECK(spans_of(read_trace(fan.trace)).requests == 2);
}

TEST_CASE("a trace that cannot be written is one line, and nothing is started",
          "[trace]") {
  for (auto option : {"--trace", "--troupe.trace"}) {
    auto end = test::fanout({std::string{option} + "=/no/such/folder/t.json"});
    CHECK(end.status == 2);
    CHECK(end.out.empty());
    CHECK(test::lines(end.err).size() == 1);
    CHECK_THAT(end.err,
               Contains("cannot write the trace '/no/such/folder/t.json': No "
                        "such file or directory"));
  }
}

#ifdef TROUPE_PYTHON
TEST_CASE("draw_trace draws a lane for each worker and a span for each request",
          "[trace]") {
  test::temp_folder folder;
  auto path = folder.path("trace.json");
  CHECK(test::fanout({"--troupe.workers=3", "--trace=" + path}).status == 0);
  auto drawn = test::run({TROUPE_PYTHON, DRAW_TRACE, path});
  CHECK(drawn.err.empty());
  REQUIRE(drawn.status == 0);
  auto count = [&](std::string_view what) {
    auto result = 0;
    for (auto at = drawn.out.find(what); at != std::string::npos;
         at = drawn.out.find(what, at + 1))
      ++result;
    return result;
  };
  CHECK(drawn.out.starts_with("<svg "));
  CHECK(count(">fanout-") == 3);
  // The submit of all has a span, too.
  CHECK(count("<rect class=\"span\"") == 401);
  CHECK(count("<path class=\"arrow\"") == 3);
}

TEST_CASE("draw_trace says in one line what it cannot draw", "[trace]") {
  test::temp_folder folder;
  for (const auto& path : {folder.path("none"), folder.write("text", "no JSON"),
                           folder.write("other", "{\"traceEvents\":[{}]}"),
                           folder.write("empty", "{\"traceEvents\":[]}")}) {
    auto end = test::run({TROUPE_PYTHON, DRAW_TRACE, path});
    CHECK(end.status == 1);
    CHECK(end.out.empty());
    CHECK(test::lines(end.err).size() == 1);
    CHECK_THAT(end.err, Contains("draw_trace: "));
  }
}
#endif
