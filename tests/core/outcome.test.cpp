// What an outcome promises: a value or a reason, never both, and the facts
// about the call beside it.

#include "troupe/outcome.hpp"

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

using troupe::call_report;
using troupe::ec;
using troupe::outcome;
using troupe::outcome_state;

namespace {

troupe::failure_ptr thrown(std::exception_ptr what) {
  return troupe::make_failure(std::move(what), "copy", 3, "io-3");
}

} // namespace

TEST_CASE("an outcome with a value has no failure", "[outcome]") {
  outcome<std::string> it{"hello", call_report{2ms, 3ms, 4, 1}};
  CHECK(it);
  CHECK(it.state() == outcome_state::done);
  CHECK(it.value() == "hello");
  CHECK(it.code() == ec{});
  CHECK(it.what().empty());
  CHECK_FALSE(it.exception());
  CHECK_FALSE(it.failed());
  CHECK(it.label().empty());
  CHECK(it.waited() == 2ms);
  CHECK(it.ran() == 3ms);
  CHECK(it.worker() == 4);
  CHECK(it.attempts() == 1);
  CHECK(std::move(it).value() == "hello");
}

TEST_CASE("an outcome with a value may carry a label", "[outcome]") {
  auto label = troupe::make_failure(ec::cancelled, "", false, "copy");
  outcome<int> it{7, {}, label};
  CHECK(it);
  CHECK(it.code() == ec{});
  CHECK(it.label() == "copy");
}

TEST_CASE("an outcome holds what can only be moved", "[outcome]") {
  outcome<std::unique_ptr<int>> it{std::make_unique<int>(5)};
  auto moved = std::move(it);
  CHECK(*moved.value() == 5);
  CHECK(*std::move(moved).value() == 5);
}

TEST_CASE("the value of a failed outcome throws the request's own exception",
          "[outcome]") {
  outcome<int> it{thrown(std::make_exception_ptr(std::out_of_range{"far"})),
                  outcome_state::failed, call_report{1ms, 2ms, 3, 1}};
  CHECK_FALSE(it);
  CHECK_THROWS_AS(it.value(), std::out_of_range);
  CHECK_THROWS_AS(std::as_const(it).value(), std::out_of_range);
  CHECK(it.code() == ec::request_failed);
  CHECK(std::string{it.what()}
        == "std::out_of_range: far (request 'copy' on worker io-3)");
  CHECK(it.label() == "copy");
  CHECK(it.worker() == 3);
  CHECK_THROWS_AS(std::rethrow_exception(it.exception()), std::out_of_range);
  CHECK_THROWS_AS(std::move(it).value(), std::out_of_range);
}

TEST_CASE("the value of an outcome that never started throws a failure",
          "[outcome]") {
  outcome<void> it{troupe::make_failure(ec::pool_stopped, "too late"),
                   outcome_state::never_started};
  CHECK_THROWS_AS(it.value(), troupe::failure);
  CHECK_THROWS_AS(std::rethrow_exception(it.exception()), troupe::failure);
  CHECK(it.attempts() == 0);
  CHECK(it.worker() == 0);
}

TEST_CASE("an outcome of nothing has no value to throw about", "[outcome]") {
  outcome<void> it;
  CHECK(it);
  CHECK_NOTHROW(it.value());
  CHECK(it.attempts() == 1);
}

TEST_CASE("an arrival says which operation it came from", "[outcome]") {
  troupe::arrival<int> it{outcome<int>{8}, 2};
  CHECK(it.index() == 2);
  CHECK(it.value() == 8);
}

TEST_CASE("a failure that was dropped before its start never started",
          "[outcome]") {
  auto state = [](ec code, bool started, bool asked) {
    return troupe::failed_state(*troupe::make_failure(code, "", started),
                                asked);
  };
  CHECK(state(ec::cancelled, false, true) == outcome_state::never_started);
  CHECK(state(ec::queue_full, false, false) == outcome_state::never_started);
  CHECK(state(ec::cancelled, true, true) == outcome_state::stopped);
  CHECK(state(ec::cancelled, true, false) == outcome_state::failed);
  // An error of another actor says that the call ran.
  CHECK(state(ec::request_failed, false, false) == outcome_state::failed);
}

TEST_CASE("every outcome state has a name", "[outcome]") {
  CHECK(to_string(outcome_state::done) == "done");
  CHECK(to_string(outcome_state::failed) == "failed");
  CHECK(to_string(outcome_state::never_started) == "never_started");
  CHECK(to_string(outcome_state::stopped) == "stopped");
  CHECK(to_string(outcome_state::still_running) == "still_running");
}

TEST_CASE("a million outcomes are small", "[outcome]") {
  STATIC_REQUIRE(sizeof(outcome<void>) <= 32);
  STATIC_REQUIRE(sizeof(outcome<int>) <= 40);
}
