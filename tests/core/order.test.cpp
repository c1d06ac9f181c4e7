// Which batch is served first, and how many of its requests run at once:
// priorities, limits of one batch, and limits that batches share by a key.

#include "troupe/dispatcher.hpp"

#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "manual_clock.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <ranges>
#include <string>
#include <vector>

using test::batch_of;
using test::get;
using test::thread_crew;
using troupe::ec;
using troupe::make_batch;
using troupe::make_map_batch;
using troupe::priority;

namespace {

auto numbers(std::uint32_t n) {
  return std::views::iota(0u, n);
}

/// Notes who runs, in order.
class journal {
public:
  void add(std::string what) {
    std::lock_guard guard{mutex_};
    entries_.push_back(std::move(what));
  }

  std::vector<std::string> entries() const {
    std::lock_guard guard{mutex_};
    return entries_;
  }

private:
  mutable std::mutex mutex_;
  std::vector<std::string> entries_;
};

/// Counts how many are inside at once.
class crowd {
public:
  void enter() {
    auto now = inside_.fetch_add(1) + 1;
    auto most = most_.load();
    while (most < now && !most_.compare_exchange_weak(most, now)) {
    }
  }

  void leave() { inside_.fetch_sub(1); }

  int most() const { return most_.load(); }

private:
  std::atomic<int> inside_{0};
  std::atomic<int> most_{0};
};

template <class T>
troupe::typed_batch<T> with(troupe::typed_batch<T> made,
                            const troupe::modifiers& mods) {
  REQUIRE(batch_of(made).modify(mods));
  return made;
}

} // namespace

// -- priority -----------------------------------------------------------------

TEST_CASE("what waits is served by priority, then in order of arrival",
          "[order]") {
  test::gate busy;
  journal log;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  auto first = crew.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  std::vector<troupe::typed_batch<void>> all;
  auto submit = [&](const char* name, priority p) {
    all.push_back(crew.start(
        with(make_batch([&log, name] { log.add(name); }), {.priority = p})));
  };
  submit("low 1", priority::low);
  submit("normal 1", priority::normal);
  submit("high 1", priority::high);
  submit("low 2", priority::low);
  submit("normal 2", priority::normal);
  submit("high 2", priority::high);
  busy.open();
  for (auto& x : all)
    get(x);
  CHECK(log.entries()
        == std::vector<std::string>{"high 1", "high 2", "normal 1", "normal 2",
                                    "low 1", "low 2"});
}

TEST_CASE("without priorities nobody goes before who came first", "[order]") {
  test::gate busy;
  journal log;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  auto first = crew.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  std::vector<troupe::typed_batch<void>> all;
  for (auto name : {"1", "2", "3"})
    all.push_back(crew.start(make_batch([&log, name] { log.add(name); })));
  busy.open();
  for (auto& x : all)
    get(x);
  CHECK(log.entries() == std::vector<std::string>{"1", "2", "3"});
}

TEST_CASE("what waited already when a map was taken up starts after the first "
          "request of that",
          "[order]") {
  test::gate busy;
  journal log;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  // Nobody who comes meanwhile finds a worker that could be called away.
  auto first = crew.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  auto map =
      crew.start(make_map_batch(numbers(3), [&](unsigned) { log.add("map"); }));
  auto one = crew.start(make_batch([&] { log.add("one"); }));
  busy.open();
  get(map);
  get(one);
  CHECK(log.entries() == std::vector<std::string>{"map", "one", "map", "map"});
}

TEST_CASE("a low one is served after eight high ones at the latest",
          "[order]") {
  test::gate busy;
  journal log;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  auto first = crew.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  std::vector<troupe::typed_batch<void>> all;
  all.push_back(crew.start(
      with(make_batch([&] { log.add("low"); }), {.priority = priority::low})));
  for (int i = 0; i < 20; ++i)
    all.push_back(crew.start(with(make_batch([&] { log.add("high"); }),
                                  {.priority = priority::high})));
  busy.open();
  for (auto& x : all)
    get(x);
  auto entries = log.entries();
  auto at = std::find(entries.begin(), entries.end(), "low") - entries.begin();
  CHECK(at == 8);
}

TEST_CASE("a low one does not wait for the end of a high million", "[order]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  std::atomic<unsigned> returned{0};
  auto many = crew.start(with(make_map_batch(numbers(1'000'000),
                                             [&](unsigned i) {
                                               if (i == 10)
                                                 busy.pass();
                                               ++returned;
                                             }),
                              {.priority = priority::high}));
  busy.wait_for_arrivals();
  auto low = crew.start(with(make_batch([&] { return returned.load(); }),
                             {.priority = priority::low}));
  busy.open();
  CHECK(get(low) <= 11 + 8);
  get(many);
  CHECK(returned == 1'000'000);
}

// Two workers are inside a normal map. Each request of the high one waits until
// both are there: failure here is a hang.
TEST_CASE("a high map takes the workers of a normal one", "[order]") {
  test::gate busy;
  test::gate both;
  thread_crew crew{2};
  test::open_at_exit release{busy};
  auto normal = crew.start(make_map_batch(numbers(100'000), [&](unsigned i) {
    if (i < 2)
      busy.pass();
  }));
  busy.wait_for_arrivals(2);
  auto high = crew.start(with(make_map_batch(numbers(2),
                                             [&](unsigned) {
                                               both.touch();
                                               both.wait_for_arrivals(2);
                                             }),
                              {.priority = priority::high}));
  busy.open();
  get(high);
  get(normal);
}

// -- too late -----------------------------------------------------------------

// Nobody tells these batches: what is late, or unwanted, is seen by the worker.
TEST_CASE("a worker runs nothing whose deadline has passed", "[order]") {
  test::gate busy;
  test::manual_time time;
  auto options = thread_crew::options_for(1);
  options.clock = time.clock;
  thread_crew crew{options};
  test::open_at_exit release{busy};
  auto first = crew.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  std::atomic<int> ran{0};
  auto late = make_batch([&] { ++ran; });
  auto in_time = make_batch([&] { ++ran; });
  auto now = time.clock->now();
  batch_of(late).set_deadline(now + std::chrono::seconds{1});
  batch_of(in_time).set_deadline(now + std::chrono::seconds{2});
  crew.start(late);
  crew.start(in_time);
  time.clock->advance(std::chrono::seconds{1});
  busy.open();
  get(in_time);
  CHECK(test::failure_in([&] { get(late); })->code() == ec::deadline_exceeded);
  CHECK(ran == 1);
  CHECK(batch_of(late).summary().expired == 1);
}

// -- max_in_flight ------------------------------------------------------------

TEST_CASE("a map runs at most as many requests at once as it is told",
          "[order]") {
  auto limit = GENERATE(1u, 2u, 3u);
  crowd inside;
  std::atomic<unsigned> ran{0};
  thread_crew crew{4};
  get(crew.start(with(make_map_batch(numbers(20'000),
                                     [&](unsigned) {
                                       inside.enter();
                                       ++ran;
                                       inside.leave();
                                     }),
                      {.max_in_flight = limit})));
  CHECK(inside.most() <= static_cast<int>(limit));
  CHECK(ran == 20'000);
}

TEST_CASE("a limited map leaves the other workers to others", "[order]") {
  test::gate busy;
  thread_crew crew{2};
  test::open_at_exit release{busy};
  auto limited = crew.start(with(make_map_batch(numbers(100),
                                                [&](unsigned i) {
                                                  if (i == 0)
                                                    busy.pass();
                                                }),
                                 {.max_in_flight = 1}));
  busy.wait_for_arrivals();
  // Would hang if the limited one had both.
  get(crew.start(make_batch([] {})));
  CHECK(busy.arrivals() == 1);
  busy.open();
  get(limited);
}

TEST_CASE("without a limit all workers join a map", "[order]") {
  test::gate all_here;
  thread_crew crew{3};
  test::open_at_exit release{all_here};
  auto map = crew.start(
      make_map_batch(numbers(3), [&](unsigned) { all_here.pass(); }));
  all_here.wait_for_arrivals(3);
  all_here.open();
  get(map);
}

TEST_CASE("a limited map that is interrupted again and again is complete",
          "[order]") {
  std::atomic<unsigned> ran{0};
  crowd inside;
  thread_crew crew{3};
  auto limited = crew.start(with(make_map_batch(numbers(20'000),
                                                [&](unsigned) {
                                                  inside.enter();
                                                  ++ran;
                                                  inside.leave();
                                                }),
                                 {.max_in_flight = 2}));
  for (int i = 0; i < 200; ++i)
    get(crew.start(make_batch([] {})));
  get(limited);
  CHECK(ran == 20'000);
  CHECK(inside.most() <= 2);
}

// -- keys ---------------------------------------------------------------------

TEST_CASE("requests with one key run at most as many at once as it allows",
          "[order]") {
  crowd inside;
  std::atomic<unsigned> ran{0};
  thread_crew crew{4};
  std::vector<troupe::typed_batch<void>> all;
  auto visit = [&] {
    inside.enter();
    ++ran;
    inside.leave();
  };
  for (int i = 0; i < 2'000; ++i)
    all.push_back(crew.start(
        with(make_batch(visit), {.key = troupe::key_limit{"db", 2}})));
  all.push_back(crew.start(
      with(make_map_batch(numbers(2'000), [&](unsigned) { visit(); }),
           {.key = troupe::key_limit{"db", 2}})));
  for (auto& x : all)
    get(x);
  CHECK(inside.most() <= 2);
  CHECK(ran == 4'000);
}

TEST_CASE("others pass by those whose key has no room", "[order]") {
  test::gate busy;
  thread_crew crew{2};
  test::open_at_exit release{busy};
  auto keyed = [](auto made, const char* name) {
    return with(std::move(made), {.key = troupe::key_limit{name, 1}});
  };
  auto first = crew.start(keyed(make_batch([&] { busy.pass(); }), "a"));
  busy.wait_for_arrivals();
  std::atomic<bool> second_ran{false};
  auto second = crew.start(keyed(make_batch([&] { second_ran = true; }), "a"));
  // Would hang if they stood behind the second one.
  get(crew.start(keyed(make_batch([] {}), "b")));
  get(crew.start(make_batch([] {})));
  CHECK_FALSE(second_ran);
  CHECK(crew.stats().queued == 1);
  busy.open();
  get(first);
  get(second);
  CHECK(second_ran);
}

TEST_CASE("the limit of a key holds from its latest use on", "[order]") {
  test::gate both;
  thread_crew crew{2};
  test::open_at_exit release{both};
  auto meet = [&] { both.pass(); };
  auto first =
      crew.start(with(make_batch(meet), {.key = troupe::key_limit{"db", 1}}));
  both.wait_for_arrivals(1);
  auto second =
      crew.start(with(make_batch(meet), {.key = troupe::key_limit{"db", 2}}));
  both.wait_for_arrivals(2);
  both.open();
  get(first);
  get(second);
}

TEST_CASE("one that is cancelled behind its key never runs, and the next one "
          "does",
          "[order]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  auto keyed = [](auto made) {
    return with(std::move(made), {.key = troupe::key_limit{"a", 1}});
  };
  auto first = crew.start(keyed(make_batch([&] { busy.pass(); })));
  busy.wait_for_arrivals();
  std::atomic<bool> ran{false};
  auto second = crew.start(keyed(make_batch([&] { ran = true; })));
  auto third = crew.start(keyed(make_batch([] { return 3; })));
  batch_of(second).cancel(ec::cancelled);
  CHECK(test::failure_in([&] { get(second); })->code() == ec::cancelled);
  busy.open();
  get(first);
  CHECK(get(third) == 3);
  CHECK_FALSE(ran);
}

TEST_CASE("keys, limits, priorities and cancels at once lose no request",
          "[order]") {
  for (int round = 0; round < 20; ++round) {
    std::atomic<unsigned> ran{0};
    thread_crew crew{3};
    std::vector<troupe::typed_batch<void>> all;
    for (unsigned i = 0; i < 300; ++i) {
      troupe::modifiers mods;
      mods.priority = static_cast<priority>(i % 3);
      if (i % 4 != 0)
        mods.key = troupe::key_limit{std::to_string(i % 5), 1 + i % 2};
      if (i % 7 == 0)
        mods.max_in_flight = 1 + i % 3;
      all.push_back(crew.start(
          with(make_map_batch(numbers(1 + i % 90), [&](unsigned) { ++ran; }),
               mods)));
      if (i % 11 == 0)
        batch_of(all.back()).cancel(ec::cancelled);
    }
    std::uint64_t counted = 0;
    for (auto& x : all) {
      batch_of(x).wait();
      auto sum = batch_of(x).summary();
      CHECK(sum.requests
            == sum.succeeded + sum.failed + sum.cancelled + sum.expired);
      counted += sum.succeeded;
    }
    CHECK(counted == ran);
  }
}
