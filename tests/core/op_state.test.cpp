// The state behind every operation: it starts once, completes once, and tells
// one continuation.

#include "troupe/op_state.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <stop_token>
#include <thread>

using troupe::ec;
using troupe::make_ref;

namespace {

/// An operation that a test completes by hand.
class by_hand final : public troupe::plain_op {
public:
  void complete_now() { finish(); }

  int begun = 0;
  ec stopped{};

protected:
  void begin() override { ++begun; }

  void stop(ec why) noexcept override {
    stopped = why;
    finish_with(troupe::make_failure(why, "it was stopped", true));
  }
};

class counting final : public troupe::continuation {
public:
  void on_complete(troupe::op_state&) noexcept override { ++calls; }

  std::atomic<int> calls{0};
};

} // namespace

TEST_CASE("an operation begins once, however often it is started",
          "[op_state]") {
  auto op = make_ref<by_hand>();
  CHECK_FALSE(op->started());
  op->start();
  op->start();
  CHECK(op->started());
  CHECK(op->begun == 1);
  op->complete_now();
  CHECK(op->done());
}

TEST_CASE("a continuation is called once, on completion", "[op_state]") {
  auto op = make_ref<by_hand>();
  counting next;
  op->start();
  CHECK(op->attach(next));
  CHECK(next.calls == 0);
  op->complete_now();
  CHECK(next.calls == 1);
}

TEST_CASE("a continuation that comes late is refused and not called",
          "[op_state]") {
  auto op = make_ref<by_hand>();
  counting next;
  op->start();
  op->complete_now();
  CHECK_FALSE(op->attach(next));
  CHECK(next.calls == 0);
}

TEST_CASE("a second continuation is refused", "[op_state]") {
  auto op = make_ref<by_hand>();
  counting first;
  counting second;
  op->start();
  CHECK(op->attach(first));
  CHECK_FALSE(op->attach(second));
  op->complete_now();
  CHECK(first.calls == 1);
  CHECK(second.calls == 0);
}

TEST_CASE("an operation cancelled before its start never begins",
          "[op_state]") {
  auto op = make_ref<by_hand>();
  op->set_label("row 7");
  op->cancel(ec::cancelled);
  op->start();
  CHECK(op->begun == 0);
  REQUIRE(op->done());
  REQUIRE(op->failed());
  CHECK(op->failed()->code == ec::cancelled);
  CHECK_FALSE(op->failed()->started);
  CHECK(op->failed()->label == "row 7");
}

TEST_CASE("a stop token stops an operation that has begun", "[op_state]") {
  auto op = make_ref<by_hand>();
  std::stop_source source;
  op->set_stop_token(source.get_token());
  op->start();
  CHECK_FALSE(op->done());
  source.request_stop();
  REQUIRE(op->done());
  CHECK(op->stopped == ec::cancelled);
  CHECK(op->failed()->started);
}

TEST_CASE("an operation that is over ignores its stop token", "[op_state]") {
  auto op = make_ref<by_hand>();
  std::stop_source source;
  op->set_stop_token(source.get_token());
  op->start();
  op->complete_now();
  op = nullptr;
  CHECK(source.request_stop());
}

// The completion may come before, while and after the thread falls asleep.
// Failure here is a hang.
TEST_CASE("a wait ends whenever the completion comes", "[op_state]") {
  for (int round = 0; round < 500; ++round) {
    auto op = make_ref<by_hand>();
    op->start();
    std::thread other{[op] { op->complete_now(); }};
    op->wait();
    REQUIRE(op->done());
    other.join();
  }
}
