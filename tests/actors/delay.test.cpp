// What `sleep_for` and `ask` promise to the actor that waits.

#include "troupe/delay.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;

using test::hear;
using test::way;
using troupe::ec;

namespace {

caf::behavior answers(caf::event_based_actor* self) {
  return {
      [](const std::string& text, std::int32_t n) {
        std::string all;
        for (std::int32_t i = 0; i < n; ++i)
          all += text;
        return all;
      },
      [](std::int32_t) -> caf::result<void> { return caf::unit; },
      // Never answers; the promise is kept open by its copy.
      [self, kept = std::make_shared<std::vector<caf::response_promise>>()](
          double) mutable -> caf::result<std::string> {
        kept->push_back(self->make_response_promise());
        return kept->back();
      },
      [](bool) -> caf::result<std::string> {
        return caf::make_error(caf::sec::runtime_error, "on purpose");
      },
  };
}

struct answering {
  explicit answering(caf::actor_system& sys) : actor{sys.spawn(answers)} {}
  answering(const answering&) = delete;
  answering& operator=(const answering&) = delete;
  ~answering() { caf::anon_send_exit(actor, caf::exit_reason::kill); }
  caf::actor actor;
};

/// Does one thing, then stays for as long as somebody refers to it, and tells
/// when it no longer exists.
class mayfly final : public caf::event_based_actor {
public:
  using function = std::function<void(caf::event_based_actor*)>;

  mayfly(caf::actor_config& cfg, function begin,
         std::shared_ptr<test::tally> begun, std::shared_ptr<test::tally> gone)
      : caf::event_based_actor(cfg),
        begin_{std::move(begin)},
        begun_{std::move(begun)},
        gone_{std::move(gone)} {}

  ~mayfly() override { gone_->add(); }

  caf::behavior make_behavior() override {
    begin_(this);
    begun_->add();
    return {[](const std::string&) {}};
  }

private:
  function begin_;
  std::shared_ptr<test::tally> begun_;
  std::shared_ptr<test::tally> gone_;
};

void ignore(caf::error) {}

} // namespace

TEST_CASE("shorter delays end first", "[delay]") {
  auto shorter = GENERATE(0ms, 30ms);
  CAPTURE(shorter);
  test::actor_world world;
  using indices = std::vector<std::size_t>;
  auto body = [shorter](caf::event_based_actor* self) -> troupe::task<indices> {
    auto shorter_last = co_await troupe::first_completed(
        troupe::sleep_for(self, 24h), troupe::sleep_for(self, shorter));
    auto shorter_first = co_await troupe::first_completed(
        troupe::sleep_for(self, shorter), troupe::sleep_for(self, 24h));
    co_return indices{shorter_last.index(), shorter_first.index()};
  };
  CHECK(troupe::run(world.sys, body) == indices{1, 0});
}

TEST_CASE("a delay that is cancelled fails at once", "[delay]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  std::stop_source stop;
  std::jthread stopper;
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    auto op = troupe::sleep_for(self, 24h).stop_with(stop.get_token()).start();
    stopper = std::jthread{[&] { stop.request_stop(); }};
    return op;
  });
  CHECK(result.code() == ec::cancelled);
}

TEST_CASE("a delay whose token is stopped already never begins", "[delay]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  std::stop_source stop;
  stop.request_stop();
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::sleep_for(self, 24h).stop_with(stop.get_token());
  });
  CHECK(result.code() == ec::cancelled);
}

TEST_CASE("ask sends all arguments", "[delay]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  answering other{world.sys};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::ask<std::string>(self, other.actor, 24h, std::string{"ab"},
                                    std::int32_t{3});
  });
  CHECK(result.value == "ababab");
}

TEST_CASE("ask for an empty answer completes", "[delay]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  answering other{world.sys};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::ask<void>(self, other.actor, troupe::compat::forever,
                             std::int32_t{3});
  });
  CHECK(result.value.has_value());
}

TEST_CASE("ask fails with the error that the other actor answers", "[delay]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  answering other{world.sys};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::ask<std::string>(self, other.actor, 24h, true);
  });
  CHECK_FALSE(result.value.has_value());
  auto text = result.thrown ? troupe::describe(result.thrown)
                            : troupe::describe(result.error);
  CHECK(text.find("on purpose") != std::string::npos);
}

TEST_CASE("ask fails when the answer does not come in time", "[delay]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  answering other{world.sys};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::ask<std::string>(self, other.actor, 5ms, 1.5);
  });
  CHECK_FALSE(result.value.has_value());
}

TEST_CASE("ask fails when the other actor has ended", "[delay]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  auto over = std::make_shared<test::tally>();
  auto other = world.sys.spawn(answers);
  test::watch_end(other, over);
  caf::anon_send_exit(other, caf::exit_reason::kill);
  over->wait_for(1);
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::ask<std::string>(self, other, troupe::compat::forever, 1.5);
  });
  CHECK_FALSE(result.value.has_value());
}

TEST_CASE("a question that is cancelled fails at once", "[delay]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::actor_world world;
  answering other{world.sys};
  troupe::pool pool{world.sys};
  auto result = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::gather(troupe::ask<std::string>(self, other.actor, 24h, 1.5),
                          pool.run([] { throw std::string{"sibling"}; }));
  });
  CHECK(troupe::describe(result.exception()) == "std::string: sibling");
}

// -- what CAF's clock keeps ---------------------------------------------------

// CAF 1.x's own timer refers to its actor until the time has passed. Failure in
// these is a hang, and was one at the end of the actor system.

TEST_CASE("a delay that is cancelled keeps no actor alive", "[delay]") {
  test::actor_world world;
  auto begun = std::make_shared<test::tally>();
  auto gone = std::make_shared<test::tally>();
  std::stop_source stop;
  auto sleep = [token = stop.get_token()](caf::event_based_actor* self) {
    troupe::sleep_for(self, 24h).stop_with(token).then(
        self, [] {}, ignore);
  };
  world.sys.spawn<mayfly>(sleep, begun, gone);
  begun->wait_for(1);
  CHECK(gone->value() == 0);
  stop.request_stop();
  gone->wait_for(1);
}

TEST_CASE("an actor that ends during a delay is gone at once", "[delay]") {
  test::actor_world world;
  auto begun = std::make_shared<test::tally>();
  auto gone = std::make_shared<test::tally>();
  auto sleep = [](caf::event_based_actor* self) {
    troupe::sleep_for(self, 24h).then(
        self, [] {}, ignore);
  };
  caf::anon_send_exit(world.sys.spawn<mayfly>(sleep, begun, gone),
                      caf::exit_reason::kill);
  gone->wait_for(1);
}

TEST_CASE("a question that was answered keeps no actor alive", "[delay]") {
  test::actor_world world;
  answering other{world.sys};
  auto begun = std::make_shared<test::tally>();
  auto gone = std::make_shared<test::tally>();
  auto ask = [&other](caf::event_based_actor* self) {
    troupe::ask<void>(self, other.actor, 24h, std::int32_t{1})
        .then(
            self, [] {}, ignore);
  };
  world.sys.spawn<mayfly>(ask, begun, gone);
  gone->wait_for(1);
}
