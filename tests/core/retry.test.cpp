// Requests that are tried again: how often, when, and what becomes of one whose
// next attempt never comes.

#include "troupe/dispatcher.hpp"

#include "troupe/final_failure.hpp"
#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "manual_clock.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::batch_of;
using test::get;
using test::thread_crew;
using troupe::ec;
using troupe::make_batch;
using troupe::make_map_batch;
using troupe::retry_policy;

namespace {

template <class T>
troupe::typed_batch<T> with(troupe::typed_batch<T> made, retry_policy policy) {
  REQUIRE(batch_of(made).modify(
      {.retry = std::make_shared<const retry_policy>(std::move(policy))}));
  return made;
}

struct timed_crew {
  explicit timed_crew(std::size_t workers = 1)
      : crew{[&] {
          auto result = thread_crew::options_for(workers);
          result.clock = clock;
          return result;
        }()} {}

  /// Blocks until a request has failed and waits for its next attempt: its
  /// worker is idle then.
  void wait_for_backoff() { crew.wait_until_idle(); }

  test::manual_time time;
  std::shared_ptr<test::manual_clock> clock = time.clock;
  thread_crew crew;
};

} // namespace

TEST_CASE("a request that fails twice succeeds at the third attempt",
          "[retry]") {
  thread_crew crew{1};
  std::atomic<int> calls{0};
  auto made = with(make_batch(
                       [&](std::string text) {
                         if (++calls < 3)
                           throw std::runtime_error{"not yet"};
                         return text;
                       },
                       "kept"),
                   {});
  auto started = crew.start(std::move(made));
  CHECK(get(started) == "kept");
  CHECK(calls == 3);
  CHECK(batch_of(started).attempts(0) == 3);
  CHECK(batch_of(started).summary().succeeded == 1);
  CHECK(batch_of(started).summary().failed == 0);
}

TEST_CASE("after the last attempt the failure says how many there were",
          "[retry]") {
  thread_crew crew{1};
  std::atomic<int> calls{0};
  auto started = crew.start(with(make_batch([&] {
                                   ++calls;
                                   throw std::runtime_error{"still not"};
                                 }),
                                 {.attempts = 4}));
  batch_of(started).wait();
  CHECK(calls == 4);
  auto why = batch_of(started).failed();
  REQUIRE(why);
  CHECK(why->attempts == 4);
  CHECK(why->text
        == "std::runtime_error: still not (worker test-1), after 4 "
           "attempts");
  CHECK_THROWS_AS(started.result(), std::runtime_error);
}

TEST_CASE("a call that began in any of its attempts does not say it never ran",
          "[retry]") {
  thread_crew crew{1};
  auto fails_at_last_before_it_begins = [&](auto first) {
    return crew.start(with(make_batch([first, calls = 0]() mutable {
                             if (++calls == 1)
                               first();
                             throw troupe::failure{ec::resource_unavailable,
                                                   "no process to be had"};
                           }),
                           {.attempts = 3, .backoff = 0ns, .jitter = 0}));
  };
  auto begun = fails_at_last_before_it_begins(
      [] { throw std::runtime_error{"half done"}; });
  auto failure = test::failure_in([&] { get(begun); });
  CHECK(failure->code() == ec::resource_unavailable);
  CHECK(failure->started());
  CHECK(std::string{failure->what()}
        == "no process to be had; an attempt before had begun");
  auto never = fails_at_last_before_it_begins([] {});
  failure = test::failure_in([&] { get(never); });
  CHECK_FALSE(failure->started());
  CHECK(std::string{failure->what()} == "no process to be had");
}

TEST_CASE("a predicate decides which failures are tried again", "[retry]") {
  thread_crew crew{1};
  std::atomic<int> calls{0};
  auto policy = retry_policy{.attempts = 5,
                             .when = troupe::retry_on<std::out_of_range>()};
  auto started = crew.start(with(make_batch([&] {
                                   if (++calls == 1)
                                     throw std::out_of_range{"again"};
                                   throw std::logic_error{"for good"};
                                 }),
                                 policy));
  CHECK_THROWS_AS(get(started), std::logic_error);
  CHECK(calls == 2);
}

TEST_CASE("a predicate that throws means no", "[retry]") {
  thread_crew crew{1};
  std::atomic<int> calls{0};
  auto policy =
      retry_policy{.attempts = 5,
                   .when = [](const std::exception_ptr&) -> bool { throw 1; }};
  auto started = crew.start(with(make_batch([&] {
                                   ++calls;
                                   throw std::logic_error{"for good"};
                                 }),
                                 policy));
  CHECK_THROWS_AS(get(started), std::logic_error);
  CHECK(calls == 1);
}

TEST_CASE("a request whose failure is final is not tried again, and nobody is "
          "asked about it",
          "[retry]") {
  thread_crew crew{1};
  auto calls = 0;
  auto asked = 0;
  auto started = crew.start(
      with(make_batch([&] {
             ++calls;
             throw troupe::final_failure{ec::worker_lost, "it must not", true,
                                         troupe::worker_cell::current_batch()};
           }),
           {.attempts = 5, .backoff = 0ns, .when = [&](const auto&) {
              ++asked;
              return true;
            }}));
  CHECK(test::failure_in([&] { get(started); })->code() == ec::worker_lost);
  CHECK(calls == 1);
  CHECK(asked == 0);
  CHECK(batch_of(started).attempts(0) == 1);
}

TEST_CASE("the final failure of another request does not keep one from being "
          "tried again",
          "[retry]") {
  thread_crew crew{1};
  auto calls = 0;
  auto other = make_batch([] {});
  auto started = crew.start(with(make_batch([&] {
                                   if (++calls < 3)
                                     throw troupe::final_failure{
                                         ec::worker_lost, "the other must not",
                                         true, &batch_of(other)};
                                   return calls;
                                 }),
                                 {.backoff = 0ns}));
  CHECK(get(started) == 3);
}

TEST_CASE("each element of a map has its own attempts", "[retry]") {
  thread_crew crew{3};
  std::vector<std::atomic<int>> calls(500);
  auto started = crew.start(
      with(make_map_batch(std::views::iota(0u, 500u),
                          [&](unsigned i) {
                            if (++calls[i] <= static_cast<int>(i % 3))
                              throw std::runtime_error{"not yet"};
                            return i;
                          }),
           {.backoff = 0ns}));
  auto results = get(started);
  for (unsigned i = 0; i < 500; ++i) {
    CHECK(results[i] == i);
    CHECK(calls[i] == static_cast<int>(i % 3) + 1);
  }
  CHECK(batch_of(started).summary().succeeded == 500);
}

TEST_CASE("the wait for the next attempt holds no worker", "[retry]") {
  timed_crew timed;
  std::atomic<int> calls{0};
  auto started = timed.crew.start(with(make_batch([&] {
                                         if (++calls == 1)
                                           throw std::runtime_error{"not yet"};
                                         return calls.load();
                                       }),
                                       {.backoff = 10s, .jitter = 0}));
  // With the only worker held this would hang.
  timed.wait_for_backoff();
  get(timed.crew.start(make_batch([] {})));
  CHECK_FALSE(batch_of(started).done());
  CHECK(calls == 1);
  timed.clock->advance(9s);
  timed.crew.wait_until_idle();
  CHECK(calls == 1);
  timed.clock->advance(1s);
  CHECK(get(started) == 2);
}

TEST_CASE("a cancel ends the wait for the next attempt", "[retry]") {
  timed_crew timed;
  auto input = std::make_shared<int>(1);
  std::weak_ptr<int> alive = input;
  auto started =
      timed.crew.start(with(make_batch([input = std::move(input)] {
                              throw std::runtime_error{"disk on fire"};
                            }),
                            {.backoff = 10s}));
  while (batch_of(started).attempts(0) == 1)
    std::this_thread::yield();
  batch_of(started).cancel(ec::cancelled);
  auto failure = test::failure_in([&] { get(started); });
  CHECK(failure->code() == ec::cancelled);
  CHECK(failure->started());
  CHECK_THAT(failure->what(), Catch::Contains("disk on fire"));
  CHECK(alive.expired());
  auto sum = batch_of(started).summary();
  CHECK(sum.failed == 1);
  // The timer finds nothing to do.
  timed.clock->advance(1h);
  timed.crew.wait_until_idle();
}

TEST_CASE("no attempt is made beyond the deadline", "[retry]") {
  timed_crew timed;
  std::atomic<int> calls{0};
  auto made = with(make_batch([&] {
                     ++calls;
                     throw std::runtime_error{"no"};
                   }),
                   {.backoff = 10s, .jitter = 0});
  batch_of(made).set_deadline(timed.clock->now() + 9s);
  auto started = timed.crew.start(std::move(made));
  CHECK_THROWS_AS(get(started), std::runtime_error);
  CHECK(calls == 1);
}

TEST_CASE("a function that takes its input by rvalue cannot be tried again",
          "[retry]") {
  auto made = make_batch([](std::unique_ptr<int>&& x) { return *x; },
                         std::make_unique<int>(1));
  auto failure = test::failure_in([&] {
    batch_of(made).modify({.retry = std::make_shared<const retry_policy>()});
  });
  CHECK(failure->code() == ec::invalid_option);
  thread_crew crew{1};
  CHECK(get(crew.start(std::move(made))) == 1);
}

TEST_CASE("retries, cancels and yields at once settle each request once",
          "[retry]") {
  for (int round = 0; round < 20; ++round) {
    thread_crew crew{3};
    std::vector<troupe::typed_batch<void>> all;
    for (unsigned i = 0; i < 40; ++i) {
      all.push_back(
          crew.start(with(make_map_batch(std::views::iota(0u, 1 + i * 5),
                                         [](unsigned k) {
                                           if (k % 3 == 0)
                                             throw k;
                                         }),
                          {.backoff = 0ns})));
      if (i % 5 == 0)
        batch_of(all.back()).cancel(ec::cancelled);
    }
    for (auto& x : all) {
      batch_of(x).wait();
      auto sum = batch_of(x).summary();
      CHECK(sum.requests == sum.succeeded + sum.failed + sum.cancelled);
    }
  }
}
