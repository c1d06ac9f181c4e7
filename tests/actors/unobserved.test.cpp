// Failures that nobody takes are told to somebody.

#include "troupe/troupe.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "actor_ways.hpp"
#include "captured_log.hpp"
#include "gate.hpp"

using troupe::ec;
using troupe::pool_options;
using troupe::unobserved_failure;

namespace {

/// Takes what nobody takes, for as long as it lives.
class captured_failures {
public:
  captured_failures()
      : former_{troupe::set_unobserved_sink(
          [all = all_](const unobserved_failure& what) {
            std::lock_guard guard{all->mutex};
            all->failures.push_back(what);
            all->count.add();
          })} {}

  captured_failures(const captured_failures&) = delete;
  captured_failures& operator=(const captured_failures&) = delete;

  ~captured_failures() { troupe::set_unobserved_sink(std::move(former_)); }

  std::vector<unobserved_failure> await(int n) {
    all_->count.wait_for(n);
    return now();
  }

  std::vector<unobserved_failure> now() {
    std::lock_guard guard{all_->mutex};
    return all_->failures;
  }

private:
  struct shared {
    std::mutex mutex;
    std::vector<unobserved_failure> failures;
    test::tally count;
  };

  std::shared_ptr<shared> all_ = std::make_shared<shared>();
  troupe::unobserved_sink former_;
};

[[noreturn]] void fail() {
  throw std::runtime_error{"disk on fire"};
}

/// Ends `pool`, so that all that was started in it is over.
void finish(troupe::pool& pool) {
  pool.shutdown().get();
}

} // namespace

TEST_CASE("a started operation that is dropped and fails is logged with pool, "
          "label and worker",
          "[unobserved]") {
  test::actor_world world;
  test::captured_log log;
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  { auto dropped = pool.run(fail).label("load").start(); }
  log.await(1);
  auto line = log.entries()[0];
  CHECK(line.level == troupe::log_level::error);
  CHECK(line.pool == "io");
  CHECK(line.text
        == "nobody took this failure: request_failed: std::runtime_error: disk "
           "on fire (request 'load' on worker io-1)");
}

TEST_CASE(
    "a burst of failures is a few lines in the log and a count of the rest, "
    "and each reaches a sink",
    "[unobserved]") {
  constexpr auto all = 20'000;
  test::actor_world world;
  // Longer than one window only if it took an hour.
  auto pool_ends = GENERATE(false, true);
  CAPTURE(pool_ends);
  auto burst = [&] {
    troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 2}};
    for (auto i = 0; i < all; ++i) {
      auto dropped = pool.run(fail).start();
    }
    if (pool_ends)
      finish(pool);
    return pool;
  };
  {
    test::captured_log log;
    auto pool = burst();
    auto told = [&] {
      std::uint64_t sum = 0;
      for (const auto& entry : log.entries()) {
        CHECK(entry.pool == "io");
        CHECK(entry.level == troupe::log_level::error);
        if (entry.text.starts_with("and "))
          sum += std::stoull(entry.text.substr(4));
        else
          ++sum;
      }
      return sum;
    };
    // Failure here is a hang.
    for (std::size_t lines = 1; told() < all; ++lines)
      log.await(lines);
    CHECK(told() == all);
    CHECK(log.entries().size() < all / 10);
    // One that is reported when the pool has ended stands behind the count.
    auto texts = log.texts();
    CHECK(std::any_of(texts.begin(), texts.end(), [](const std::string& text) {
      return Catch::Matches("and [0-9]+ more like it, the last one: "
                            "request_failed: std::runtime_error: disk on fire "
                            ".*")
          .match(text);
    }));
  }
  captured_failures lost;
  auto pool = burst();
  lost.await(all);
  finish(pool);
  CHECK(lost.now().size() == all);
}

TEST_CASE("one that had failed before it was dropped is reported once",
          "[unobserved]") {
  test::actor_world world;
  captured_failures lost;
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  {
    auto dropped = pool.run(fail).start();
    // Behind it on the only worker.
    pool.run([] {}).get();
  }
  auto all = lost.await(1);
  finish(pool);
  REQUIRE(lost.now().size() == 1);
  CHECK(all[0].pool == "io");
  CHECK(all[0].failure->code == ec::request_failed);
  CHECK(all[0].failure->exception);
  CHECK(all[0].failure->worker == 1);
}

TEST_CASE("one that succeeds, is taken, or never started is not reported",
          "[unobserved]") {
  test::actor_world world;
  captured_failures lost;
  test::captured_log log;
  troupe::pool pool{world.sys, pool_options{.workers = 1}};
  {
    auto dropped = pool.run([] { return 1; }).start();
  }
  { auto unused = pool.run(fail); }
  CHECK_THROWS_AS(pool.run(fail).start().get(), std::runtime_error);
  CHECK_THROWS_AS(pool.run(fail).as_future().get(), std::runtime_error);
  auto heard = test::hear(test::way::then, world.sys,
                          [&](auto*) { return pool.run(fail); });
  CHECK(heard.code() == ec::request_failed);
  // The second failure of a gather is no news: it has failed.
  CHECK_THROWS_AS(troupe::gather(pool.run(fail), pool.run(fail)).get(),
                  std::runtime_error);
  finish(pool);
  CHECK(lost.now().empty());
  CHECK(log.entries().empty());
}

TEST_CASE("a gather that is dropped reports its failure, once",
          "[unobserved]") {
  test::actor_world world;
  captured_failures lost;
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 2}};
  { auto dropped = troupe::gather(pool.run(fail), pool.run(fail)).start(); }
  lost.await(1);
  finish(pool);
  CHECK(lost.now().size() == 1);
}

TEST_CASE("a task that is dropped and fails is reported", "[unobserved]") {
  test::actor_world world;
  captured_failures lost;
  troupe::run(
      world.sys, [](caf::event_based_actor* self) -> troupe::task<void> {
        auto body = [](caf::event_based_actor*) -> troupe::task<void> {
          fail();
          co_return;
        };
        { auto dropped = body(self).start(); }
        auto pause = troupe::sleep_for(self, std::chrono::milliseconds{1});
        co_await std::move(pause);
      });
  auto all = lost.await(1);
  CHECK(all[0].pool.empty());
  CHECK(all[0].failure->text == "std::runtime_error: disk on fire");
}

TEST_CASE(
    "one that was cancelled is not reported, one that the pool refused is",
    "[unobserved]") {
  test::actor_world world;
  captured_failures lost;
  test::gate busy;
  test::open_at_exit release{busy};
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  auto hold = pool.run([&] { busy.pass(); }).start();
  busy.wait_for_arrivals();
  std::stop_source source;
  {
    auto dropped = pool.run([] {}).stop_with(source.get_token()).start();
  }
  source.request_stop();
  CHECK(lost.now().empty());
  busy.open();
  hold.get();
  finish(pool);
  {
    auto dropped = pool.run([] {}).start();
  }
  auto all = lost.await(1);
  REQUIRE(all.size() == 1);
  CHECK(all[0].failure->code == ec::pool_stopped);
}

TEST_CASE("a failure whose actor has ended is reported", "[unobserved]") {
  test::actor_world world;
  captured_failures lost;
  test::gate busy;
  test::open_at_exit release{busy};
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  auto asker =
      world.sys.spawn([&](caf::event_based_actor* self) -> caf::behavior {
        pool.run([&] {
              busy.pass();
              fail();
            })
            .then(self, [] {});
        return {[](int) {}};
      });
  busy.wait_for_arrivals();
  auto gone = std::make_shared<test::tally>();
  test::watch_end(asker, gone);
  caf::anon_send_exit(asker, caf::exit_reason::kill);
  gone->wait_for(1);
  busy.open();
  auto all = lost.await(1);
  CHECK(all[0].failure->text
        == "std::runtime_error: disk on fire (worker io-1)");
}

TEST_CASE("a batch that was submitted by a message without a sender and fails "
          "is reported",
          "[unobserved]") {
  test::actor_world world;
  captured_failures lost;
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  troupe::compat::tell(pool.actor(), troupe::submit_atom_v,
                       troupe::make_batch(fail).label("by mail").ref());
  auto all = lost.await(1);
  CHECK(all[0].failure->label == "by mail");
}

TEST_CASE("what the sink throws hurts nobody and the failure is logged",
          "[unobserved]") {
  test::actor_world world;
  test::captured_log log;
  auto former =
      troupe::set_unobserved_sink([](const unobserved_failure&) { throw 42; });
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  { auto dropped = pool.run(fail).start(); }
  log.await(1);
  troupe::set_unobserved_sink(former);
  CHECK(log.entries()[0].pool == "io");
  CHECK(pool.run([] { return 1; }).get() == 1);
}

TEST_CASE("what a member of a task group fails with is told to who joins, and "
          "reported only if nobody does",
          "[unobserved]") {
  test::actor_world world;
  captured_failures lost;
  troupe::pool pool{world.sys, pool_options{.name = "io", .workers = 1}};
  {
    troupe::task_group joined;
    { auto dropped = joined.run(pool, fail); }
    CHECK_THROWS_WITH(joined.join().get(), "disk on fire");
  }
  CHECK(lost.now().empty());
  // Its failure comes before the group goes, which would call it off.
  troupe::task_group left;
  auto member = left.run(pool, fail);
  CHECK_THROWS_WITH(member.get(), "disk on fire");
  left = troupe::task_group{};
  CHECK(lost.await(1).size() == 1);
}
