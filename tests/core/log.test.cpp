// The log of a process: where its lines go, and that nobody is hurt by it.

#include "troupe/log.hpp"

#include <catch2/catch.hpp>

#include <cstdio>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "captured_log.hpp"

using troupe::log_entry;
using troupe::log_level;
using troupe::set_log_sink;
using troupe::write_log;

namespace {

// Runs `fn` and returns what it wrote to stderr.
template <class F>
std::string stderr_of(F fn) {
  std::fflush(stderr);
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(),
                                                       &std::fclose};
  REQUIRE(file);
  auto saved = ::dup(STDERR_FILENO);
  ::dup2(::fileno(file.get()), STDERR_FILENO);
  fn();
  std::fflush(stderr);
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  std::rewind(file.get());
  std::string text;
  for (int c; (c = std::fgetc(file.get())) != EOF;)
    text += static_cast<char>(c);
  return text;
}

} // namespace

TEST_CASE("without a sink the log is one line each on stderr", "[log]") {
  auto text = stderr_of([] {
    write_log(log_level::warning, "io", "runs with 3 workers");
    write_log(log_level::info, {}, "two\nlines");
  });
  CHECK(text
        == "troupe: pool 'io': runs with 3 workers\n"
           "troupe: two lines\n");
}

TEST_CASE("a sink gets level, pool and text, and stderr nothing", "[log]") {
  test::captured_log log;
  auto text =
      stderr_of([] { write_log(log_level::error, "db", "worker db-1 ended"); });
  CHECK(text.empty());
  REQUIRE(log.entries().size() == 1);
  CHECK(log.entries()[0].level == log_level::error);
  CHECK(log.entries()[0].pool == "db");
  CHECK(log.entries()[0].text == "worker db-1 ended");
}

TEST_CASE("what a sink throws hurts nobody and the line goes to stderr",
          "[log]") {
  auto before = set_log_sink([](const log_entry&) { throw 42; });
  auto text = stderr_of([] { write_log(log_level::info, "io", "hello"); });
  set_log_sink(before);
  CHECK(text == "troupe: pool 'io': hello\n");
}

TEST_CASE("set_log_sink returns the former sink so that it can be put back",
          "[log]") {
  test::captured_log outer;
  {
    test::captured_log inner;
    write_log(log_level::info, {}, "to the inner one");
    CHECK(inner.texts() == std::vector<std::string>{"to the inner one"});
  }
  write_log(log_level::info, {}, "to the outer one");
  CHECK(outer.texts() == std::vector<std::string>{"to the outer one"});
}

TEST_CASE("a sink may log and set another sink", "[log]") {
  std::vector<std::string> seen;
  auto before = set_log_sink([&seen](const log_entry& entry) {
    seen.push_back(entry.text);
    auto self = set_log_sink(
        [&seen](const log_entry& other) { seen.push_back(other.text); });
    write_log(log_level::info, {}, "from within");
    set_log_sink(self);
  });
  write_log(log_level::info, {}, "first");
  set_log_sink(before);
  CHECK(seen == std::vector<std::string>{"first", "from within"});
}

TEST_CASE("threads log at once while sinks come and go", "[log]") {
  test::captured_log log;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([] {
      for (int n = 0; n < 250; ++n)
        write_log(log_level::info, "io", std::to_string(n));
    });
  for (int n = 0; n < 250; ++n)
    set_log_sink(set_log_sink([](const log_entry&) {}));
  for (auto& thread : threads)
    thread.join();
  // Each went to one sink or the other; none crashed. The last one is back.
  CHECK(log.entries().size() <= 1'000);
  auto before = log.entries().size();
  write_log(log_level::info, {}, "the end");
  CHECK(log.entries().size() == before + 1);
}

TEST_CASE("each level has a name", "[log]") {
  CHECK(to_string(log_level::info) == "info");
  CHECK(to_string(log_level::warning) == "warning");
  CHECK(to_string(log_level::error) == "error");
}
