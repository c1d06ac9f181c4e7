// The plain messages, as an actor uses them that knows their header and no
// other.

#include "troupe/messages.hpp"

#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

/// Squares numbers by two batches, one behind the other, and tells the sum.
class squaring_actor : public caf::event_based_actor {
public:
  squaring_actor(caf::actor_config& cfg, caf::actor pool,
                 std::shared_ptr<std::promise<std::string>> report)
      : caf::event_based_actor(cfg),
        pool_{std::move(pool)},
        report_{std::move(report)} {}

  caf::behavior make_behavior() override {
    auto squares = troupe::make_map_batch(std::vector<int>{1, 2, 3, 4},
                                          [](int x) { return x * x; });
    squares.label("squares");
    troupe::compat::ask(this, pool_, troupe::compat::forever,
                        troupe::submit_atom_v, squares.ref())
        .then(
            [this, squares](const troupe::completion& what) mutable {
              auto sum = 0;
              for (auto x : squares.result())
                sum += x;
              report_sum(what, sum);
            },
            [this](const caf::error& why) {
              report_->set_value(troupe::describe(why));
            });
    return {[](const std::string&) {}};
  }

  void on_exit() override { pool_ = nullptr; }

private:
  void report_sum(const troupe::completion& squares, int sum) {
    auto text =
        troupe::make_batch([](int x) { return std::to_string(x); }, sum);
    auto counts = squares.label + " " + std::to_string(squares.requests) + "/"
                  + std::to_string(squares.succeeded);
    troupe::compat::ask(this, pool_, troupe::compat::forever,
                        troupe::submit_atom_v, text.ref())
        .then(
            [this, text, counts](const troupe::completion&) mutable {
              report_->set_value(counts + " " + text.result());
              quit();
            },
            [this](const caf::error& why) {
              report_->set_value(troupe::describe(why));
            });
  }

  caf::actor pool_;
  std::shared_ptr<std::promise<std::string>> report_;
};

} // namespace

#include "actor_ways.hpp"
#include "gate.hpp"
#include "mail.hpp"

#include <catch2/catch.hpp>

using namespace std::chrono_literals;

using test::request;
using troupe::ec;
using troupe::pool_options;

namespace {

/// Collects the completions that it is sent.
struct observer {
  explicit observer(caf::actor_system& sys) {
    actor = sys.spawn([all = all](caf::event_based_actor*) -> caf::behavior {
      return {[all](const troupe::completion& what) {
        all->list.push_back(what);
        all->count.add();
      }};
    });
  }

  observer(const observer&) = delete;
  observer& operator=(const observer&) = delete;

  ~observer() { caf::anon_send_exit(actor, caf::exit_reason::kill); }

  struct content {
    std::vector<troupe::completion> list;
    test::tally count;
  };

  std::shared_ptr<content> all = std::make_shared<content>();
  caf::actor actor;
};

} // namespace

// -- batches ------------------------------------------------------------------

TEST_CASE("an actor runs batches by messages alone", "[messages]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto report = std::make_shared<std::promise<std::string>>();
  world.sys.spawn<squaring_actor>(pool.actor(), report);
  CHECK(report->get_future().get() == "squares 4/4 30");
}

TEST_CASE("a batch by message that fails is complete, and its result throws",
          "[messages]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto batch = troupe::make_batch([]() -> int { throw std::string{"no"}; });
  auto done = request<troupe::completion>(world.sys, pool.actor(),
                                          troupe::submit_atom_v, batch.ref());
  REQUIRE(done.value.has_value());
  CHECK(done.value->failed == 1);
  CHECK(done.value->succeeded == 0);
  CHECK_THROWS_AS(batch.result(), std::string);
}

TEST_CASE("an empty batch and one that was submitted are refused",
          "[messages]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto submit = [&](troupe::batch_ref what) {
    return request<troupe::completion>(world.sys, pool.actor(),
                                       troupe::submit_atom_v, what);
  };
  CHECK(submit(troupe::batch_ref{}).code() == ec::invalid_option);
  auto batch = troupe::make_batch([] { return 1; });
  CHECK(submit(batch.ref()).value.has_value());
  CHECK(submit(batch.ref()).code() == ec::already_consumed);
  CHECK(batch.result() == 1);
}

TEST_CASE("a batch by message is told when the pool ends without handles",
          "[messages]") {
  // The coordinator heard that nothing is outstanding before it heard of the
  // completion, and ended with "pool_stopped" for a batch that had run.
  test::actor_world world;
  for (int i = 0; i < 50; ++i) {
    test::gate door;
    auto batch = troupe::make_batch([&] {
      door.pass();
      return 5;
    });
    auto coordinator = [&] {
      troupe::pool pool{world.sys};
      auto actor = pool.actor();
      static_cast<void>(
          request<troupe::pool_stats>(world.sys, actor, troupe::stats_atom_v));
      return std::pair{std::move(actor), pool};
    }();
    std::jthread closer{[&, pool = std::move(coordinator.second)]() mutable {
      door.wait_for_arrivals();
      // The last handle goes first, or the request returns first.
      { auto last = std::move(pool); }
      door.open();
    }};
    auto done = request<troupe::completion>(world.sys, coordinator.first,
                                            troupe::submit_atom_v, batch.ref());
    REQUIRE(done.value.has_value());
    CHECK(batch.result() == 5);
    closer.join();
  }
}

// -- control ------------------------------------------------------------------

TEST_CASE("stats_atom is answered with a snapshot", "[messages]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  pool.map(std::vector<int>(7, 1), [](int x) { return x; }).get();
  auto stats = request<troupe::pool_stats>(world.sys, pool.actor(),
                                           troupe::stats_atom_v);
  REQUIRE(stats.value.has_value());
  CHECK(stats.value->succeeded == 7);
  CHECK(stats.value->batches == 1);
}

TEST_CASE("resize_atom changes the size, or refuses", "[messages]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto resize = [&](std::uint64_t n) {
    return request<std::monostate>(world.sys, pool.actor(),
                                   troupe::resize_atom_v, n);
  };
  CHECK(resize(5).value.has_value());
  CHECK(pool.options().workers == 5);
  CHECK(resize(0).code() == ec::invalid_option);
  CHECK(resize(65'537).code() == ec::invalid_option);
  CHECK(pool.options().workers == 5);
}

TEST_CASE("a subscriber gets one completion per batch, with right counts",
          "[messages]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  observer watching{world.sys};
  auto subscribed = request<std::monostate>(
      world.sys, pool.actor(), troupe::subscribe_atom_v, watching.actor);
  REQUIRE(subscribed.value.has_value());
  pool.run([] {}).label("single").get();
  pool.map(std::vector<int>(100, 1), [](int x) { return x; })
      .label("map")
      .get();
  troupe::gather(pool.run([] {}), pool.run([] {}), pool.run([] {}))
      .label("gather")
      .get();
  pool.resize(1);
  CHECK_THROWS(pool.map(std::vector<int>{1, 2, 3, 4, 5},
                        [](int x) {
                          if (x == 1)
                            throw x;
                        })
                   .label("failing")
                   .get());
  pool.shutdown().get();
  watching.all->count.wait_for(4);
  const auto& list = watching.all->list;
  REQUIRE(list.size() == 4);
  CHECK(list[0].label == "single");
  CHECK(list[0].requests == 1);
  CHECK(list[0].succeeded == 1);
  CHECK(list[1].label == "map");
  CHECK(list[1].requests == 100);
  CHECK(list[1].succeeded == 100);
  CHECK(list[2].label == "gather");
  CHECK(list[2].requests == 3);
  CHECK(list[2].succeeded == 3);
  CHECK(list[3].label == "failing");
  CHECK(list[3].requests == 5);
  CHECK(list[3].failed >= 1);
  CHECK(list[3].succeeded + list[3].failed + list[3].cancelled == 5);
  CHECK(list[0].id < list[1].id);
  CHECK(list[1].id < list[2].id);
  CHECK(list[2].id < list[3].id);
}

TEST_CASE("a subscriber gets one completion per call of those that come in "
          "bursts",
          "[messages]") {
  constexpr auto calls = 10'000;
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  auto answered = std::make_shared<test::tally>();
  auto ask = [&] {
    world.sys.spawn([=](caf::event_based_actor* self) {
      for (auto i = 0; i < calls; ++i)
        pool.run([] {}).then(self, [=] { answered->add(); });
    });
  };
  ask();
  struct seen {
    test::tally right;
    test::tally wrong;
    std::mutex mutex;
    std::set<std::uint64_t> ids;
  };
  auto all = std::make_shared<seen>();
  auto listener = world.sys.spawn([all](caf::event_based_actor*) {
    return caf::behavior{[all](const troupe::completion& what) {
      std::lock_guard guard{all->mutex};
      all->ids.insert(what.id);
      (what.requests == 1 && what.succeeded == 1 ? all->right : all->wrong)
          .add();
    }};
  });
  auto subscribed = request<std::monostate>(world.sys, pool.actor(),
                                            troupe::subscribe_atom_v, listener);
  REQUIRE(subscribed.value.has_value());
  ask();
  answered->wait_for(2 * calls);
  pool.shutdown().get();
  all->right.wait_for(calls);
  CHECK(all->wrong.value() == 0);
  std::lock_guard guard{all->mutex};
  CHECK(all->ids.size() >= calls);
  caf::anon_send_exit(listener, caf::exit_reason::kill);
}

TEST_CASE("a subscriber that ends is forgotten", "[messages]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto over = std::make_shared<test::tally>();
  {
    auto gone = world.sys.spawn<caf::detached>(
        [](caf::event_based_actor*) -> caf::behavior {
          return {[](const troupe::completion&) {}};
        });
    test::watch_end(gone, over);
    CHECK(request<std::monostate>(world.sys, pool.actor(),
                                  troupe::subscribe_atom_v, gone)
              .value.has_value());
    caf::anon_send_exit(gone, caf::exit_reason::kill);
  }
  over->wait_for(1);
  CHECK(pool.run([] { return 1; }).get() == 1);
}

TEST_CASE("an invalid actor cannot subscribe", "[messages]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  auto refused = request<std::monostate>(
      world.sys, pool.actor(), troupe::subscribe_atom_v, caf::actor{});
  CHECK(refused.code() == ec::invalid_option);
  CHECK(pool.run([] { return 1; }).get() == 1);
}

TEST_CASE("drain_atom is answered with the receipt", "[messages]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  auto busy = pool.run([&] { door.pass(); }).start();
  door.wait_for_arrivals();
  door.open();
  auto what = request<troupe::receipt>(world.sys, pool.actor(),
                                       troupe::drain_atom_v, caf::timespan{1h});
  REQUIRE(what.value.has_value());
  CHECK(what.value->drained <= 1);
  CHECK(what.value->still_running.empty());
  busy.get();
  CHECK(pool.shutdown().get().drained == what.value->drained);
}

TEST_CASE("a coordinator that is killed tells who asked it", "[messages]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  auto busy = pool.run([&] { door.pass(); }).start();
  door.wait_for_arrivals();
  auto batch = troupe::make_batch([] { return 1; });
  caf::scoped_actor self{world.sys};
  auto heard = ec{};
  auto asked = [&] {
    auto sent = troupe::compat::ask(self, pool.actor(), troupe::compat::forever,
                                    troupe::submit_atom_v, batch.ref());
    // Answered behind the batch, which exit messages would overtake.
    request<troupe::pool_stats>(world.sys, pool.actor(), troupe::stats_atom_v);
    caf::anon_send_exit(pool.actor(), caf::exit_reason::kill);
    return sent;
  };
  asked().receive(
      [](const troupe::completion&) {},
      [&](const caf::error& why) { heard = troupe::failure_of(why)->code; });
  CHECK(heard == ec::pool_stopped);
  door.open();
  busy.get();
}

// -- events -------------------------------------------------------------------

TEST_CASE("an event understands set, clear, is_set and wait", "[messages]") {
  test::actor_world world;
  troupe::event flag{world.sys};
  auto face = flag.actor();
  auto is_set = [&] {
    return request<bool>(world.sys, face, troupe::is_set_atom_v).value;
  };
  auto tell = [&](auto what) {
    return request<std::monostate>(world.sys, face, what).value.has_value();
  };
  CHECK(is_set() == false);
  CHECK(tell(troupe::set_atom_v));
  CHECK(flag.is_set());
  CHECK(is_set() == true);
  CHECK(tell(troupe::wait_atom_v));
  CHECK(tell(troupe::clear_atom_v));
  CHECK_FALSE(flag.is_set());
  CHECK(is_set() == false);
}

TEST_CASE("wait_atom is answered when the event is set", "[messages]") {
  test::actor_world world;
  troupe::event flag{world.sys};
  auto answers = std::make_shared<test::tally>();
  auto asked = std::make_shared<test::tally>();
  world.sys.spawn([=](caf::event_based_actor* self) {
    for (int i = 0; i < 3; ++i)
      troupe::compat::ask(self, flag.actor(), troupe::compat::forever,
                          troupe::wait_atom_v)
          .then([answers] { answers->add(); }, [](const caf::error&) {});
    asked->add();
  });
  asked->wait_for(1);
  // Answered behind the three, so they wait by now.
  CHECK(request<bool>(world.sys, flag.actor(), troupe::is_set_atom_v).value
        == false);
  CHECK(answers->value() == 0);
  flag.set();
  answers->wait_for(3);
  CHECK(answers->value() == 3);
}

TEST_CASE("who waits by message for an event hears when its last handle goes",
          "[messages]") {
  // CAF 0.17 drops the promise in silence. Failure here is a hang.
  test::actor_world world;
  auto flag = std::make_unique<troupe::event>(world.sys);
  auto face = flag->actor();
  caf::scoped_actor self{world.sys};
  auto heard = ec{};
  auto asked = [&] {
    auto sent = troupe::compat::ask(self, face, troupe::compat::forever,
                                    troupe::wait_atom_v);
    // Answered behind the wait, which exit messages would overtake.
    request<bool>(world.sys, face, troupe::is_set_atom_v);
    flag.reset();
    face = nullptr;
    return sent;
  };
  asked().receive(
      [] {},
      [&](const caf::error& why) { heard = troupe::failure_of(why)->code; });
  CHECK(heard == ec::owner_gone);
}
