// What becomes of the operations and tasks of an actor that ends: frames are
// destroyed, but not under the hands of a running request; whoever waited
// hears of it; the pool goes on.

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::counted;
using troupe::ec;
using troupe::pool_options;

namespace {

/// How an actor ends.
enum class ending { kill, quit, exception };

std::ostream& operator<<(std::ostream& out, ending how) {
  return out << (how == ending::kill   ? "kill"
                 : how == ending::quit ? "quit"
                                       : "exception");
}

/// An actor that a test ends from outside.
struct host {
  /// Calls `begin(self)` in a new actor.
  template <class Begin>
  host(caf::actor_system& sys, Begin begin) {
    actor = sys.spawn(
        [begin, over = over](caf::event_based_actor* self) -> caf::behavior {
          self->attach_functor([over](const caf::error&) { over->add(); });
          begin(self);
          return {[self](const std::string& what) {
            if (what == "quit")
              self->quit();
            else
              throw std::runtime_error{what};
          }};
        });
  }

  /// Ends the actor and waits until it has ended.
  void end(ending how) {
    switch (how) {
    case ending::kill:
      caf::anon_send_exit(actor, caf::exit_reason::kill);
      break;
    case ending::quit:
      troupe::compat::tell(actor, std::string{"quit"});
      break;
    case ending::exception:
      troupe::compat::tell(actor, std::string{"thrown on purpose"});
      break;
    }
    actor = nullptr;
    over->wait_for(1);
  }

  std::shared_ptr<test::tally> over = std::make_shared<test::tally>();
  caf::actor actor;
};

/// A started operation of `make(self)` in an actor that a test ends.
template <class Make>
auto host_operation(caf::actor_system& sys, Make make) {
  using made = std::invoke_result_t<Make&, caf::event_based_actor*>;
  using op_type = troupe::operation<typename made::value_type>;
  auto started = std::make_shared<std::promise<op_type>>();
  auto future = started->get_future();
  host home{sys, [make, started](caf::event_based_actor* self) {
              started->set_value(op_type(make(self)).start());
            }};
  return std::pair{std::move(home), future.get()};
}

/// Adds to a tally when it goes.
struct told_end {
  explicit told_end(std::shared_ptr<test::tally> target)
      : ended{std::move(target)} {}
  told_end(told_end&&) = default;
  ~told_end() {
    if (ended)
      ended->add();
  }
  std::shared_ptr<test::tally> ended;
};

troupe::task<void> hold(caf::event_based_actor*, troupe::operation<void> op,
                        counted frame) {
  static_cast<void>(frame);
  co_await std::move(op);
}

troupe::task<void> hold_task(caf::event_based_actor*, troupe::task<void> inner,
                             counted frame) {
  static_cast<void>(frame);
  co_await std::move(inner);
}

// Its request refers to the frame, as it may while the caller stays alive.
troupe::task<void> write_into_frame(caf::event_based_actor*, troupe::pool pool,
                                    test::gate* door,
                                    std::shared_ptr<test::tally> destroyed,
                                    std::shared_ptr<test::tally> written) {
  told_end last{destroyed};
  std::vector<int> local(1000, 1);
  auto request = [&] {
    door->pass();
    for (auto& x : local)
      x = 2;
    written->add();
  };
  co_await pool.run(std::ref(request));
}

} // namespace

TEST_CASE("a suspended task of an actor that ends loses its frame, and whoever "
          "waits gets owner_gone",
          "[port]") {
  auto how = GENERATE(ending::kill, ending::quit, ending::exception);
  CAPTURE(how);
  test::actor_world world;
  troupe::event never{world.sys};
  std::atomic<int> frames{0};
  auto [home, op] =
      host_operation(world.sys, [&](caf::event_based_actor* self) {
        return hold_task(self, hold(self, never.wait(), counted{frames}),
                         counted{frames});
      });
  home.end(how);
  CHECK(test::failure_code([waiting = &op] { waiting->get(); })
        == ec::owner_gone);
  CHECK(frames == 0);
}

TEST_CASE("an actor of another waits in vain for the task of one that ends",
          "[port]") {
  test::actor_world world;
  troupe::event never{world.sys};
  std::atomic<int> frames{0};
  auto [home, op] =
      host_operation(world.sys, [&](caf::event_based_actor* self) {
        return hold(self, never.wait(), counted{frames});
      });
  auto heard = std::make_shared<std::promise<caf::error>>();
  auto shared = std::make_shared<troupe::operation<void>>(std::move(op));
  auto attached = std::make_shared<test::tally>();
  world.sys.spawn([=](caf::event_based_actor* self) {
    shared->then(
        self, [] {}, [heard](caf::error why) { heard->set_value(why); });
    attached->add();
  });
  attached->wait_for(1);
  home.end(ending::kill);
  CHECK(heard->get_future().get() == ec::owner_gone);
}

TEST_CASE("the frame of an actor that ends is parked until its requests have "
          "returned",
          "[port]") {
  auto how = GENERATE(ending::kill, ending::quit, ending::exception);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys};
  test::gate door;
  test::open_at_exit opener{door};
  auto destroyed = std::make_shared<test::tally>();
  auto written = std::make_shared<test::tally>();
  auto [home, op] =
      host_operation(world.sys, [&](caf::event_based_actor* self) {
        return write_into_frame(self, pool, &door, destroyed, written);
      });
  door.wait_for_arrivals();
  home.end(how);
  CHECK(destroyed->value() == 0);
  door.open();
  CHECK(test::failure_code([waiting = &op] { waiting->get(); })
        == ec::owner_gone);
  CHECK(destroyed->value() == 1);
  CHECK(written->value() == 1);
}

TEST_CASE("requests of an actor that ends never run if they were queued",
          "[port]") {
  auto how = GENERATE(ending::kill, ending::quit, ending::exception);
  CAPTURE(how);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  test::open_at_exit opener{door};
  auto busy = pool.run([&] { door.pass(); }).start();
  door.wait_for_arrivals();
  auto ran = std::make_shared<test::tally>();
  std::atomic<int> alive{0};
  auto begun = std::make_shared<test::tally>();
  host home{world.sys, [&, begun](caf::event_based_actor* self) {
              pool.run([ran, mark = counted{alive}] { ran->add(); })
                  .then(self, [ran, mark = counted{alive}] { ran->add(); });
              troupe::gather(pool.run([ran] { ran->add(); }), pool.run([ran] {
                ran->add();
              })).then(self, [ran](const auto&) { ran->add(); });
              begun->add();
            }};
  begun->wait_for(1);
  CHECK(alive == 2);
  home.end(how);
  CHECK(alive == 0);
  door.open();
  busy.get();
  pool.shutdown().get();
  CHECK(ran->value() == 0);
}

TEST_CASE(
    "a running request of an actor that ends is asked to stop, and its hook "
    "frees it",
    "[port]") {
  auto how = GENERATE(ending::kill, ending::quit, ending::exception);
  auto in_task = GENERATE(false, true);
  CAPTURE(how, in_task);
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  test::gate door;
  std::atomic<int> frames{0};
  std::atomic<bool> asked{false};
  host home{world.sys, [&](caf::event_based_actor* self) {
              auto call = pool.run([&](troupe::context& ctx) {
                auto hook = ctx.on_cancel([&] { door.open(); });
                door.pass();
                asked = ctx.stop_token().stop_requested();
              });
              if (in_task)
                hold(self, std::move(call), counted{frames}).then(self, [] {});
              else
                call.then(self, [] {});
            }};
  door.wait_for_arrivals();
  home.end(how);
  // Failure here is a hang: nobody else opens the gate.
  pool.shutdown().get();
  CHECK(asked);
}

TEST_CASE("a pool goes on when an actor that used it ends", "[port]") {
  test::actor_world world;
  troupe::pool pool{world.sys, pool_options{.workers = 2}};
  test::gate door;
  test::open_at_exit opener{door};
  auto [home, op] = host_operation(
      world.sys, [&](auto*) { return pool.run([&] { door.pass(); }); });
  door.wait_for_arrivals();
  home.end(ending::kill);
  CHECK(pool.run([] { return 1; }).get() == 1);
  door.open();
  op.get();
  CHECK(pool.run([] { return 2; }).get() == 2);
}

TEST_CASE("the callbacks of an actor that ends are destroyed, not called",
          "[port]") {
  test::actor_world world;
  troupe::pool pool{world.sys};
  test::gate door;
  test::open_at_exit opener{door};
  auto called = std::make_shared<test::tally>();
  auto destroyed = std::make_shared<test::tally>();
  host home{world.sys, [&](caf::event_based_actor* self) {
              pool.run([&] { door.pass(); })
                  .then(
                      self,
                      [called, end = told_end{destroyed}] { called->add(); },
                      [called](const caf::error&) { called->add(); });
            }};
  door.wait_for_arrivals();
  home.end(ending::kill);
  CHECK(destroyed->value() == 0);
  door.open();
  destroyed->wait_for(1);
  CHECK(called->value() == 0);
}

TEST_CASE("tasks that never began go with their actor", "[port]") {
  // The frame of one held another one as an argument. Both were in the list of
  // the actor's tasks; destroying the first left a dangling entry behind.
  test::actor_world world;
  troupe::event never{world.sys};
  std::atomic<int> frames{0};
  auto kept = std::make_shared<std::vector<troupe::task<void>>>();
  auto begun = std::make_shared<test::tally>();
  host home{world.sys, [&, begun](caf::event_based_actor* self) {
              for (int i = 0; i < 3; ++i)
                kept->push_back(
                    hold_task(self, hold(self, never.wait(), counted{frames}),
                              counted{frames}));
              begun->add();
            }};
  begun->wait_for(1);
  CHECK(frames == 6);
  home.end(ending::kill);
  CHECK(frames == 0);
  auto late = troupe::operation<void>{std::move(kept->front())};
  CHECK(test::failure_code([&] { late.get(); }) == ec::owner_gone);
}

TEST_CASE("a delay or a question of an actor that ends fails with owner_gone",
          "[port]") {
  // CAF forgets what an actor waits for without telling anybody. Failure here
  // is a hang.
  auto how = GENERATE(ending::kill, ending::quit, ending::exception);
  CAPTURE(how);
  test::actor_world world;
  auto mute =
      world.sys.spawn([](caf::event_based_actor* self) -> caf::behavior {
        // Never answers; CAF 1.x would, for a promise that nobody keeps.
        auto kept = std::make_shared<std::vector<caf::response_promise>>();
        return {[self, kept](int) -> caf::result<int> {
          kept->push_back(self->make_response_promise());
          return kept->back();
        }};
      });
  auto [home, op] =
      host_operation(world.sys, [&](caf::event_based_actor* self) {
        return troupe::sleep_for(self, 24h);
      });
  auto [asker, answer] =
      host_operation(world.sys, [&](caf::event_based_actor* self) {
        return troupe::ask<int>(self, mute, troupe::compat::forever, 1);
      });
  home.end(how);
  asker.end(how);
  CHECK(test::failure_code([waiting = &op] { waiting->get(); })
        == ec::owner_gone);
  CHECK(test::failure_code([waiting = &answer] { waiting->get(); })
        == ec::owner_gone);
  caf::anon_send_exit(mute, caf::exit_reason::kill);
}

TEST_CASE("a detached actor that sleeps does not hold up the end of the system",
          "[port]") {
  test::actor_world world;
  std::atomic<int> frames{0};
  auto over = std::make_shared<test::tally>();
  auto begun = std::make_shared<test::tally>();
  auto sleeper = world.sys.spawn<caf::detached>(
      [&frames, over, begun](caf::event_based_actor* self) {
        self->attach_functor([over](const caf::error&) { over->add(); });
        static_cast<void>(troupe::sleep_for(self, 24h).start());
        hold(self, troupe::sleep_for(self, 24h), counted{frames})
            .then(self, [] {});
        begun->add();
      });
  begun->wait_for(1);
  caf::anon_send_exit(sleeper, caf::exit_reason::kill);
  sleeper = nullptr;
  over->wait_for(1);
  CHECK(frames == 0);
}

TEST_CASE("actors that end at any moment leave nothing behind", "[port]") {
  std::atomic<int> alive{0};
  {
    test::actor_world world;
    troupe::pool pool{world.sys, pool_options{.workers = 3}};
    for (int i = 0; i < 100; ++i) {
      auto [home,
            op] = host_operation(world.sys, [&](caf::event_based_actor* self) {
        std::vector<troupe::operation<void>> ops;
        for (int k = 0; k < 8; ++k)
          ops.push_back(hold(self, pool.run([mark = counted{alive}] {
            std::this_thread::yield();
          }),
                             counted{alive}));
        pool.map(std::vector<int>(50, 1),
                 [mark = counted{alive}](int x) { return x; })
            .then(
                self, [](const std::vector<int>&) {}, [](const caf::error&) {});
        return troupe::gather(std::move(ops));
      });
      home.end(static_cast<ending>(i % 3));
      try {
        op.get();
      } catch (const troupe::failure& err) {
        CHECK(err.code() == ec::owner_gone);
      }
    }
  }
  CHECK(alive == 0);
}
