// One request: its function is called once, as it was given, and what comes of
// it is the outcome.

#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

using test::batch_of;
using test::failure_in;
using test::get;
using test::thread_crew;
using troupe::ec;
using troupe::make_batch;

namespace {

/// Counts its living copies.
struct counted {
  explicit counted(std::atomic<int>& alive) : alive_{&alive} { ++*alive_; }
  counted(const counted& other) : alive_{other.alive_} { ++*alive_; }
  ~counted() { --*alive_; }
  std::atomic<int>* alive_;
};

/// A result that can be moved and that has no default.
struct sealed {
  explicit sealed(int x) : content{std::make_unique<int>(x)} {}
  std::unique_ptr<int> content;
};

int twice(int x) {
  return 2 * x;
}

struct account {
  int balance = 0;
  int add(int x) { return balance += x; }
};

} // namespace

TEST_CASE("a request yields what its function returns", "[run_batch]") {
  thread_crew crew{2};
  CHECK(get(crew.start(make_batch(twice, 21))) == 42);
  CHECK(get(crew.start(make_batch([] { return std::string{"text"}; })))
        == "text");
}

TEST_CASE("a request runs on a worker, not on the thread that waits",
          "[run_batch]") {
  thread_crew crew{1};
  auto where =
      get(crew.start(make_batch([] { return std::this_thread::get_id(); })));
  CHECK(where != std::this_thread::get_id());
}

TEST_CASE("a request without a result can be waited for", "[run_batch]") {
  thread_crew crew{1};
  auto ran = false;
  get(crew.start(make_batch([&] { ran = true; })));
  CHECK(ran);
}

TEST_CASE("a result may be move-only and without a default", "[run_batch]") {
  thread_crew crew{1};
  CHECK(*get(crew.start(make_batch([] { return sealed{7}; }))).content == 7);
}

TEST_CASE("arguments are copied or moved in, and references kept on request",
          "[run_batch]") {
  thread_crew crew{1};
  auto taken = get(crew.start(make_batch(
      [](std::unique_ptr<int> x) { return *x; }, std::make_unique<int>(7))));
  CHECK(taken == 7);
  std::string text{"before"};
  auto made = make_batch([](const std::string& x) { return x; }, text);
  text = "after";
  CHECK(get(crew.start(made)) == "before");
  int total = 1;
  get(crew.start(make_batch([](int& x) { ++x; }, std::ref(total))));
  CHECK(total == 2);
}

TEST_CASE("members and their objects can be run", "[run_batch]") {
  thread_crew crew{1};
  account mine{10};
  CHECK(get(crew.start(make_batch(&account::add, &mine, 5))) == 15);
  CHECK(mine.balance == 15);
}

TEST_CASE("a function that asks for a context gets one", "[run_batch]") {
  thread_crew crew{1};
  auto made = make_batch(
      [](troupe::context& ctx, int x) {
        return std::string{ctx.label()} + std::to_string(ctx.worker() + x);
      },
      6);
  made.label("row ");
  CHECK(get(crew.start(made)) == "row 7");
}

TEST_CASE("a function that can do without a context gets none", "[run_batch]") {
  struct either {
    int operator()() { return 1; }
    int operator()(troupe::context&) { return 2; }
  };
  thread_crew crew{1};
  CHECK(get(crew.start(make_batch(either{}))) == 1);
}

TEST_CASE("function and arguments are gone when the outcome is there",
          "[run_batch]") {
  thread_crew crew{1};
  std::atomic<int> alive{0};
  SECTION("after a value") {
    auto made = crew.start(
        make_batch([x = counted{alive}](const counted&) {}, counted{alive}));
    batch_of(made).wait();
    CHECK(alive == 0);
    made.result();
  }
  SECTION("after an exception") {
    auto made = crew.start(make_batch(
        [x = counted{alive}](const counted&) { throw 1; }, counted{alive}));
    batch_of(made).wait();
    CHECK(alive == 0);
    CHECK_THROWS_AS(made.result(), int);
  }
  SECTION("after a refusal") {
    crew.home().close_admission();
    auto made = crew.start(make_batch([x = counted{alive}] {}));
    batch_of(made).wait();
    CHECK(alive == 0);
  }
}

TEST_CASE("an exception of any type arrives as it was thrown, and the worker "
          "lives on",
          "[run_batch]") {
  struct custom {
    int value;
  };
  thread_crew crew{1};
  CHECK_THROWS_AS(
      get(crew.start(make_batch([] { throw std::out_of_range{"row 7"}; }))),
      std::out_of_range);
  CHECK_THROWS_AS(get(crew.start(make_batch([]() -> int { throw 7; }))), int);
  try {
    get(crew.start(make_batch([] { throw custom{3}; })));
    FAIL("no exception came");
  } catch (const custom& err) {
    CHECK(err.value == 3);
  }
  CHECK(get(crew.start(make_batch(twice, 21))) == 42);
  CHECK(crew.stats().workers == 1);
  CHECK(crew.stats().failed == 3);
}

TEST_CASE("a failure names request and worker", "[run_batch]") {
  thread_crew crew{1};
  auto made = make_batch([] { throw std::runtime_error{"disk on fire"}; });
  made.label("row 7");
  crew.start(made);
  auto& work = batch_of(made);
  work.wait();
  REQUIRE(work.failed());
  CHECK(work.failed()->text
        == "std::runtime_error: disk on fire (request 'row 7' on worker "
           "test-1)");
  CHECK(work.failed()->started);
}

// -- cancel -------------------------------------------------------------------

TEST_CASE("a request cancelled before its start never runs", "[run_batch]") {
  thread_crew crew{1};
  auto ran = false;
  auto made = make_batch([&] { ran = true; });
  batch_of(made).set_home(troupe::ref_ptr{&crew.home()});
  batch_of(made).cancel(ec::cancelled);
  batch_of(made).start();
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::cancelled);
  CHECK_FALSE(err->started());
  CHECK_FALSE(ran);
  CHECK(crew.home().outstanding() == 0);
  CHECK(batch_of(made).summary().elapsed.count() == 0);
}

TEST_CASE("a request cancelled in the queue never runs and leaves it",
          "[run_batch]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  crew.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  auto ran = false;
  auto made = crew.start(make_batch([&] { ran = true; }));
  CHECK(crew.stats().queued == 1);
  batch_of(made).cancel(ec::cancelled);
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::cancelled);
  CHECK_FALSE(err->started());
  CHECK(crew.stats().queued == 0);
  busy.open();
  get(crew.start(make_batch([] {})));
  CHECK_FALSE(ran);
}

TEST_CASE("a request cancelled while it runs gives its value", "[run_batch]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  auto made = crew.start(make_batch([&] {
    busy.pass();
    return 7;
  }));
  busy.wait_for_arrivals();
  batch_of(made).cancel(ec::cancelled);
  CHECK_FALSE(batch_of(made).done());
  busy.open();
  CHECK(get(made) == 7);
  CHECK(batch_of(made).summary().succeeded == 1);
}

TEST_CASE("a cancel after the outcome changes nothing", "[run_batch]") {
  thread_crew crew{1};
  auto made = crew.start(make_batch(twice, 21));
  batch_of(made).wait();
  batch_of(made).cancel(ec::cancelled);
  CHECK(made.result() == 42);
}

TEST_CASE("the first reason for a cancel stays", "[run_batch]") {
  thread_crew crew{1};
  auto made = make_batch([] {});
  batch_of(made).set_home(troupe::ref_ptr{&crew.home()});
  batch_of(made).cancel(ec::owner_gone);
  batch_of(made).cancel(ec::cancelled);
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::owner_gone);
}

TEST_CASE("a stop token cancels what is queued", "[run_batch]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  crew.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  std::stop_source source;
  auto made = make_batch([] { return 1; });
  batch_of(made).set_stop_token(source.get_token());
  crew.start(made);
  CHECK_FALSE(batch_of(made).done());
  source.request_stop();
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::cancelled);
}

TEST_CASE("a stop token that was stopped before keeps a request from starting",
          "[run_batch]") {
  thread_crew crew{1};
  std::stop_source source;
  source.request_stop();
  auto made = make_batch([] { return 1; });
  batch_of(made).set_stop_token(source.get_token());
  crew.start(made);
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::cancelled);
  CHECK_FALSE(err->started());
}

// The token is stopped while the batch is submitted. Lost here: the count of
// what is outstanding, so that a pool would never end.
TEST_CASE("a stop that races with the submit leaves nothing outstanding",
          "[run_batch]") {
  thread_crew crew{1};
  for (int round = 0; round < 300; ++round) {
    std::stop_source source;
    std::atomic<int> ran{0};
    auto made = make_batch([&] { ++ran; });
    batch_of(made).set_stop_token(source.get_token());
    std::atomic<bool> go{false};
    std::thread stopper{[&] {
      while (!go) {
      }
      source.request_stop();
    }};
    go = true;
    crew.start(made);
    auto err = failure_in([&] { get(made); });
    stopper.join();
    REQUIRE(ran == (err ? 0 : 1));
    REQUIRE(crew.home().outstanding() == 0);
  }
  crew.wait_until_idle();
  CHECK(crew.stats().queued == 0);
}
