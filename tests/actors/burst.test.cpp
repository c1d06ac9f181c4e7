// Thousands of calls that one actor makes in one go, each with its callbacks:
// whether they come in bursts or not, each is told once what became of it.

#include "troupe/burst.hpp"

#include "actor_ways.hpp"
#include "counted.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

using test::actor_world;
using test::counted;
using troupe::ec;
using troupe::pool;

namespace {

constexpr auto calls = 20'000;

/// Returns whether the running request is part of a burst.
bool in_burst() {
  return dynamic_cast<const troupe::burst*>(
             troupe::worker_cell::current_batch())
         != nullptr;
}

/// Counts answers in an actor until all are in.
struct answers {
  explicit answers(int n) : missing{n} {}

  void value() {
    ++values;
    end();
  }

  void error(const caf::error& why) {
    ++failures[troupe::failure_of(why)->code];
    end();
  }

  void end() {
    if (--missing == 0)
      all.set_value();
  }

  /// Blocks until all are in.
  void wait() { all.get_future().wait(); }

  int missing;
  int values = 0;
  std::map<ec, int> failures;
  std::promise<void> all;
};

/// A pool with a worker that is busy until `open`, and that knows calls to be
/// tiny: so what is asked of it meanwhile comes in bursts, unless the machine
/// is so slow that none of them looked tiny.
class busy_pool {
public:
  explicit busy_pool(actor_world& world, troupe::pool_options options = {})
      : io{world.sys, options} {
    for (auto i = 0; i < 200; ++i)
      io.run([] {}).get();
    std::vector<troupe::operation<void>> tiny;
    for (auto i = 0; i < 200; ++i)
      tiny.push_back(io.run([] {}).start());
    for (auto& one : tiny)
      one.get();
    before = io.stats();
    for (std::size_t i = 0; i < io.options().workers; ++i)
      held_.push_back(io.run([door = door_] { door->pass(); }).start());
    door_->wait_for_arrivals(held_.size());
  }

  busy_pool(const busy_pool&) = delete;
  busy_pool& operator=(const busy_pool&) = delete;

  ~busy_pool() { open(); }

  /// Has the workers go on.
  void open() {
    door_->open();
    for (auto& one : std::exchange(held_, {}))
      one.get();
  }

  pool io;
  troupe::pool_stats before;

private:
  std::shared_ptr<test::gate> door_ = std::make_shared<test::gate>();
  std::vector<troupe::operation<void>> held_;
};

/// Runs `body(self)` in an actor, which lives on as long as it waits for
/// something, and returns when the body has.
template <class Body>
void in_actor(actor_world& world, Body body) {
  auto over = std::make_shared<std::promise<void>>();
  auto future = over->get_future();
  world.sys.spawn([body, over](caf::event_based_actor* self) mutable {
    body(self);
    over->set_value();
  });
  future.wait();
}

} // namespace

TEST_CASE("thousands of calls of one handler are each answered once, in its "
          "actor",
          "[burst]") {
  auto workers = GENERATE(std::size_t{1}, std::size_t{4});
  actor_world world;
  busy_pool busy{world, {.workers = workers}};
  auto io = busy.io;
  auto burst = std::make_shared<std::atomic<int>>(0);
  auto results = std::make_shared<std::vector<int>>(calls, -1);
  auto heard = std::make_shared<answers>(calls);
  in_actor(world, [=](auto* self) {
    for (auto i = 0; i < calls; ++i)
      io.run(
            [burst](int x) {
              *burst += in_burst();
              return 2 * x;
            },
            i)
          .then(
              self,
              [=](int x) {
                // On the actor's thread, as nothing else is.
                auto& mine = (*results)[static_cast<std::size_t>(i)];
                mine = mine == -1 ? x : -2;
                heard->value();
              },
              [=](const caf::error& why) { heard->error(why); });
  });
  busy.open();
  heard->wait();
  CHECK(heard->failures.empty());
  for (auto i = 0; i < calls; ++i)
    if ((*results)[static_cast<std::size_t>(i)] != 2 * i)
      FAIL(i << ": " << (*results)[static_cast<std::size_t>(i)]);
  auto seen = io.stats();
  // And those that the workers were busy with.
  auto all = calls + workers;
  CHECK(seen.succeeded - busy.before.succeeded == all);
  CHECK(seen.submissions - busy.before.submissions == all);
  CHECK(seen.batches - busy.before.batches == all);
  WARN(workers << " workers: " << *burst << " of " << calls << " in bursts");
}

TEST_CASE("a call that fails among thousands says so to its own callback",
          "[burst]") {
  actor_world world;
  busy_pool busy{world, {.name = "disk", .workers = 2}};
  auto io = busy.io;
  auto heard = std::make_shared<answers>(calls);
  auto texts = std::make_shared<std::vector<std::string>>();
  in_actor(world, [=](auto* self) {
    for (auto i = 0; i < calls; ++i)
      io.run([i] {
          if (i % 1000 == 999)
            throw std::runtime_error{"no file " + std::to_string(i)};
        })
          .then(
              self, [=] { heard->value(); },
              [=](const caf::error& why) {
                if (i % 1000 == 999)
                  texts->push_back(troupe::describe(why));
                heard->error(why);
              });
  });
  busy.open();
  heard->wait();
  CHECK(heard->values == calls - calls / 1000);
  REQUIRE(texts->size() == calls / 1000);
  for (auto& text : *texts) {
    CHECK(text.find("no file ") != std::string::npos);
    CHECK(text.find("disk-") != std::string::npos);
  }
  CHECK(io.stats().failed == calls / 1000);
}

TEST_CASE("what an actor asked for in bursts is cancelled when it ends",
          "[burst]") {
  auto log = std::make_shared<std::atomic<int>>(0);
  std::atomic<int> alive{0};
  {
    actor_world world;
    busy_pool busy{world, {.workers = 2}};
    auto io = busy.io;
    auto done = std::make_shared<std::promise<void>>();
    in_actor(world, [=, &alive](auto* self) {
      self->attach_functor([=] { done->set_value(); });
      for (auto i = 0; i < calls; ++i)
        io.run([x = counted{alive}] { static_cast<void>(x); })
            .then(
                self, [=, x = counted{alive}] { self->quit(); },
                [=](const caf::error&) { ++*log; });
    });
    busy.open();
    done->get_future().wait();
    // What had begun ends, and nothing else.
    auto what = io.shutdown(1h).get();
    auto seen = io.stats();
    CHECK(seen.succeeded + seen.cancelled - busy.before.succeeded == calls + 2);
    CHECK(what.still_running.empty());
  }
  CHECK(*log == 0);
  CHECK(alive == 0);
}

TEST_CASE("a callback that throws ends the actor, and nothing of its bursts is "
          "left behind",
          "[burst]") {
  std::atomic<int> alive{0};
  {
    actor_world world;
    busy_pool busy{world, {.workers = 2}};
    auto io = busy.io;
    auto why = std::make_shared<std::promise<caf::error>>();
    auto heard = std::make_shared<int>(0);
    in_actor(world, [=, &alive](auto* self) {
      self->attach_functor([=](const caf::error& e) { why->set_value(e); });
      for (auto i = 0; i < calls; ++i)
        io.run([x = counted{alive}] {
            static_cast<void>(x);
          }).then(self, [=, x = counted{alive}] {
          if (++*heard == calls / 2)
            throw std::runtime_error{"enough"};
        });
    });
    busy.open();
    CHECK(why->get_future().get() != caf::none);
    io.shutdown(1h).get();
    CHECK(*heard == calls / 2);
  }
  CHECK(alive == 0);
}

TEST_CASE("a shutdown tells each call of a burst whether it ran", "[burst]") {
  actor_world world;
  busy_pool busy{world, {.workers = 2}};
  auto io = busy.io;
  auto heard = std::make_shared<answers>(calls + 1);
  auto middle = std::make_shared<test::gate>();
  test::open_at_exit open{*middle};
  in_actor(world, [=](auto* self) {
    for (auto i = 0; i < calls + 1; ++i)
      io.run([=] {
          if (i == calls / 2)
            middle->pass();
        })
          .then(
              self, [=] { heard->value(); },
              [=](const caf::error& why) { heard->error(why); });
  });
  busy.open();
  middle->wait_for_arrivals();
  auto what = io.shutdown(0s).get();
  middle->open();
  heard->wait();
  auto stopped = heard->failures[ec::pool_stopped];
  CHECK(heard->values + stopped == calls + 1);
  CHECK(what.still_running.size() <= 2);
  auto seen = io.stats();
  CHECK(seen.succeeded - busy.before.succeeded
        == static_cast<std::uint64_t>(heard->values) + 2);
}

TEST_CASE("a callback may make more calls, for other pools too", "[burst]") {
  actor_world world;
  busy_pool busy_first{world, {.workers = 1}};
  busy_pool busy_second{world, {.workers = 1}};
  auto first = busy_first.io;
  auto second = busy_second.io;
  constexpr auto chains = 100;
  constexpr auto length = 100;
  auto heard = std::make_shared<answers>(chains);
  using step_type = std::function<void(int)>;
  auto step = std::make_shared<step_type>();
  in_actor(world, [=](caf::event_based_actor* self) {
    *step = [=, &step = *step](int left) {
      if (left == 0) {
        heard->value();
        return;
      }
      auto& io = left % 3 == 0 ? second : first;
      io.run([left] { return left - 1; })
          .then(
              self, [&step](int x) { step(x); },
              [=](const caf::error& why) { heard->error(why); });
    };
    for (auto i = 0; i < chains; ++i)
      (*step)(length);
  });
  busy_first.open();
  busy_second.open();
  heard->wait();
  CHECK(heard->values == chains);
  CHECK(first.stats().succeeded + second.stats().succeeded
            - busy_first.before.succeeded - busy_second.before.succeeded
        == chains * length + 2);
}

TEST_CASE("calls of any shape may be among thousands of tiny ones", "[burst]") {
  struct alignas(64) wide {
    int x = 7;
  };
  actor_world world;
  busy_pool busy{world, {.workers = 2}};
  auto io = busy.io;
  constexpr auto rounds = calls / 5;
  auto heard = std::make_shared<answers>(5 * rounds);
  auto sum = std::make_shared<long>(0);
  in_actor(world, [=](auto* self) {
    auto value = [=](long x) {
      *sum += x;
      heard->value();
    };
    auto error = [=](const caf::error& why) { heard->error(why); };
    for (auto i = 0; i < rounds; ++i) {
      // Too large to be moved into the page, and with a large result.
      io.run([big = std::array<int, 30>{1}] { return big; })
          .then(
              self, [=](std::array<int, 30> x) { value(x[0]); }, error);
      // Callbacks that are too large for a page.
      io.run([] { return 2; })
          .then(
              self,
              [=, big = std::array<long, 100>{3}](int x) { value(x + big[0]); },
              error);
      // What can only be moved, and says so.
      io.run([](std::unique_ptr<int> x) { return x; }, std::make_unique<int>(4))
          .then(
              self, [=](std::unique_ptr<int> x) { value(*x); }, error);
      // Who needs to know about its request.
      io.run([](troupe::context& ctx) {
          return ctx.worker() > 0 ? 6 : 0;
        }).then(self, value, error);
      io.run([w = wide{}] { return w; })
          .then(
              self, [=, w = wide{}](wide y) { value(y.x + w.x); }, error);
    }
  });
  busy.open();
  heard->wait();
  CHECK(heard->failures.empty());
  CHECK(*sum == rounds * (1 + 2 + 3 + 4 + 6 + 14));
}

// Failure here is a hang.
TEST_CASE("a call that blocks among tiny ones holds up no other's answer",
          "[burst]") {
  actor_world world;
  busy_pool busy{world, {.workers = 2}};
  auto io = busy.io;
  auto heard = std::make_shared<answers>(calls);
  auto others = std::make_shared<test::gate>();
  test::open_at_exit open{*others};
  in_actor(world, [=](auto* self) {
    for (auto i = 0; i < calls; ++i) {
      auto blocks = i == calls / 2;
      io.run([=] {
          if (blocks)
            others->pass();
        })
          .then(
              self,
              [=] {
                heard->value();
                // All but the one that waits for this.
                if (heard->missing == 1)
                  others->open();
              },
              [=](const caf::error& why) { heard->error(why); });
    }
  });
  busy.open();
  heard->wait();
  CHECK(heard->values == calls);
}
