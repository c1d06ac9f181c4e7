// What a pool costs when it is given more than it can do, and what is left when
// it is gone, seen from outside by programs that look at /proc/self.

#include "troupe/troupe.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#if !TROUPE_CAF_1
#  include <caf/detail/thread_safe_actor_clock.hpp>
#endif

#include "actor_ways.hpp"
#include "captured_log.hpp"
#include "gate.hpp"
#include "programs.hpp"

using test::way;
using troupe::ec;
using troupe::pool_options;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#  define TROUPE_INSTRUMENTED 1
#else
#  define TROUPE_INSTRUMENTED 0
#endif

namespace {

// Sanitizers keep what was freed, and are slow: then only the answers count.
constexpr bool memory_counts = !TROUPE_INSTRUMENTED;
constexpr int rounds_factor = TROUPE_INSTRUMENTED ? 20 : 1;

/// Runs a program and returns the numbers that it prints, one "name number" a
/// line; "status" is how it left.
std::map<std::string, std::uint64_t> run_program(const std::string& command) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe{
      popen(command.c_str(), "r"), &pclose};
  REQUIRE(pipe);
  std::map<std::string, std::uint64_t> result;
  char name[64];
  unsigned long long number = 0;
  while (std::fscanf(pipe.get(), "%63s %llu", name, &number) == 2)
    result[name] = number;
  result["status"] = static_cast<std::uint64_t>(pclose(pipe.release()));
  return result;
}

std::map<std::string, std::uint64_t> submit(const char* how, int n) {
  return run_program(fmt::format("'{}' {} {}", TROUPE_BOUNDED_QUEUE, how, n));
}

/// A pool of one worker that is busy, and whose queue is full.
struct full_pool {
  explicit full_pool(caf::actor_system& sys, std::size_t room = 1)
      : io{sys, pool_options{.name = "io", .workers = 1, .max_queued = room}} {
    hold.push_back(io.run([this] { busy.pass(); }).start());
    busy.wait_for_arrivals();
    for (std::size_t i = 0; i < room; ++i)
      hold.push_back(io.run([] {}).start());
  }

  void finish() {
    busy.open();
    for (auto& op : hold)
      op.get();
  }

  test::gate busy;
  troupe::pool io;
  std::vector<troupe::operation<void>> hold;
};

#if !TROUPE_CAF_1

/// Holds the thread of CAF's clock back, which hands it a message, at a gate.
class clock_stopper : public caf::event_based_actor {
public:
  clock_stopper(caf::actor_config& cfg, test::gate& door)
      : caf::event_based_actor{cfg}, door_{door} {}

  void enqueue(caf::mailbox_element_ptr, caf::execution_unit*) override {
    door_.pass();
  }

private:
  test::gate& door_;
};

/// Ends when it is told to.
class bystander : public caf::event_based_actor {
public:
  using caf::event_based_actor::event_based_actor;

  caf::behavior make_behavior() override {
    return caf::behavior{[](int) {}};
  }
};

#endif

/// Passes a gate at its end.
class slow_leaver : public caf::event_based_actor {
public:
  slow_leaver(caf::actor_config& cfg, test::gate& door)
      : caf::event_based_actor{cfg}, door_{door} {}

  caf::behavior make_behavior() override {
    return caf::behavior{[](int) {}};
  }

  void on_exit() override { door_.pass(); }

private:
  test::gate& door_;
};

} // namespace

// -- what a million submissions cost ------------------------------------------

TEST_CASE("a million submissions by threads take less than 20 MB", "[bounds]") {
  auto n = 1'000'000 / rounds_factor;
  auto seen = submit("threads", n);
  CHECK(seen["status"] == 0);
  CHECK(seen["ran"] == static_cast<std::uint64_t>(n));
  if (memory_counts)
    CHECK(seen["grown"] < 20'000);
}

TEST_CASE("a million submissions by tasks that await admission take less than "
          "20 MB",
          "[bounds]") {
  auto n = 1'000'000 / rounds_factor;
  auto seen = submit("tasks", n);
  CHECK(seen["status"] == 0);
  CHECK(seen["ran"] == static_cast<std::uint64_t>(n));
  if (memory_counts)
    CHECK(seen["grown"] < 20'000);
}

TEST_CASE("a million submissions to a pool that rejects take less than 20 MB, "
          "and each gets one answer",
          "[bounds]") {
  auto n = 1'000'000 / rounds_factor;
  auto seen = submit("reject", n);
  CHECK(seen["status"] == 0);
  CHECK(seen["refused"] > 0);
  CHECK(seen["ran"] + seen["refused"] == static_cast<std::uint64_t>(n));
  if (memory_counts)
    CHECK(seen["grown"] < 20'000);
}

TEST_CASE("an actor that submits without waiting pays 300 bytes for "
          "each, and gets each answer",
          "[bounds]") {
  auto n = 200'000 / rounds_factor;
  auto seen = submit("actor", n);
  CHECK(seen["status"] == 0);
  CHECK(seen["answers"] == static_cast<std::uint64_t>(n));
  if (memory_counts)
    CHECK(seen["bytes"] <= 300);
}

// -- room ---------------------------------------------------------------------

TEST_CASE("start blocks a thread until the queue has room", "[bounds]") {
  test::actor_world world;
  full_pool full{world.sys};
  test::open_at_exit release{full.busy};
  test::tally started;
  std::thread submitter{[&] {
    for (int i = 0; i < 2; ++i) {
      auto op = full.io.run([] {}).start();
      started.add();
    }
  }};
  // While it waits, it is in the queue already.
  while (full.io.stats().waiting == 0)
    std::this_thread::yield();
  CHECK(started.value() == 0);
  full.finish();
  started.wait_for(2);
  submitter.join();
}

TEST_CASE("admit yields the started operation when there is room, however one "
          "waits",
          "[bounds]") {
  test::actor_world world;
  auto how = GENERATE(way::get, way::then, way::co_await_);
  full_pool full{world.sys};
  test::open_at_exit release{full.busy};
  auto at_once = [&] {
    troupe::pool other{world.sys, pool_options{.workers = 1}};
    return other.run([] { return 7; }).admit().get().get();
  };
  CHECK(at_once() == 7);
  std::thread opener{[&] {
    while (full.io.stats().waiting == 0)
      std::this_thread::yield();
    full.busy.open();
  }};
  auto heard = test::hear(how, world.sys, [&](caf::event_based_actor*) {
    return full.io.run([] { return 5; }).admit();
  });
  opener.join();
  REQUIRE(heard.value);
  CHECK(heard.value->get() == 5);
  full.finish();
}

TEST_CASE("an operation that is refused is admitted, and says so when it is "
          "taken",
          "[bounds]") {
  test::actor_world world;
  troupe::pool io{world.sys, pool_options{.workers = 1}};
  io.shutdown().get();
  auto op = io.run([] {}).admit().get();
  CHECK(test::failure_code([&] { op.get(); }) == ec::pool_stopped);
}

TEST_CASE("cancelling the wait for room cancels the operation", "[bounds]") {
  test::actor_world world;
  full_pool full{world.sys};
  test::open_at_exit release{full.busy};
  std::atomic<bool> ran{false};
  auto wait = full.io.run([&] { ran = true; }).admit();
  auto state = wait.consume();
  state->start();
  CHECK_FALSE(state->done());
  state->cancel(ec::cancelled);
  REQUIRE(state->done());
  CHECK(state->failed()->code == ec::cancelled);
  full.finish();
  full.io.shutdown().get();
  CHECK_FALSE(ran);
}

TEST_CASE("what waits for room goes on when the queue is cancelled",
          "[bounds]") {
  test::actor_world world;
  full_pool full{world.sys};
  test::open_at_exit release{full.busy};
  auto wait = full.io.run([] {}).admit().start();
  auto receipt = full.io.shutdown(std::chrono::nanoseconds{0}).get();
  CHECK(receipt.cancelled == 2);
  auto op = wait.get();
  CHECK(test::failure_code([&] { op.get(); }) == ec::pool_stopped);
  full.busy.open();
}

TEST_CASE("a request may submit more than there is room for", "[bounds]") {
  test::actor_world world;
  troupe::pool io{world.sys, pool_options{.workers = 1, .max_queued = 1}};
  auto sum = io.run([&] {
                 std::vector<troupe::operation<int>> all;
                 for (int i = 0; i < 10; ++i)
                   all.push_back(io.run([i] { return i; }).start());
                 auto total = 0;
                 for (auto& op : all)
                   total += op.get();
                 return total;
               }).get();
  CHECK(sum == 45);
}

TEST_CASE("control is never behind the bound", "[bounds]") {
  test::actor_world world;
  full_pool full{world.sys};
  test::open_at_exit release{full.busy};
  std::stop_source source;
  // By its state, since `start` would wait for room.
  auto above = full.io.run([] {}).stop_with(source.get_token()).consume();
  above->start();
  caf::scoped_actor self{world.sys};
  auto stats = [&] {
    auto seen = troupe::pool_stats{};
    troupe::compat::ask(self, full.io.actor(), troupe::compat::forever,
                        troupe::stats_atom_v)
        .receive([&](const troupe::pool_stats& now) { seen = now; },
                 [](const caf::error&) {});
    return seen;
  };
  CHECK(stats().queued == 1);
  source.request_stop();
  above->wait();
  REQUIRE(above->failed());
  CHECK(above->failed()->code == ec::cancelled);
  full.io.resize(2);
  // The second worker takes what waits, while the first one is busy.
  for (std::size_t i = 1; i < full.hold.size(); ++i)
    full.hold[i].get();
  full.busy.open();
  full.hold[0].get();
  CHECK(full.io.shutdown().get().still_running.empty());
}

TEST_CASE("an exit is not behind the bound, either", "[bounds]") {
  test::captured_log log;
  test::actor_world world;
  full_pool full{world.sys};
  test::open_at_exit release{full.busy};
  auto wait = full.io.run([] {}).admit().start();
  CHECK(full.io.stats().waiting == 1);
  caf::anon_send_exit(full.io.actor(), caf::exit_reason::kill);
  auto above = wait.get();
  CHECK(test::failure_code([&] { above.get(); }) == ec::pool_stopped);
  CHECK(test::failure_code([&] { full.hold[1].get(); }) == ec::pool_stopped);
  full.busy.open();
  full.hold[0].get();
}

TEST_CASE("queue_full says how many wait and for about how long", "[bounds]") {
  test::actor_world world;
  troupe::pool io{world.sys, pool_options{.name = "io",
                                          .workers = 1,
                                          .max_queued = 1,
                                          .on_full = troupe::on_full::reject}};
  io.run([] {}).get();
  test::gate busy;
  test::open_at_exit release{busy};
  auto hold = io.run([&] { busy.pass(); }).start();
  busy.wait_for_arrivals();
  auto queued = io.run([] {}).start();
  auto text = test::thrown_text([&] { io.run([] {}).get(); });
  CAPTURE(text);
  CHECK(text.find("the queue of the pool 'io' is full: 1 submissions wait, for "
                  "about ")
        == 0);
  busy.open();
  hold.get();
  queued.get();
}

// -- what is left -------------------------------------------------------------

TEST_CASE("a thousand actor systems, one after another, leave nothing behind",
          "[bounds]") {
  auto seen = run_program(
      fmt::format("'{}' {} 2", TROUPE_MANY_SYSTEMS, 1'000 / rounds_factor));
  CHECK(seen["status"] == 0);
  CHECK(seen["wrong"] == 0);
  CHECK(seen["threads"] == 0);
  CHECK(seen["descriptors"] == 0);
  if (memory_counts)
    CHECK(seen["grown"] < 2'000);
}

TEST_CASE("a system with a hundred pools leaves nothing behind", "[bounds]") {
  auto seen = run_program(fmt::format("'{}' 5 100", TROUPE_MANY_SYSTEMS));
  CHECK(seen["status"] == 0);
  CHECK(seen["wrong"] == 0);
  CHECK(seen["most"] > 100);
  CHECK(seen["threads"] == 0);
  CHECK(seen["descriptors"] == 0);
  if (memory_counts)
    CHECK(seen["grown"] < 20'000);
}

// Else the system might end first, and what the actor spawns at its end would
// run in one that is gone.
TEST_CASE("an actor on a thread counts as running until its on_exit is through",
          "[bounds]") {
  test::gate door;
  test::actor_world world;
  test::open_at_exit release{door};
  auto who =
      troupe::compat::spawn_thread<slow_leaver>(world.sys, "a test", door);
  caf::anon_send_exit(who, caf::exit_reason::user_shutdown);
  door.wait_for_arrivals();
  CHECK(world.sys.registry().running() == 1);
  door.open();
  world.sys.registry().await_running_count_equal(0);
}

#if !TROUPE_CAF_1

// At the end of a system CAF 0.17 stops its clock as soon as no actor counts as
// running, and waits for the threads of detached actors after that. A hundred
// pools that ended just then had been counted out before they told the clock,
// in a ring of 64 places that nobody emptied any more: the system never ended.
// Here the clock stands still, so that all are where they were then.
TEST_CASE("actors on threads count as running until the clock knows of their "
          "end",
          "[bounds]") {
  constexpr auto actors = std::size_t{100};
  constexpr auto room = caf::detail::thread_safe_actor_clock::buffer_size - 1;
  test::gate clock;
  auto ended = std::make_shared<test::tally>();
  test::actor_world world;
  test::open_at_exit release{clock};
  auto stopper = world.sys.spawn<clock_stopper, caf::hidden>(clock);
  troupe::compat::tell_after(troupe::compat::duration{0}, stopper, 1);
  clock.wait_for_arrivals();
  for (auto i = std::size_t{0}; i < actors; ++i) {
    auto who = troupe::compat::spawn_thread<bystander>(world.sys, "a test");
    test::watch_end(who, ended);
    caf::anon_send_exit(who, caf::exit_reason::user_shutdown);
  }
  // Is told by each in the middle of what CAF does at its end.
  ended->wait_for(actors);
  CHECK(world.sys.registry().running() >= actors - room);
  clock.open();
  world.sys.registry().await_running_count_equal(0);
}

#endif
