// The file that a trace writes: valid JSON at any time, with a lane for each
// worker, a span for each request and an arrow between submit and start.

#include "troupe/trace.hpp"

#include "troupe/error.hpp"
#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "json.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

using namespace std::chrono_literals;
using Catch::Contains;
using test::get;
using test::thread_crew;
using troupe::make_batch;
using troupe::make_map_batch;

namespace trace = troupe::trace;

namespace {

class trace_file {
public:
  trace_file() { trace::open(path_.string()); }

  trace_file(const trace_file&) = delete;
  trace_file& operator=(const trace_file&) = delete;

  ~trace_file() {
    trace::close();
    std::filesystem::remove(path_);
  }

  std::string text() const {
    std::ifstream in{path_};
    std::ostringstream all;
    all << in.rdbuf();
    return all.str();
  }

  std::size_t count(std::string_view what) const {
    auto all = text();
    std::size_t result = 0;
    for (auto at = all.find(what); at != all.npos; at = all.find(what, at + 1))
      ++result;
    return result;
  }

private:
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path()
      / ("troupe-trace-" + std::to_string(::getpid()) + ".json");
};

bool valid(const std::string& text) {
  try {
    test::json::parse(text);
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

std::string refusal(const std::string& path) {
  try {
    trace::open(path);
  } catch (const troupe::failure& err) {
    return std::string{troupe::to_string(err.code())} + ": " + err.what();
  }
  trace::close();
  return "none";
}

} // namespace

TEST_CASE("what the tests take for JSON is JSON", "[trace]") {
  CHECK(valid(R"({"a":[1,-2.5e3,"x\"y",{}],"b":[]})"));
  CHECK_FALSE(valid(R"({"a":[1,]})"));
  CHECK_FALSE(valid(R"({"a":[1})"));
  CHECK_FALSE(valid(R"({"a":1} ,)"));
  CHECK_FALSE(valid(""));
}

TEST_CASE("a trace that nothing was added to is valid", "[trace]") {
  trace_file file;
  CHECK(valid(file.text()));
  trace::flush();
  CHECK(valid(file.text()));
}

TEST_CASE("without a trace nothing is recorded, and nothing goes wrong",
          "[trace]") {
  CHECK_FALSE(trace::active());
  trace::submitted({}, "", "load", 1);
  trace::ran({}, {});
  trace::flush();
  trace::close();
  CHECK(trace::left_out() == 0);
}

TEST_CASE("a request is a span on the lane of its worker, and an arrow leads "
          "there",
          "[trace]") {
  trace_file file;
  CHECK(trace::active());
  trace::time_point now = std::chrono::steady_clock::now();
  trace::flow of{&file, now};
  trace::submitted(of, "", "load", 1);
  trace::ran(
      of,
      {.lane = "io-3", .label = "load", .begin = now + 2ms, .end = now + 5ms});
  trace::flush();
  auto text = file.text();
  CHECK(valid(text));
  CHECK_THAT(text, Contains(R"("args":{"name":"io-3"})"));
  CHECK_THAT(text,
             Contains(R"("dur":3000.000,"cat":"request","name":"load",)"
                      R"("args":{"outcome":"succeeded",)"
                      R"("waited_us":2000.000,"requests":1,"failed":0})"));
  CHECK(file.count(R"("ph":"s")") == 1);
  CHECK(file.count(R"("ph":"t")") == 1);
}

TEST_CASE("requests of a pool are traced, with what came of them", "[trace]") {
  trace_file file;
  {
    thread_crew crew{2};
    get(crew.start(make_batch([] {}).label("good")));
    auto bad = crew.start(
        make_batch([] { throw std::runtime_error{"no"}; }).label("bad"));
    CHECK_THROWS(get(bad));
    get(crew.start(
        make_map_batch(std::views::iota(0, 10'000), [](int) {}).label("many")));
    get(crew.start(make_batch([&] {
                     get(crew.start(make_batch([] {}).label("inner")));
                   }).label("outer")));
  }
  trace::flush();
  auto text = file.text();
  CHECK(valid(text));
  CHECK_THAT(text, Contains(R"("name":"good","args":{"outcome":"succeeded")"));
  CHECK_THAT(text, Contains(R"("name":"bad","args":{"outcome":"failed")"));
  CHECK_THAT(text, Contains(R"("name":"many","args":{"outcome":"succeeded")"));
  CHECK_THAT(text, Contains(R"("name":"inner","args":)"));
  CHECK_THAT(text, Contains(R"({"name":"test-1"})"));
  CHECK(file.count(R"("ph":"s")") == 5);
  // Tiny requests are claimed together.
  CHECK(file.count(R"("name":"many")") < 5'000);
}

TEST_CASE("a span of a gather has the label of its request, and not another's",
          "[trace]") {
  trace_file file;
  trace::name_last("mine");
  trace::ran({}, {.lane = "io-1", .label = "all", .begin = {}, .end = {}});
  trace::ran({}, {.lane = "io-1", .label = "all", .begin = {}, .end = {}});
  trace::name_last("one of ten");
  trace::ran(
      {},
      {.lane = "io-1", .label = "all", .begin = {}, .end = {}, .requests = 10});
  trace::flush();
  CHECK(file.count(R"("name":"mine")") == 1);
  CHECK(file.count(R"("name":"all")") == 2);
  CHECK(file.count("one of ten") == 0);
}

TEST_CASE("labels that break JSON do not break the trace", "[trace]") {
  trace_file file;
  trace::ran({},
             {.lane = "a\"b\n", .label = "x\\\xFF\t", .begin = {}, .end = {}});
  trace::flush();
  CHECK(valid(file.text()));
}

TEST_CASE("the file is valid at any time, also before the trace ends",
          "[trace]") {
  trace_file file;
  auto sane = true;
  for (int i = 0; i < 200; ++i) {
    trace::ran({}, {.lane = "io-1", .label = "load", .begin = {}, .end = {}});
    if (i % 3 == 0)
      trace::flush();
    sane = sane && valid(file.text());
  }
  CHECK(sane);
}

TEST_CASE("what does not fit into memory is left out, and counted", "[trace]") {
  trace_file file;
  std::string label(10'000, 'x');
  for (int i = 0; i < 1'000; ++i)
    trace::ran({}, {.lane = "io-1", .label = label, .begin = {}, .end = {}});
  CHECK(trace::left_out() > 0);
  trace::close();
  auto text = file.text();
  CHECK(text.size() <= trace::max_pending + 1'000);
  CHECK(valid(text));
  CHECK_THAT(text, Contains("events left out"));
}

TEST_CASE("a trace that cannot be written is refused in one line", "[trace]") {
  CHECK(refusal("/no/such/folder/trace.json")
        == "invalid_option: cannot write the trace "
           "'/no/such/folder/trace.json': No such file or directory "
           "(accepted: a file that can be written, in a folder that is there "
           "and has room)");
  CHECK(refusal("/dev/full")
        == "invalid_option: cannot write the trace '/dev/full': No space left "
           "on device (accepted: a file that can be written, in a folder that "
           "is there and has room)");
  CHECK_FALSE(trace::active());
}

TEST_CASE("one trace is written at a time", "[trace]") {
  trace_file file;
  CHECK_THAT(refusal("/tmp/another"), Contains("there is a trace already"));
}

// Failure is a data race that a sanitizer sees, or a file that is not whole.
TEST_CASE("threads add to a trace while another one writes it", "[trace]") {
  trace_file file;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([t] {
      auto lane = "io-" + std::to_string(t);
      for (int i = 0; i < 500; ++i)
        trace::ran({}, {.lane = lane, .label = "load", .begin = {}, .end = {}});
    });
  for (int i = 0; i < 50; ++i)
    trace::flush();
  for (auto& x : threads)
    x.join();
  trace::flush();
  CHECK(valid(file.text()));
  CHECK(file.count(R"("ph":"X")") == 1'500);
}
