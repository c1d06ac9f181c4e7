// Calls that are no more than that: how they become batches, and what a batch
// of many of them promises.

#include "troupe/light_call.hpp"

#include "troupe/calls_batch.hpp"
#include "troupe/dispatcher.hpp"
#include "troupe/settled_calls.hpp"

#include "counted.hpp"
#include "gate.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using test::counted;
using test::thread_crew;
using troupe::bound_call;
using troupe::call_or_state;
using troupe::call_row;
using troupe::calls_batch;
using troupe::home_share;
using troupe::light_call;
using troupe::make_ref;
using troupe::outcome_state;
using troupe::ref_ptr;
using troupe::settled_calls;

namespace {

template <class Fn, class... Ts>
auto call_of(Fn fn, Ts... xs) {
  using type = bound_call<Fn, Ts...>;
  return std::unique_ptr<light_call<typename type::result_type>>{
      new type(std::move(fn), std::move(xs)...)};
}

/// `n` calls, each made by `make(i)`.
template <class T, class Make>
call_row<T> calls(int n, Make make) {
  call_row<T> result;
  result.reserve(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i)
    result.push_back(make(i));
  return result;
}

} // namespace

// -- one call -----------------------------------------------------------------

TEST_CASE("a light call becomes a batch with its function and arguments in it",
          "[light_call]") {
  thread_crew crew{1};
  // Can only be moved.
  call_or_state<int> made{call_of([](std::unique_ptr<int> x) { return *x + 1; },
                                  std::make_unique<int>(41)),
                          home_share{ref_ptr{&crew.home()}}};
  CHECK(made.state() == nullptr);
  CHECK(made.home() == &crew.home());
  auto state = made.ensure_state();
  REQUIRE(state);
  CHECK(made.state() == state);
  CHECK(made.home() == nullptr);
  state->start();
  state->wait();
  REQUIRE_FALSE(state->failed());
  CHECK(*static_cast<int*>(state->result()) == 42);
}

TEST_CASE("a light call that nobody makes is destroyed with its owner",
          "[light_call]") {
  thread_crew crew{1};
  std::atomic<int> alive{0};
  {
    call_or_state<void> made{call_of([x = counted{alive}] {}),
                             home_share{ref_ptr{&crew.home()}}};
    auto moved = std::move(made);
    CHECK(alive == 1);
    CHECK(made.take_state() == nullptr);
    call_or_state<void> other{ref_ptr<troupe::op_state>{}};
    other = std::move(moved);
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("a light call whose move fails stays what it was", "[light_call]") {
  struct moody {
    explicit moody(int& tries) : left{&tries} {}
    // NOLINTNEXTLINE(performance-noexcept-move-constructor)
    moody(moody&& other) : left{other.left} {
      if (--*left == 0)
        throw std::runtime_error{"not now"};
    }
    int operator()() const { return 7; }
    int* left;
  };
  thread_crew crew{1};
  int tries = 100;
  call_or_state<int> made{call_of(moody{tries}),
                          home_share{ref_ptr{&crew.home()}}};
  tries = 1;
  CHECK_THROWS_WITH(made.ensure_state(), "not now");
  CHECK(made.home() == &crew.home());
  tries = 100;
  auto state = made.ensure_state();
  state->start();
  state->wait();
  CHECK(*static_cast<int*>(state->result()) == 7);
}

// -- many calls ---------------------------------------------------------------

TEST_CASE("each of a batch of calls has its own result, in their order",
          "[light_call]") {
  thread_crew crew{3};
  auto made = make_ref<calls_batch<int>>(
      calls<int>(1'000, [](int i) { return call_of([i] { return i * i; }); }));
  crew.submit(*made);
  made->wait();
  REQUIRE_FALSE(made->failed());
  auto& results = *static_cast<std::vector<int>*>(made->result());
  auto wrong = results.size() == 1'000 ? 0 : 1;
  for (std::size_t i = 0; i < results.size(); ++i)
    wrong += results[i] != static_cast<int>(i * i);
  CHECK(wrong == 0);
  CHECK(crew.stats().batches == 1);
  CHECK(crew.stats().succeeded == 1'000);
}

TEST_CASE("the first failure of a batch of calls drops the rest",
          "[light_call]") {
  thread_crew crew{1};
  std::atomic<int> ran{0};
  std::atomic<int> alive{0};
  auto made =
      make_ref<calls_batch<std::string>>(calls<std::string>(100, [&](int i) {
        return call_of([&ran, i, x = counted{alive}]() -> std::string {
          ++ran;
          if (i == 3)
            throw std::runtime_error{"disk on fire"};
          return "well";
        });
      }));
  crew.submit(*made);
  made->wait();
  REQUIRE(made->failed());
  CHECK(made->failed()->text
        == "std::runtime_error: disk on fire (worker test-1)");
  // Of those that were claimed together some may have been about to run.
  CHECK(ran < 100);
  CHECK(alive == 0);
  CHECK(made->summary().failed == 1);
  CHECK(made->summary().cancelled > 0);
}

TEST_CASE("a function is destroyed as soon as its call has returned",
          "[light_call]") {
  thread_crew crew{1};
  std::atomic<int> alive{0};
  std::atomic<int> seen{0};
  call_row<void> all;
  all.reserve(2);
  all.push_back(call_of([x = counted{alive}] {}));
  all.push_back(call_of([&] { seen = alive.load(); }));
  auto made = make_ref<calls_batch<void>>(std::move(all));
  CHECK(alive == 1);
  crew.submit(*made);
  made->wait();
  CHECK(seen == 0);
}

TEST_CASE("calls may yield what can only be moved, or bits", "[light_call]") {
  thread_crew crew{2};
  auto pointers = make_ref<calls_batch<std::unique_ptr<int>>>(
      calls<std::unique_ptr<int>>(50, [](int i) {
        return call_of([i] { return std::make_unique<int>(i); });
      }));
  auto bits = make_ref<calls_batch<bool>>(calls<bool>(
      50, [](int i) { return call_of([i] { return i % 2 == 0; }); }));
  crew.submit(*pointers);
  crew.submit(*bits);
  pointers->wait();
  bits->wait();
  auto& got =
      *static_cast<std::vector<std::unique_ptr<int>>*>(pointers->result());
  CHECK(*got.at(49) == 49);
  auto& set = *static_cast<std::vector<bool>*>(bits->result());
  CHECK(set.at(48));
  CHECK_FALSE(set.at(49));
}

// -- outcomes -----------------------------------------------------------------

TEST_CASE("a failed one of calls that are told apart does not concern others",
          "[light_call]") {
  thread_crew crew{2};
  auto made =
      make_ref<settled_calls<std::string>>(calls<std::string>(200, [](int i) {
        return call_of([i] {
          if (i % 10 == 3)
            throw std::runtime_error{"bad " + std::to_string(i)};
          return std::string(40, static_cast<char>('a' + i % 26));
        });
      }));
  crew.submit(*made);
  made->wait();
  REQUIRE_FALSE(made->failed());
  auto outcomes = made->take_all();
  REQUIRE(outcomes.size() == 200);
  for (std::size_t i = 0; i < 200; ++i) {
    REQUIRE(outcomes[i].worker() > 0);
    REQUIRE(outcomes[i].attempts() == 1);
    if (i % 10 == 3) {
      REQUIRE(outcomes[i].state() == outcome_state::failed);
      REQUIRE(outcomes[i].what()
              == "std::runtime_error: bad " + std::to_string(i)
                     + " (worker test-" + std::to_string(outcomes[i].worker())
                     + ")");
    } else {
      REQUIRE(outcomes[i].value()
              == std::string(40, static_cast<char>('a' + i % 26)));
    }
  }
  CHECK(crew.stats().failed == 20);
  CHECK(crew.stats().succeeded == 180);
}

TEST_CASE("a call for which an outcome was asked too early never starts",
          "[light_call]") {
  thread_crew crew{1};
  test::gate door;
  test::open_at_exit opener{door};
  std::atomic<bool> ran{false};
  call_row<void> all;
  all.reserve(2);
  all.push_back(call_of([&] { door.pass(); }));
  all.push_back(call_of([&] { ran = true; }));
  auto made = make_ref<settled_calls<void>>(std::move(all));
  crew.submit(*made);
  door.wait_for_arrivals();
  CHECK_FALSE(made->ended(0));
  CHECK(made->began(0));
  CHECK(made->began(0)->worker == 1);
  CHECK_FALSE(made->ended(1));
  CHECK_FALSE(made->began(1));
  door.open();
  made->wait();
  CHECK(made->ended(0));
  CHECK_FALSE(made->ended(1));
  CHECK_FALSE(ran);
  CHECK(made->summary().cancelled == 1);
}
