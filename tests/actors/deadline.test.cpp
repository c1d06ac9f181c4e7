// Deadlines: what is heard when one passes, what never runs, and what becomes
// of a request that was running.

#include "troupe/deadline.hpp"
#include "troupe/troupe.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"
#include "manual_clock.hpp"

#include <catch2/catch.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::actor_world;
using test::hear;
using test::way;
using troupe::ec;
using troupe::pool;
using troupe::pool_options;

namespace {

/// A pool whose time a test moves.
struct timed_pool {
  explicit timed_pool(caf::actor_system& sys, std::size_t workers = 1)
      : io{sys, pool_options{
                    .workers = workers, .idle_timeout = 1h, .clock = clock}} {}

  test::manual_time time;
  std::shared_ptr<test::manual_clock> clock = time.clock;
  pool io;
};

} // namespace

// One worker; the first request runs, the second has a deadline.
TEST_CASE("a request whose deadline passes in the queue is told then, and "
          "never runs",
          "[deadline]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::gate busy;
  std::atomic<bool> ran{false};
  actor_world world;
  {
    timed_pool timed{world.sys};
    test::open_at_exit release{busy};
    auto first = timed.io.run([&] { busy.pass(); }).start();
    busy.wait_for_arrivals();
    test::gate asked;
    std::thread mover{[&] {
      asked.wait_for_arrivals();
      timed.clock->advance(100ms);
    }};
    auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
      auto op = timed.io.run([&] { ran = true; }).timeout(100ms).start();
      asked.touch();
      return op;
    });
    mover.join();
    CHECK(heard.code() == ec::deadline_exceeded);
    // Told while the first one still runs.
    CHECK(timed.io.stats().succeeded == 0);
    CHECK(timed.io.stats().expired == 1);
    CHECK(timed.io.stats().late == 0);
    busy.open();
    first.get();
    timed.io.shutdown().get();
  }
  CHECK_FALSE(ran);
}

TEST_CASE("a request that is done before its deadline does not hear of it",
          "[deadline]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  timed_pool timed{world.sys};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return timed.io.run([] { return 7; }).timeout(1h);
  });
  CHECK(heard.value == 7);
  timed.clock->advance(2h);
  CHECK(timed.io.stats().expired == 0);
}

TEST_CASE("one that runs into its deadline is asked to stop, and counted as "
          "late",
          "[deadline]") {
  test::gate inside;
  std::atomic<bool> asked{false};
  std::atomic<int> hooks{0};
  actor_world world;
  timed_pool timed{world.sys};
  test::open_at_exit release{inside};
  auto op = timed.io
                .run([&](troupe::context& ctx) {
                  auto hook = ctx.on_cancel([&] { ++hooks; });
                  inside.pass();
                  asked = ctx.stop_token().stop_requested();
                  return 1;
                })
                .label("slow")
                .timeout(100ms)
                .start();
  inside.wait_for_arrivals();
  timed.clock->advance(100ms);
  try {
    op.get();
    FAIL("it should have been late");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::deadline_exceeded);
    CHECK(why.started());
    CHECK(why.label() == "slow");
  }
  CHECK(hooks == 1);
  inside.open();
  auto receipt = timed.io.shutdown().get();
  CHECK(asked);
  auto stats = timed.io.stats();
  CHECK(stats.expired == 1);
  CHECK(stats.late == 1);
  CHECK(stats.succeeded == 0);
}

// The only worker blocks in recv, where nobody sends: failure here is a hang.
TEST_CASE("a call that blocks in recv is freed by its hook when the deadline "
          "passes",
          "[deadline]") {
  int ends[2] = {};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  test::gate blocked;
  std::atomic<long> received{-1};
  {
    actor_world world;
    timed_pool timed{world.sys};
    auto op = timed.io
                  .run([&](troupe::context& ctx) {
                    auto hook =
                        ctx.on_cancel([&] { ::shutdown(ends[0], SHUT_RDWR); });
                    blocked.touch();
                    char byte = 0;
                    received = ::recv(ends[0], &byte, 1, 0);
                  })
                  .timeout(100ms)
                  .start();
    blocked.wait_for_arrivals();
    timed.clock->advance(100ms);
    CHECK(test::failure_code([&] { op.get(); }) == ec::deadline_exceeded);
    CHECK(timed.io.run([] { return 1; }).get() == 1);
    CHECK(received == 0);
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("a deadline in the past means that nothing runs", "[deadline]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  std::atomic<bool> ran{false};
  actor_world world;
  pool io{world.sys};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return io.run([&] { ran = true; })
        .deadline(std::chrono::steady_clock::now() - 1s);
  });
  CHECK(heard.code() == ec::deadline_exceeded);
  io.shutdown().get();
  CHECK_FALSE(ran);
}

TEST_CASE("a timeout of less than nothing is refused where it is set",
          "[deadline]") {
  actor_world world;
  pool io{world.sys};
  CHECK(test::failure_code([&] { auto op = io.run([] {}).timeout(-1ms); })
        == ec::invalid_option);
}

TEST_CASE("the earlier of two deadlines counts", "[deadline]") {
  test::gate inside;
  actor_world world;
  timed_pool timed{world.sys};
  test::open_at_exit release{inside};
  auto op =
      timed.io.run([&] { inside.pass(); }).timeout(1s).timeout(1h).start();
  inside.wait_for_arrivals();
  timed.clock->advance(1s);
  CHECK(test::failure_code([&] { op.get(); }) == ec::deadline_exceeded);
}

TEST_CASE("a request knows its deadline", "[deadline]") {
  actor_world world;
  timed_pool timed{world.sys};
  auto now = timed.clock->now();
  auto until = [](troupe::context& ctx) { return ctx.deadline(); };
  CHECK(timed.io.run(until).timeout(5s).get() == now + 5s);
  CHECK(timed.io.run(until).get() == troupe::clock::time_point::max());
  std::vector<troupe::operation<troupe::clock::time_point>> ops;
  ops.push_back(timed.io.run(until));
  ops.push_back(timed.io.run(until).timeout(3s));
  CHECK(troupe::gather(std::move(ops)).timeout(4s).get()
        == std::vector{now + 4s, now + 3s});
}

TEST_CASE("a deadline of a map drops what has not started, with exact counts",
          "[deadline]") {
  test::gate inside;
  actor_world world;
  timed_pool timed{world.sys, 2};
  test::open_at_exit release{inside};
  std::vector<int> numbers(1'000);
  auto op =
      timed.io.map(numbers, [&](int) { inside.pass(); }).timeout(1s).start();
  inside.wait_for_arrivals(2);
  timed.clock->advance(1s);
  CHECK(test::failure_code([&] { op.get(); }) == ec::deadline_exceeded);
  inside.open();
  timed.io.shutdown().get();
  CHECK(inside.arrivals() == 2);
  auto stats = timed.io.stats();
  CHECK(stats.expired == 1'000);
  CHECK(stats.late == 2);
}

TEST_CASE("a gather with a deadline ends all its parts at that moment",
          "[deadline]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  test::gate inside;
  actor_world world;
  timed_pool timed{world.sys};
  test::open_at_exit release{inside};
  troupe::event never{world.sys};
  std::thread mover{[&] {
    inside.wait_for_arrivals();
    timed.clock->advance(1s);
  }};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::gather(timed.io.run([&] { inside.pass(); }), never.wait(),
                          troupe::sleep_for(self, 24h))
        .timeout(1s);
  });
  mover.join();
  CHECK(heard.code() == ec::deadline_exceeded);
}

TEST_CASE("a wait for an event with a deadline is forgotten by the event",
          "[deadline]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  troupe::event done{world.sys};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return done.wait().timeout(1ms);
  });
  CHECK(heard.code() == ec::deadline_exceeded);
  done.set();
  auto in_time = hear(how, world.sys, [&](caf::event_based_actor*) {
    return done.wait().timeout(24h);
  });
  CHECK(in_time.value);
}

TEST_CASE("a task with a deadline is cancelled where it waits", "[deadline]") {
  actor_world world;
  auto told = std::make_shared<test::tally>();
  auto code = troupe::run(
      world.sys, [told](caf::event_based_actor* self) -> troupe::task<ec> {
        auto slow =
            [](caf::event_based_actor* me,
               std::shared_ptr<test::tally> heard) -> troupe::task<void> {
          try {
            co_await troupe::sleep_for(me, 24h);
          } catch (const troupe::failure&) {
            heard->add();
            throw;
          }
        };
        troupe::operation<void> limited = slow(self, told);
        limited.timeout(1ms);
        try {
          co_await std::move(limited);
        } catch (const troupe::failure& why) {
          co_return why.code();
        }
        co_return ec{};
      });
  CHECK(code == ec::deadline_exceeded);
  told->wait_for(1);
}

TEST_CASE("without a deadline a wait goes on until the event is set",
          "[deadline]") {
  actor_world world;
  troupe::event done{world.sys};
  auto op = done.wait().start();
  done.set();
  CHECK_NOTHROW(op.get());
}

TEST_CASE("a hundred thousand requests that race with their deadlines are each "
          "told once",
          "[deadline]") {
  actor_world world;
  pool io{world.sys, pool_options{.workers = 3}};
  std::atomic<int> ran{0};
  std::vector<troupe::operation<void>> ops;
  for (int i = 0; i < 100'000; ++i)
    ops.push_back(io.run([&] { ++ran; })
                      .timeout(std::chrono::microseconds{i % 50})
                      .start());
  std::uint64_t in_time = 0;
  for (auto& op : ops)
    try {
      op.get();
      ++in_time;
    } catch (const troupe::failure& why) {
      if (why.code() != ec::deadline_exceeded)
        FAIL(why.what());
    }
  io.shutdown().get();
  auto stats = io.stats();
  CHECK(stats.succeeded + stats.late == static_cast<std::uint64_t>(ran.load()));
  // Those whose time was over at the start never reached the pool.
  CHECK(stats.succeeded + stats.expired <= 100'000);
  CHECK(in_time <= stats.succeeded + stats.late);
}

// -- what cannot be undone ----------------------------------------------------

namespace {

/// Takes effect when the test says so, and cannot be cancelled any more.
class decided_op final : public troupe::plain_op {
public:
  decided_op(troupe::clock& time, bool says_so)
      : time_{time}, says_so_{says_so} {}

  troupe::clock& time() const noexcept override { return time_; }

  bool is_settled_by_cancel() const noexcept override { return says_so_; }

  void take_effect() { finish(); }

protected:
  void begin() override {}

  void stop(ec) noexcept override {}

private:
  troupe::clock& time_;
  bool says_so_;
};

} // namespace

TEST_CASE("a wait that cannot be undone any more takes no notice of its "
          "deadline",
          "[deadline]") {
  // The sibling is one that may run on for long: it is not waited for.
  auto says_so = GENERATE(true, false);
  CAPTURE(says_so);
  test::manual_time time;
  auto source = troupe::make_ref<decided_op>(*time.clock, says_so);
  auto op = troupe::operation<void>{troupe::with_timeout(source, 1s)}.start();
  time.clock->advance(1s);
  source->take_effect();
  CHECK(test::failure_code([&] { op.get(); })
        == (says_so ? std::optional<ec>{}
                    : std::optional<ec>{ec::deadline_exceeded}));
}
