// What can be set about an operation: priority, limits, retries, progress and
// tags, for calls, maps and gathers, and what is refused where it means
// nothing.

#include "troupe/troupe.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"
#include "manual_clock.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::actor_world;
using test::hear;
using test::way;
using troupe::ec;
using troupe::pool;
using troupe::pool_options;

namespace {

template <class Set>
std::optional<ec> code_of(caf::actor_system& sys, Set set) {
  pool io{sys};
  auto op = io.run([] {});
  return test::failure_code([&] { set(op); });
}

} // namespace

// -- bad input ----------------------------------------------------------------

TEST_CASE("values that are out of range are refused where they are set",
          "[modifiers]") {
  actor_world world;
  using op = troupe::operation<void>;
  CHECK(code_of(world.sys, [](op& x) { x.max_in_flight(0); })
        == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.key("db", 0); })
        == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.key("", 1); }) == ec::invalid_option);
  for (auto none : {3, 99, 255})
    CHECK(code_of(world.sys,
                  [none](op& x) {
                    x.priority(static_cast<troupe::priority>(none));
                  })
          == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.priority(troupe::priority::low); })
        == std::nullopt);
  CHECK(code_of(world.sys, [](op& x) { x.retry({.attempts = 0}); })
        == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.retry({.backoff = -1ms}); })
        == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.retry({.factor = 0.5}); })
        == ec::invalid_option);
  CHECK(code_of(world.sys, [](op& x) { x.retry({.jitter = 2}); })
        == ec::invalid_option);
  CHECK(code_of(world.sys,
                [](op& x) {
                  x.max_in_flight(1).key("db", 1).retry({.attempts = 1});
                })
        == std::nullopt);
}

TEST_CASE("a modifier that means nothing to an operation is refused",
          "[modifiers]") {
  actor_world world;
  troupe::event done{world.sys};
  auto wait = done.wait();
  CHECK(test::failure_code([&] { wait.priority(troupe::priority::high); })
        == ec::invalid_option);
  CHECK(test::failure_code([&] { wait.retry({}); }) == ec::invalid_option);
  CHECK(test::failure_code([&] { wait.timeout(1h); }) == std::nullopt);
}

TEST_CASE("a modifier of an operation that has started is refused",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys};
  auto op = io.run([] {}).start();
  CHECK(test::failure_code([&] { op.priority(troupe::priority::high); })
        == ec::already_consumed);
  CHECK(test::failure_code([&] { op.timeout(1h); }) == ec::already_consumed);
  op.get();
}

// -- retry --------------------------------------------------------------------

TEST_CASE("a failed call is tried again by real time", "[modifiers]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  pool io{world.sys};
  auto calls = std::make_shared<std::atomic<int>>(0);
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return io
        .run([calls] {
          if (++*calls < 3)
            throw std::runtime_error{"not yet"};
          return calls->load();
        })
        .retry({.backoff = 1ms});
  });
  CHECK(heard.value == 3);
}

TEST_CASE("a call that may not be tried again fails at once", "[modifiers]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  pool io{world.sys};
  auto calls = std::make_shared<std::atomic<int>>(0);
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return io
        .run([calls] {
          ++*calls;
          throw std::runtime_error{"never"};
        })
        .retry({.backoff = 1ms, .when = troupe::retry_on<std::bad_alloc>()});
  });
  CHECK(heard.code() == ec::request_failed);
  CHECK(*calls == 1);
}

TEST_CASE("each call of a gather has its own attempts", "[modifiers]") {
  actor_world world;
  pool io{world.sys, pool_options{.workers = 3}};
  auto calls = std::make_shared<std::vector<std::atomic<int>>>(100);
  std::vector<troupe::operation<int>> ops;
  for (int i = 0; i < 100; ++i)
    ops.push_back(io.run([calls, i] {
      if (++(*calls)[static_cast<std::size_t>(i)] == 1)
        throw i;
      return i;
    }));
  auto sum = 0;
  for (auto x : troupe::gather(std::move(ops)).retry({.backoff = 0ms}).get())
    sum += x;
  CHECK(sum == 4950);
}

// -- progress -----------------------------------------------------------------

TEST_CASE("a gather reports the progress of all its parts, and ends with it",
          "[modifiers]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  pool io{world.sys};
  pool other{world.sys, "other"};
  auto last = std::make_shared<troupe::progress>();
  auto heard = hear(how, world.sys, [&](caf::event_based_actor* self) {
    return troupe::gather(
               io.run([] { return 1; }), io.run([] { return 2; }),
               other.map(std::vector{1, 2, 3}, [](int x) { return x; }),
               troupe::sleep_for(self, 1ms))
        .on_progress([last](const troupe::progress& now) { *last = now; });
  });
  REQUIRE(heard.value);
  CHECK(last->total == 6);
  CHECK(last->done == 6);
  CHECK(last->failed == 0);
}

TEST_CASE("a progress function hears of what failed before the caller does",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys};
  troupe::progress last;
  CHECK_THROWS_AS(
      io.run([] { throw std::runtime_error{"no"}; })
          .on_progress([&](const troupe::progress& now) { last = now; })
          .get(),
      std::runtime_error);
  CHECK(last.failed == 1);
  CHECK(last.done == 1);
}

// -- order and share ----------------------------------------------------------

TEST_CASE("a gather of calls runs at most as many at once as it is told",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys, pool_options{.workers = 4}};
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<troupe::operation<void>> ops;
  for (int i = 0; i < 2'000; ++i)
    ops.push_back(io.run([&] {
      auto now = ++inside;
      auto seen = most.load();
      while (seen < now && !most.compare_exchange_weak(seen, now)) {
      }
      --inside;
    }));
  troupe::gather(std::move(ops)).max_in_flight(2).get();
  CHECK(most <= 2);
}

TEST_CASE("calls with a key leave room for others in one gather",
          "[modifiers]") {
  test::gate busy;
  actor_world world;
  pool io{world.sys, pool_options{.workers = 2}};
  test::open_at_exit release{busy};
  // The third one opens the gate at which the first one stands: were the second
  // one to hold the other worker, this would hang.
  std::atomic<bool> together{false};
  std::atomic<int> inside{0};
  auto with_key = [&](auto what) {
    if (++inside > 1)
      together = true;
    what();
    --inside;
  };
  auto all = troupe::gather(
      io.run([&] { with_key([&] { busy.pass(); }); }).key("db", 1),
      io.run([&] { with_key([] {}); }).key("db", 1), io.run([&] {
        busy.wait_for_arrivals();
        busy.open();
        return 3;
      }));
  CHECK(std::get<2>(all.get()) == 3);
  CHECK_FALSE(together);
}

// -- labels and tags ----------------------------------------------------------

TEST_CASE("requests made inside another one inherit its label and tags",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys};
  pool other{world.sys, "other"};
  auto text = [](troupe::context& ctx) {
    return std::string{ctx.label()} + "/" + std::string{ctx.tag("tenant")};
  };
  auto seen = io.run([&](troupe::context& ctx) {
                  return text(ctx) + " " + other.run(text).get() + " "
                         + other.run(text).label("inner").get() + " "
                         + io.run(text).tag("tenant", "7").get();
                })
                  .label("outer")
                  .tag("tenant", "42")
                  .get();
  CHECK(seen == "outer/42 outer/42 inner/42 outer/7");
  CHECK(other.run(text).get() == "/");
}

TEST_CASE("a failure tells label and tags in all three ways", "[modifiers]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  pool io{world.sys};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return io
        .run([](troupe::context& ctx) {
          throw troupe::failure{ec::request_failed,
                                "tenant " + std::string{ctx.tag("tenant")}};
        })
        .label("load")
        .tag("tenant", "42");
  });
  CHECK(test::thrown_text([&] { std::rethrow_exception(heard.exception()); })
        == "tenant 42");
  if (how == way::then)
    CHECK_THAT(troupe::describe(heard.error),
               Catch::Contains("load") && Catch::Contains("tenant=42"));
  // Where there is no exception of the request's own, the failure has them.
  std::stop_source stop;
  stop.request_stop();
  auto dropped = hear(how, world.sys, [&](caf::event_based_actor*) {
    return io.run([] {})
        .label("load")
        .tag("tenant", "42")
        .stop_with(stop.get_token());
  });
  if (how == way::then) {
    CHECK(troupe::failure_of(dropped.error)->label == "load");
    return;
  }
  REQUIRE(dropped.thrown);
  try {
    std::rethrow_exception(dropped.thrown);
  } catch (const troupe::failure& why) {
    CHECK(why.label() == "load");
    CHECK_FALSE(why.started());
  }
}

TEST_CASE("what a part of a gather has set itself stays", "[modifiers]") {
  auto settled = GENERATE(false, true);
  CAPTURE(settled);
  actor_world world;
  pool io{world.sys};
  auto text = [](troupe::context& ctx) {
    return std::string{ctx.label()} + "/" + std::string{ctx.tag("tenant")};
  };
  std::vector<troupe::operation<std::string>> parts;
  parts.push_back(io.run(text));
  parts.push_back(io.run(text).label("own"));
  parts.push_back(io.run(text).tag("tenant", "7"));
  std::vector<std::string> seen;
  if (settled) {
    for (auto& x : troupe::gather_settled(std::move(parts))
                       .label("all")
                       .tag("tenant", "42")
                       .get())
      seen.push_back(std::string{x.label()} + " " + x.value());
    CHECK(seen
          == std::vector<std::string>{"all all/42", "own own/42", "all all/7"});
  } else {
    seen =
        troupe::gather(std::move(parts)).label("all").tag("tenant", "42").get();
    CHECK(seen == std::vector<std::string>{"all/42", "own/42", "all/7"});
  }
}

TEST_CASE("of the limits of a gather and of its part the stricter one holds",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys, pool_options{.workers = 4}};
  std::atomic<int> now{0};
  std::atomic<bool> together{false};
  auto strict = io.map(std::vector<int>(200, 0), [&](int) {
                    if (++now > 1)
                      together = true;
                    std::this_thread::yield();
                    --now;
                  }).max_in_flight(1);
  std::atomic<int> attempts{0};
  auto tried_twice = io.run([&] {
                         ++attempts;
                         throw std::runtime_error{"no"};
                       }).retry({.attempts = 2, .backoff = 0ns});
  auto all = troupe::gather_settled(std::move(strict), std::move(tried_twice))
                 .max_in_flight(3)
                 .retry({.attempts = 5, .backoff = 0ns})
                 .get();
  CHECK(std::get<0>(all));
  CHECK_FALSE(together);
  CHECK(attempts == 2);
}

TEST_CASE("tags are in all failures, each key once", "[modifiers]") {
  actor_world world;
  test::manual_time time;
  test::gate door;
  pool io{world.sys, pool_options{.workers = 1, .clock = time.clock}};
  test::open_at_exit opener{door};
  auto text = [](auto op) {
    try {
      op.get();
    } catch (const std::exception& what) {
      return std::string{what.what()};
    }
    return std::string{};
  };
  auto tagged = [&](auto op) {
    return std::move(op).tag("a", "0").tag("b", "2").tag("a", "1");
  };
  auto expected = Catch::Contains("(b=2, a=1)");
  auto running = tagged(io.run([&] { door.pass(); })).timeout(1s).start();
  door.wait_for_arrivals();
  auto queued = tagged(io.run([] {})).timeout(1s).start();
  std::stop_source stop;
  auto stopped = tagged(io.run([] {})).stop_with(stop.get_token()).start();
  stop.request_stop();
  CHECK_THAT(text(std::move(stopped)), expected);
  CHECK_THAT(text(tagged(io.run([] {})).stop_with(stop.get_token())), expected);
  CHECK_THAT(text(tagged(io.run([] {})).timeout(0s)), expected);
  time.clock->advance(1s);
  CHECK_THAT(text(std::move(queued)), expected);
  CHECK_THAT(text(std::move(running)), expected);
}

// -- before the outcome -------------------------------------------------------

TEST_CASE("progress ends before a deadline is told, whatever still runs",
          "[modifiers]") {
  auto what =
      GENERATE(as<std::string>{}, "run", "map", "gather", "settled", "first");
  auto deadline_first = GENERATE(false, true);
  CAPTURE(what, deadline_first);
  actor_world world;
  test::manual_time time;
  test::gate door;
  pool io{world.sys, pool_options{.workers = 2, .clock = time.clock}};
  test::open_at_exit opener{door};
  std::mutex mutex;
  std::vector<troupe::progress> calls;
  auto note = [&](const troupe::progress& now) {
    std::lock_guard guard{mutex};
    calls.push_back(now);
  };
  auto limited = [&](auto op) {
    if (deadline_first)
      op.timeout(1s).on_progress(note);
    else
      op.on_progress(note).timeout(1s);
    return std::move(op).start();
  };
  auto pass = [&](int) { door.pass(); };
  auto heard = [&](auto op) {
    door.wait_for_arrivals();
    time.clock->advance(1s);
    CHECK(test::failure_code([&] { op.get(); })
          == (what == "settled" || what == "first"
                  ? std::optional<ec>{}
                  : std::optional<ec>{ec::deadline_exceeded}));
  };
  auto total = 1u;
  if (what == "run") {
    heard(limited(io.run(pass, 1)));
  } else if (what == "map") {
    heard(limited(io.map(std::vector<int>(5, 0), pass)));
    total = 5;
  } else if (what == "first") {
    std::vector<troupe::operation<void>> parts;
    parts.push_back(io.map(std::vector<int>(5, 0), pass).on_progress(note));
    parts.push_back(io.run([&] { door.wait_for_arrivals(); }));
    troupe::first_completed(std::move(parts)).get();
    total = 5;
  } else {
    std::vector<troupe::operation<void>> parts;
    for (int i = 0; i < 5; ++i)
      parts.push_back(io.run(pass, i));
    if (what == "gather")
      heard(limited(troupe::gather(std::move(parts))));
    else
      heard(limited(troupe::gather_settled(std::move(parts))));
    total = 5;
  }
  std::size_t before = 0;
  {
    std::lock_guard guard{mutex};
    before = calls.size();
    REQUIRE(before > 0);
    CHECK(calls.back().total == total);
    CHECK(calls.back().done == total);
    CHECK(calls.back().failed == total);
    CHECK(calls.back().running == 0);
  }
  door.open();
  io.shutdown().get();
  std::lock_guard guard{mutex};
  CHECK(calls.size() == before);
}

TEST_CASE("a progress function may end what it is told of", "[modifiers]") {
  actor_world world;
  pool io{world.sys, pool_options{.workers = 1}};
  std::stop_source stop;
  std::vector<troupe::operation<void>> parts;
  parts.push_back(
      io.map(std::views::iota(0, 1'000'000'000), [](int) {
          std::this_thread::yield();
        }).on_progress([&](const troupe::progress&) { stop.request_stop(); }));
  // Failure is a hang: the function waits for itself to return.
  CHECK(test::failure_code([&] {
          troupe::first_completed(std::move(parts))
              .stop_with(stop.get_token())
              .get();
        })
        == ec::cancelled);
}

TEST_CASE("with a token that had been stopped, nothing begins", "[modifiers]") {
  auto what = GENERATE(range(0, 9));
  CAPTURE(what);
  actor_world world;
  pool io{world.sys};
  std::stop_source stop;
  stop.request_stop();
  std::atomic<int> ran{0};
  auto run = [&] { return io.run([&] { return ++ran; }); };
  auto two = [&] {
    std::vector<troupe::operation<int>> parts;
    parts.push_back(run());
    parts.push_back(run());
    return parts;
  };
  auto refused = [&](auto op) {
    return test::failure_code(
               [&] { static_cast<void>(op.stop_with(stop.get_token()).get()); })
           == ec::cancelled;
  };
  troupe::semaphore permits{world.sys, 1};
  for (int i = 0; i < 200; ++i)
    switch (what) {
    case 0:
      CHECK(refused(run()));
      break;
    case 1:
      CHECK(refused(troupe::gather(two())));
      break;
    case 2:
      CHECK(refused(troupe::gather(run(), run())));
      break;
    case 3:
      for (auto& x :
           troupe::gather_settled(two()).stop_with(stop.get_token()).get()) {
        CHECK(x.state() == troupe::outcome_state::never_started);
        CHECK(x.code() == ec::cancelled);
      }
      break;
    case 4:
      CHECK(refused(troupe::first_completed(two())));
      break;
    case 5:
      CHECK(refused(run().hedge_after(1h)));
      break;
    case 6:
      CHECK(refused(run().timeout(1h)));
      break;
    case 7:
      CHECK(refused(troupe::shield(run())));
      break;
    default:
      CHECK(refused(permits.acquire()));
    }
  CHECK(ran == 0);
}

TEST_CASE("a failure says that a batch has started if any of it has",
          "[modifiers]") {
  auto how_many = GENERATE(0, 1);
  auto gathered = GENERATE(false, true);
  CAPTURE(how_many, gathered);
  actor_world world;
  test::gate held;
  test::gate door;
  pool io{world.sys, pool_options{.workers = 1}};
  test::open_at_exit release{held};
  test::open_at_exit opener{door};
  auto busy = io.run([&] { held.pass(); }).start();
  held.wait_for_arrivals();
  std::stop_source stop;
  auto pass = [&](int) { door.pass(); };
  auto op = io.map(std::vector<int>(5, 0), pass);
  if (gathered) {
    std::vector<troupe::operation<void>> parts;
    for (int i = 0; i < 5; ++i)
      parts.push_back(io.run(pass, i));
    auto all = troupe::gather(std::move(parts));
    all.stop_with(stop.get_token());
    op = std::move(all);
  } else {
    op.stop_with(stop.get_token());
  }
  auto started = std::move(op).start();
  if (how_many > 0) {
    held.open();
    door.wait_for_arrivals();
  }
  stop.request_stop();
  door.open();
  try {
    started.get();
    FAIL("it was cancelled");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::cancelled);
    CHECK(why.started() == (how_many > 0));
  }
}

TEST_CASE("what a stopped token has refused is not cancelled once more",
          "[modifiers]") {
  auto what = GENERATE(as<std::string>{}, "delay", "shield", "scope");
  CAPTURE(what);
  actor_world world;
  pool io{world.sys};
  std::stop_source stop;
  stop.request_stop();
  auto body = [&](caf::event_based_actor* self) -> troupe::task<ec> {
    auto refused = [&]() -> troupe::operation<void> {
      if (what == "delay")
        return troupe::sleep_for(self, 1h);
      if (what == "shield")
        return troupe::shield(io.run([] {}));
      return troupe::with_group(self,
                                [](caf::event_based_actor*, troupe::task_group&)
                                    -> troupe::task<void> { co_return; });
    };
    auto part = refused();
    part.stop_with(stop.get_token());
    std::vector<troupe::operation<void>> parts;
    parts.push_back(std::move(part));
    parts.push_back(troupe::sleep_for(self, 1h));
    // It fails, and the gather cancels all its parts.
    try {
      co_await troupe::gather(std::move(parts));
    } catch (const troupe::failure& why) {
      co_return why.code();
    }
    co_return ec{};
  };
  CHECK(troupe::run(world.sys, body) == ec::cancelled);
}

TEST_CASE("a gather that is refused still waits for what had been started",
          "[modifiers]") {
  auto settled = GENERATE(false, true);
  CAPTURE(settled);
  actor_world world;
  pool io{world.sys, pool_options{.workers = 1}};
  std::stop_source stop;
  stop.request_stop();
  test::gate begun;
  begun.open();
  std::atomic<bool> ended{false};
  std::vector<troupe::operation<void>> parts;
  parts.push_back(io.run([&](troupe::context& ctx) {
                      test::gate asked;
                      auto hook = ctx.on_cancel([&] { asked.touch(); });
                      begun.pass();
                      asked.wait_for_arrivals();
                      ended = true;
                    }).start());
  begun.wait_for_arrivals();
  parts.push_back(io.run([] {}));
  if (settled) {
    auto all = troupe::gather_settled(std::move(parts))
                   .stop_with(stop.get_token())
                   .get();
    CHECK(ended);
    CHECK(all[0]);
    CHECK(all[1].state() == troupe::outcome_state::never_started);
  } else {
    auto all = troupe::gather(std::move(parts)).stop_with(stop.get_token());
    CHECK(test::failure_code([&] { all.get(); }) == ec::cancelled);
    CHECK(ended);
  }
}

TEST_CASE("a part of a gather that tells its progress does so, and counts as "
          "one",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys};
  troupe::progress of_part;
  troupe::progress of_whole;
  auto part =
      io.map(std::vector<int>(5, 0), [](int) {
        }).on_progress([&](const troupe::progress& now) { of_part = now; });
  troupe::gather(std::move(part), io.map(std::vector<int>(3, 0), [](int) {}))
      .on_progress([&](const troupe::progress& now) { of_whole = now; })
      .get();
  CHECK(of_part.total == 5);
  CHECK(of_part.done == 5);
  CHECK(of_whole.total == 4);
  CHECK(of_whole.done == 4);
  CHECK(of_whole.failed == 0);
}

TEST_CASE("refused outcomes are there, and failures have their names",
          "[modifiers]") {
  actor_world world;
  pool io{world.sys};
  std::stop_source stop;
  stop.request_stop();
  std::vector<troupe::operation<void>> parts;
  parts.push_back(io.run([] {}));
  auto all = troupe::gather_settled(std::move(parts))
                 .timeout(1h)
                 .stop_with(stop.get_token())
                 .get();
  REQUIRE(all.size() == 1);
  CHECK(all[0].code() == ec::cancelled);
  auto named = io.run([] {}).label("name").tag("a", "1").timeout(1h).stop_with(
      stop.get_token());
  try {
    named.get();
    FAIL("it was refused");
  } catch (const troupe::failure& why) {
    CHECK(why.label() == "name");
    CHECK_THAT(why.what(), Catch::Contains("(a=1)"));
  }
}
