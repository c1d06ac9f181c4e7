// Workers that block on each other: rings are seen when they close, whatever
// can be done is done by the worker that waits, and nobody hangs.

#include "troupe/wait_graph.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "troupe/batch_ref.hpp"
#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "thread_crew.hpp"

using test::thread_crew;
using troupe::ec;
using troupe::make_batch;
using troupe::make_map_batch;

namespace {

/// A pool of plain threads with a name.
struct named_crew : thread_crew {
  named_crew(const char* name, std::size_t workers)
      : thread_crew{options(name, workers)} {}

  static troupe::effective_options options(const char* name,
                                           std::size_t workers) {
    auto result = options_for(workers);
    result.name = name;
    return result;
  }

  /// Runs `fn` on one of the workers and waits for it.
  template <class Fn>
  auto call(Fn fn) {
    return test::get(start(make_batch(std::move(fn))));
  }
};

/// Returns the failure that `fn` throws, as code and text.
template <class Fn>
std::string refusal(Fn fn) {
  auto found = test::failure_in(fn);
  return found ? fmt::format("{}: {}", to_string(found->code()), found->what())
               : "none";
}

troupe::modifiers key(const char* name, std::uint32_t limit) {
  troupe::modifiers result;
  result.key = troupe::key_limit{name, limit};
  return result;
}

} // namespace

// -- rings --------------------------------------------------------------------

TEST_CASE("two pools of one that wait for each other fail and name both",
          "[wait_graph]") {
  named_crew a{"a", 1};
  named_crew b{"b", 1};
  std::string innermost;
  auto value = a.call([&] {
    return b.call([&] {
      innermost = refusal([&] { a.call([] { return 1; }); });
      return 7;
    });
  });
  // The outer ones go on.
  CHECK(value == 7);
  CHECK(innermost
        == "would_deadlock: the wait would never end: worker a-1 waits for the "
           "pool 'b', worker b-1 waits for the pool 'a'; give a pool more "
           "workers, or do not wait for it inside its own requests");
  CHECK(a.call([] { return 1; }) == 1);
}

TEST_CASE("two pools of two that call each other once run", "[wait_graph]") {
  named_crew a{"a", 2};
  named_crew b{"b", 2};
  CHECK(a.call([&] { return b.call([&] { return a.call([] { return 3; }); }); })
        == 3);
}

TEST_CASE("a ring over three pools fails where it closes", "[wait_graph]") {
  named_crew a{"a", 1};
  named_crew b{"b", 1};
  named_crew c{"c", 1};
  auto text = refusal([&] {
    a.call([&] { b.call([&] { c.call([&] { a.call([] {}); }); }); });
  });
  CHECK(text.find("would_deadlock") == 0);
  for (auto name : {"worker a-1", "worker b-1", "worker c-1"})
    CHECK(text.find(name) != text.npos);
}

// The request in which the ring closes waits for one that runs already, so the
// failure is that of the other wait.
TEST_CASE("a ring that closes on a running request fails as well",
          "[wait_graph]") {
  named_crew a{"a", 1};
  named_crew b{"b", 1};
  test::gate waits;
  auto text = a.call([&] {
    auto inner = b.start(make_batch([&] {
      auto innermost = a.start(make_batch([] {}));
      waits.touch();
      return refusal([&] { test::get(innermost); });
    }));
    waits.wait_for_arrivals();
    return test::get(inner);
  });
  CHECK(text.find("would_deadlock") == 0);
  CHECK(text.find("'a'") != text.npos);
  CHECK(text.find("'b'") != text.npos);
}

TEST_CASE("all workers of a pool may wait for one of another that is busy",
          "[wait_graph]") {
  named_crew a{"a", 2};
  named_crew b{"b", 1};
  test::gate busy;
  test::open_at_exit release{busy};
  auto hold = b.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  auto one = a.start(make_batch([&] { return b.call([] { return 1; }); }));
  auto two = a.start(make_batch([&] { return b.call([] { return 2; }); }));
  busy.open();
  CHECK(test::get(one) + test::get(two) == 3);
}

TEST_CASE("a ring that closes because a worker retires fails as well",
          "[wait_graph]") {
  named_crew a{"a", 2};
  named_crew b{"b", 1};
  test::gate busy;
  test::open_at_exit release{busy};
  auto hold = a.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  test::gate waits;
  auto outer = a.start(make_batch([&] {
    return b.call([&] {
      auto inner = a.start(make_batch([] {}));
      waits.touch();
      return refusal([&] { test::get(inner); });
    });
  }));
  waits.wait_for_arrivals();
  // The other worker was the only one that could have run it.
  a.home().resize(1);
  busy.open();
  // It may have come to that before it retired.
  auto text = test::get(outer);
  CHECK((text == "none" || text.find("would_deadlock") == 0));
}

// -- limits -------------------------------------------------------------------

TEST_CASE("a request that holds a key and waits for another of it fails",
          "[wait_graph]") {
  named_crew pool{"io", 4};
  auto outer = make_batch([&] {
    auto inner = make_batch([] {});
    test::batch_of(inner).modify(key("db", 1));
    pool.start(inner);
    return refusal([&] { test::get(inner); });
  });
  test::batch_of(outer).modify(key("db", 1));
  pool.start(outer);
  CHECK(test::get(outer)
        == "would_deadlock: the wait would never end: worker io-1 waits for "
           "the key 'db' of the pool 'io' (limit 1); give a pool more workers, "
           "or do not wait for it inside its own requests");
}

TEST_CASE("a nested request with a free key runs on a pool of one",
          "[wait_graph]") {
  named_crew pool{"io", 1};
  auto rounds = pool.call([&] {
    auto sum = 0;
    for (int i = 0; i < 3; ++i) {
      auto inner = make_batch([] { return 1; });
      test::batch_of(inner).modify(key("db", 1));
      sum += test::get(pool.start(inner));
    }
    return sum;
  });
  CHECK(rounds == 3);
}

TEST_CASE("a nested map with a limit runs on a pool of one", "[wait_graph]") {
  named_crew pool{"io", 1};
  auto sum = pool.call([&] {
    auto inner =
        make_map_batch(std::vector<int>(100, 1), [](int x) { return x; });
    troupe::modifiers mods;
    mods.max_in_flight = 1;
    test::batch_of(inner).modify(mods);
    auto total = 0;
    for (auto x : test::get(pool.start(inner)))
      total += x;
    return total;
  });
  CHECK(sum == 100);
}

TEST_CASE("a nested request that is tried again runs on a pool of one",
          "[wait_graph]") {
  named_crew pool{"io", 1};
  auto attempts = pool.call([&] {
    auto made = std::make_shared<std::atomic<int>>(0);
    auto inner = make_batch([made] {
      if (++*made < 3)
        throw std::runtime_error{"not yet"};
      return made->load();
    });
    troupe::modifiers mods;
    troupe::retry_policy policy;
    policy.attempts = 5;
    policy.backoff = std::chrono::milliseconds{1};
    mods.retry = std::make_shared<const troupe::retry_policy>(policy);
    test::batch_of(inner).modify(mods);
    return test::get(pool.start(inner));
  });
  CHECK(attempts == 3);
}

TEST_CASE("a request that uses the only worker's resource and waits for its "
          "own pool fails and says why",
          "[wait_graph]") {
  auto options = thread_crew::options_for(1);
  options.name = "db";
  options.resource = troupe::make_resource<int>([] { return 5; });
  thread_crew pool{options};
  auto text = test::get(pool.start(make_batch([&](troupe::context& ctx) {
    ctx.resource<int>();
    return refusal([&] { test::get(pool.start(make_batch([] {}))); });
  })));
  CHECK(text
        == "would_deadlock: the wait would never end: worker db-1 waits for "
           "the pool 'db' and cannot help itself: the request that waits uses "
           "the worker's resource; give a pool more workers, or do not wait "
           "for it inside its own requests");
}

// -- depth --------------------------------------------------------------------

TEST_CASE("a thousand nested requests on one worker do not overflow its stack",
          "[wait_graph]") {
  // What each request puts on the stack; with the larger one, 1,000 do not fit.
  auto bytes = GENERATE(std::size_t{64}, std::size_t{32} * 1024);
  named_crew pool{"io", 1};
  auto deepest = 0;
  std::function<void(int)> descend = [&](int depth) {
    deepest = depth;
    auto room = static_cast<volatile char*>(__builtin_alloca(bytes));
    room[0] = 1;
    if (depth < 1'000)
      pool.call([&] { descend(depth + 1); });
  };
  auto text = refusal([&] { pool.call([&] { descend(1); }); });
  if (deepest < 1'000) {
    CHECK(text
          == "would_deadlock: the wait would never end: worker io-1 waits for "
             "the pool 'io' and cannot help itself: its requests are nested so "
             "deep that half of its stack is used up; give a pool more "
             "workers, or do not wait for it inside its own requests");
    CHECK(deepest > 10);
  } else {
    CHECK(text == "none");
  }
  if (bytes > 64)
    CHECK(deepest < 1'000);
  CHECK(pool.call([] { return 1; }) == 1);
}

// -- all at once --------------------------------------------------------------

// Failure here is a hang.
TEST_CASE("requests that wait for each other's pools in all directions return",
          "[wait_graph]") {
  named_crew crews[] = {{"a", 1}, {"b", 1}, {"c", 2}};
  std::atomic<int> refused{0};
  std::function<int(unsigned, int)> visit = [&](unsigned seed, int depth) {
    if (depth == 0)
      return 1;
    auto next = seed * 1'103'515'245u + 12'345u;
    try {
      return crews[next / 65'536 % 3].call(
          [&visit, next, depth] { return visit(next, depth - 1); });
    } catch (const troupe::failure& err) {
      if (err.code() != ec::would_deadlock)
        throw;
      ++refused;
      return 1;
    }
  };
  std::vector<std::thread> callers;
  std::atomic<int> sum{0};
  for (unsigned i = 0; i < 4; ++i)
    callers.emplace_back([&, i] {
      for (unsigned n = 0; n < 50; ++n)
        sum += visit(i * 1'000 + n, 4);
    });
  for (auto& caller : callers)
    caller.join();
  CHECK(sum == 200);
}
