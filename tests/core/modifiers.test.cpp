// The arithmetic of retries, the meter behind progress functions, and tags.

#include "troupe/modifiers.hpp"

#include "troupe/run_batch.hpp"

#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <ranges>
#include <stdexcept>
#include <thread>
#include <vector>

#include "troupe/map_batch.hpp"

using namespace std::chrono_literals;

using test::batch_of;
using test::get;
using test::thread_crew;
using troupe::make_batch;
using troupe::make_map_batch;
using troupe::progress;

// -- backoff ------------------------------------------------------------------

TEST_CASE("each wait is longer than the one before, up to the limit",
          "[modifiers]") {
  troupe::retry_policy policy{.backoff = 100ms, .factor = 2, .max_backoff = 1s};
  CHECK(backoff_after(policy, 1, 0) == 100ms);
  CHECK(backoff_after(policy, 2, 0) == 200ms);
  CHECK(backoff_after(policy, 4, 0) == 800ms);
  CHECK(backoff_after(policy, 5, 0) == 1s);
  CHECK(backoff_after(policy, 4'000'000, 0) == 1s);
}

TEST_CASE("jitter takes its share away from a wait", "[modifiers]") {
  troupe::retry_policy policy{.backoff = 100ms, .jitter = 0.5};
  CHECK(backoff_after(policy, 1, 0) == 100ms);
  CHECK(backoff_after(policy, 1, 1) == 50ms);
  policy.jitter = 0;
  CHECK(backoff_after(policy, 1, 1) == 100ms);
}

// -- progress -----------------------------------------------------------------

TEST_CASE("the last call of a progress function has all counts",
          "[modifiers]") {
  std::vector<progress> calls;
  thread_crew crew{3};
  auto made = make_map_batch(std::views::iota(0u, 1'000u), [](unsigned) {});
  auto meter = troupe::make_ref<troupe::progress_meter>(
      [&](const progress& p) { calls.push_back(p); });
  batch_of(made).modify({.progress = meter});
  get(crew.start(std::move(made)));
  REQUIRE_FALSE(calls.empty());
  CHECK(calls.back().done == 1'000);
  CHECK(calls.back().total == 1'000);
  CHECK(calls.back().failed == 0);
  CHECK(calls.back().running == 0);
}

TEST_CASE("what failed and what was dropped counts as failed", "[modifiers]") {
  progress last;
  thread_crew crew{1};
  auto made = make_map_batch(std::views::iota(0u, 100u), [](unsigned i) {
    if (i == 3)
      throw std::runtime_error{"no"};
  });
  auto meter = troupe::make_ref<troupe::progress_meter>(
      [&](const progress& p) { last = p; });
  batch_of(made).modify({.progress = meter});
  CHECK_THROWS(get(crew.start(std::move(made))));
  CHECK(last.done == 100);
  CHECK(last.failed == 97);
}

TEST_CASE(
    "a meter calls from one thread at a time, once in 50 ms at the most, and "
    "never after its end",
    "[modifiers]") {
  auto begin = std::chrono::steady_clock::now();
  std::atomic<int> inside{0};
  std::atomic<bool> overlap{false};
  std::atomic<int> calls{0};
  auto meter = troupe::make_ref<troupe::progress_meter>([&](const progress&) {
    if (inside.fetch_add(1) != 0)
      overlap = true;
    ++calls;
    inside.fetch_sub(1);
  });
  meter->add_total(30'000);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 10'000; ++k)
        meter->add_done(1, 0);
    });
  for (auto& x : threads)
    x.join();
  meter->finish();
  auto elapsed = std::chrono::steady_clock::now() - begin;
  auto seen = calls.load();
  CHECK(seen >= 1);
  // The last call of all comes when it comes.
  CHECK(seen - 1 <= elapsed / 50ms);
  meter->finish();
  meter->add_done(1, 0);
  CHECK(calls == seen);
  CHECK_FALSE(overlap);
}

// -- tags ---------------------------------------------------------------------

TEST_CASE("a request sees its tags, and its failure tells them",
          "[modifiers]") {
  thread_crew crew{1};
  auto made = make_batch([](troupe::context& ctx) {
    if (ctx.tag("tenant") != "42" || !ctx.tag("none").empty())
      return;
    throw std::runtime_error{"seen"};
  });
  batch_of(made).modify({.tag = std::pair{"tenant", "42"}});
  batch_of(made).modify({.tag = std::pair{"step", "load"}});
  auto started = crew.start(std::move(made));
  batch_of(started).wait();
  REQUIRE(batch_of(started).failed());
  CHECK(batch_of(started).failed()->text
        == "std::runtime_error: seen (worker test-1) (step=load, tenant=42)");
}

TEST_CASE("a request describes itself for a log", "[modifiers]") {
  thread_crew crew{1};
  auto describe = [](troupe::context& ctx) { return ctx.describe(); };
  CHECK(get(crew.start(make_batch(describe))) == "worker test-1");
  auto made = make_batch(describe);
  batch_of(made).set_label("load");
  batch_of(made).modify({.tag = std::pair{"tenant", "42"}});
  CHECK(get(crew.start(std::move(made)))
        == "'load' (tenant=42) on worker test-1");
}

TEST_CASE("the innermost of two tags with one key counts", "[modifiers]") {
  thread_crew crew{1};
  auto outer = make_batch([] {});
  batch_of(outer).modify({.tag = std::pair{"tenant", "1"}});
  batch_of(outer).set_label("job");
  auto inner = make_batch([](troupe::context& ctx) {
    return std::string{ctx.label()} + " " + std::string{ctx.tag("tenant")};
  });
  batch_of(inner).inherit(batch_of(outer));
  SECTION("inherited") {
    CHECK(get(crew.start(std::move(inner))) == "job 1");
  }
  SECTION("set again") {
    batch_of(inner).modify({.tag = std::pair{"tenant", "2"}});
    CHECK(get(crew.start(std::move(inner))) == "job 2");
  }
}
