// Pools that size themselves: real workers, whose requests wait at doors that
// the test opens, and mostly a clock that it moves.

#include "troupe/compute_pool.hpp"
#include "troupe/process_pool.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"
#include "mail.hpp"
#include "manual_clock.hpp"
#include "turnstile.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using troupe::pool_options;

namespace {

constexpr auto interval = troupe::auto_sizer::interval;

/// Moves the clock by one look at the load, when all that came of the last one
/// is done.
void look(troupe::testing::manual_clock& clock) {
  clock.wait_for_timer_in(interval);
  clock.advance(interval);
  clock.wait_for_timer_in(interval);
}

/// A pool whose requests all wait for a service. What that gets done in an
/// interval depends on how many ask it at once.
class served_pool {
public:
  /// `window`: the requests are those of a stream, so many at once; else they
  /// come one by one.
  served_pool(std::size_t limit,
              std::function<std::size_t(std::size_t at_once)> serves,
              std::size_t window = 0)
      : serves_{std::move(serves)}, window_{window} {
    pool_options options{.workers = troupe::automatic, .workers_limit = limit};
    options.clock = time_.clock;
    pool.emplace(world_.sys, options);
    if (window_ > 0)
      reader_ = std::thread{[this] { read(); }};
    else
      ask(2 * limit);
  }

  ~served_pool() {
    over_ = true;
    door_.open();
    if (reader_.joinable())
      reader_.join();
    for (auto& x : under_way_)
      x.get();
    // Before the system goes.
    pool.reset();
  }

  /// Lets an interval pass; returns how many workers there were.
  std::size_t live() {
    auto stats = pool->stats();
    // Each worker has come to the door, and who was too many has gone. A stream
    // asks for one more when one comes back.
    while (stats.workers == 0
           || (window_ == 0 && stats.workers < stats.max_workers)
           || door_.waiting() != stats.workers) {
      std::this_thread::yield();
      stats = pool->stats();
    }
    auto served = serves_(stats.workers);
    door_.let(served);
    if (window_ == 0)
      ask(served);
    // As many as have returned brings in as many workers as it may have.
    do {
      std::this_thread::yield();
      stats = pool->stats();
    } while (stats.workers < stats.max_workers
             || door_.waiting() != stats.workers);
    look(*time_.clock);
    return stats.max_workers;
  }

  std::optional<troupe::pool> pool;

private:
  void read() {
    auto more = std::views::iota(0)
                | std::views::take_while([this](int) { return !over_; });
    // In any order: else one that is late at the door holds up the reader, and
    // with it what the stream asks for.
    auto results = pool->imap_unordered(
        more,
        [this](int i) {
          door_.pass();
          return i;
        },
        window_);
    std::int64_t sum = 0;
    std::int64_t count = 0;
    for (auto i : results) {
      sum += i;
      ++count;
    }
    if (sum != count * (count - 1) / 2)
      throw std::logic_error{"a result is missing, or came twice"};
  }

  void ask(std::size_t n) {
    for (; n > 0; --n)
      under_way_.push_back(pool->run([this] { door_.pass(); }).start());
  }

  std::function<std::size_t(std::size_t)> serves_;
  test::turnstile door_;
  test::manual_time time_;
  test::actor_world world_;
  std::vector<troupe::operation<void>> under_way_;
  std::size_t window_;
  std::atomic<bool> over_{false};
  std::thread reader_;
};

/// Returns the middle one of the sizes that the pool has in the last of so many
/// intervals.
std::size_t size_after(served_pool& of, std::size_t intervals,
                       std::size_t limit) {
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < intervals; ++i) {
    sizes.push_back(of.live());
    REQUIRE(sizes.back() >= 1);
    REQUIRE(sizes.back() <= limit);
  }
  std::sort(sizes.end() - 50, sizes.end());
  return *(sizes.end() - 25);
}

} // namespace

TEST_CASE("a pool grows to its limit while requests wait and none returns",
          "[auto_pool]") {
  constexpr std::size_t limit = 20;
  test::gate door;
  test::manual_time time;
  test::actor_world world;
  pool_options options{.workers = troupe::automatic, .workers_limit = limit};
  options.clock = time.clock;
  troupe::pool pool{world.sys, options};
  auto first = pool.options().workers;
  CHECK(first == std::min(limit, troupe::defaults::workers()));
  test::open_at_exit opener{door};
  auto all =
      pool.map(std::views::iota(0, 100), [&](int) { door.pass(); }).start();
  auto looks = 0;
  for (auto size = first; size < limit; size = pool.stats().max_workers) {
    door.wait_for_arrivals(size);
    look(*time.clock);
    ++looks;
  }
  door.wait_for_arrivals(limit);
  // Not at once: a request may just take its time.
  CHECK(looks >= 5);
  CHECK(pool.stats().workers == limit);
  // Nor beyond.
  for (auto i = 0; i < 20; ++i)
    look(*time.clock);
  CHECK(pool.stats().max_workers == limit);
  door.open();
  all.get();
}

TEST_CASE("by the real clock, too, a pool grows to its limit while requests "
          "wait and none returns",
          "[auto_pool]") {
  test::gate door;
  test::actor_world world;
  troupe::pool pool{world.sys,
                    {.workers = troupe::automatic, .workers_limit = 20}};
  test::open_at_exit opener{door};
  auto all =
      pool.map(std::views::iota(0, 100), [&](int) { door.pass(); }).start();
  // Failure here is a hang.
  door.wait_for_arrivals(20);
  door.open();
  all.get();
  CHECK(pool.stats().succeeded == 100);
}

TEST_CASE("a pool grows as long as throughput follows", "[auto_pool]") {
  served_pool served{32, [](std::size_t n) { return n; }};
  CHECK(size_after(served, 200, 32) == 32);
}

TEST_CASE("a stream grows its pool as long as throughput follows",
          "[auto_pool]") {
  served_pool served{32, [](std::size_t n) { return n; }, 64};
  CHECK(size_after(served, 200, 32) == 32);
}

TEST_CASE("a pool keeps the size beyond which a service does no more",
          "[auto_pool]") {
  served_pool served{32,
                     [](std::size_t n) { return std::min<std::size_t>(n, 8); }};
  auto size = size_after(served, 400, 32);
  CHECK(size >= 7);
  CHECK(size <= 12);
}

TEST_CASE("a pool shrinks to the size beyond which a service does less",
          "[auto_pool]") {
  served_pool served{64,
                     [](std::size_t n) { return n <= 16 ? n : 16 * 16 / n; }};
  // From where it is given back it goes on.
  served.pool->resize(48);
  served.pool->resize(troupe::automatic);
  auto size = size_after(served, 400, 64);
  CHECK(size >= 13);
  CHECK(size <= 19);
}

TEST_CASE("a pool that was resized keeps to that, until it is given back",
          "[auto_pool]") {
  served_pool served{32, [](std::size_t n) { return n; }};
  CHECK(served.pool->options().automatic);
  CHECK(served.pool->stats().automatic);
  CHECK(served.pool->stats().workers_limit == 32);
  served.pool->resize(3);
  CHECK_FALSE(served.pool->options().automatic);
  CHECK_FALSE(served.pool->stats().automatic);
  CHECK(served.pool->options().workers == 3);
  served.pool->resize(troupe::automatic);
  CHECK(served.pool->options().automatic);
  CHECK(size_after(served, 200, 32) == 32);
  auto table = to_string(served.pool->stats());
  CHECK(table.find("32 of 32 workers (auto, 1 to 32)") != table.npos);
}

TEST_CASE("a pool is given back by message", "[auto_pool]") {
  test::actor_world world;
  troupe::pool pool{world.sys, {.workers = 3}};
  caf::scoped_actor self{world.sys};
  auto resize = [&](std::uint64_t n) {
    std::string said;
    troupe::compat::ask(self, pool.actor(), troupe::compat::forever,
                        troupe::resize_atom_v, n)
        .receive([] {},
                 [&](const caf::error& why) { said = troupe::describe(why); });
    return said;
  };
  CHECK(resize(troupe::automatic).empty());
  CHECK(pool.options().automatic);
  CHECK(pool.options().workers == 3);
  CHECK(resize(4).empty());
  CHECK_FALSE(pool.options().automatic);
  CHECK(resize(0).find("(accepted: 1 to 65536, or troupe::automatic)")
        != std::string::npos);
  CHECK_THROWS_WITH(
      pool.resize(70'000),
      "cannot resize the pool 'troupe' to 70000 workers (accepted: 1 to 65536, "
      "or troupe::automatic)");
}

TEST_CASE("a pool that sizes itself sets no timer while it has nothing to do",
          "[auto_pool]") {
  test::manual_time time;
  test::actor_world world;
  // All of them are kept, so that there is no idle rule either.
  pool_options options{
      .workers = troupe::automatic, .min_workers = 2, .workers_limit = 2};
  options.clock = time.clock;
  troupe::pool pool{world.sys, options};
  CHECK(pool.options().workers == 2);
  REQUIRE(test::catch_up(world.sys, pool));
  CHECK(time.clock->timers() == 0);
  for (auto round = 0; round < 3; ++round) {
    test::gate door;
    test::open_at_exit opener{door};
    auto all =
        pool.map(std::views::iota(0, 10), [&](int) { door.pass(); }).start();
    door.wait_for_arrivals(2);
    time.clock->wait_for_timer_in(interval);
    door.open();
    all.get();
    while (pool.stats().idle < 2)
      std::this_thread::yield();
    time.clock->advance(interval);
    REQUIRE(test::catch_up(world.sys, pool));
    CHECK(time.clock->timers() == 0);
  }
}

TEST_CASE("requests that wait for requests get the workers for it",
          "[auto_pool]") {
  // Each waits for one of another pool, and that for one of this: with a fixed
  // size they would wait in a ring.
  test::actor_world world;
  troupe::pool outer{world.sys,
                     {.workers = troupe::automatic, .workers_limit = 64}};
  troupe::pool inner{world.sys,
                     {.workers = troupe::automatic, .workers_limit = 64}};
  auto all = outer.map(std::views::iota(0, 20), [&](int i) {
    return inner.run([&, i] { return outer.run([i] { return i; }).get(); })
        .get();
  });
  auto got = std::move(all).get();
  CHECK(std::accumulate(got.begin(), got.end(), 0) == 19 * 20 / 2);
}

TEST_CASE("a compute pool has as many workers as cores, whatever is configured",
          "[auto_pool]") {
  troupe::config cfg;
  caf::put(cfg.content, "troupe.workers", std::string{"auto"});
  caf::actor_system sys{cfg};
  troupe::compute_pool cpu{sys};
  CHECK_FALSE(cpu.options().automatic);
  CHECK(cpu.options().workers
        == std::max(std::thread::hardware_concurrency(), 1u));
  CHECK_THROWS_WITH(cpu.resize(troupe::automatic),
                    "the pool 'compute' does not size itself: its requests "
                    "compute, and as many workers as cores are right for that "
                    "(accepted: 1 to "
                        + std::to_string(cpu.options().workers) + ")");
  CHECK(troupe::pool{sys}.options().automatic);
}

TEST_CASE("a process pool that should size itself is refused", "[auto_pool]") {
  auto refused = [](troupe::config& cfg, troupe::process_options options) {
    caf::actor_system sys{cfg};
    options.program = "/bin/true";
    try {
      troupe::process_pool calls{sys, troupe::procedures{}, options};
    } catch (const troupe::failure& err) {
      CHECK(err.code() == troupe::ec::invalid_option);
      return std::string{err.what()};
    }
    return std::string{"nothing was refused"};
  };
  auto why = " = 'auto': a process pool does not size itself: its processes "
             "compute, and as many as cores are right for that (accepted: a "
             "whole number from 1 to 65536)";
  troupe::config plain;
  CHECK(refused(plain, {.processes = troupe::automatic})
        == std::string{"process_options.processes"} + why);
  troupe::config named;
  caf::put(named.content, "troupe.pools.jobs.workers", std::string{"auto"});
  CHECK(refused(named, {.name = "jobs"})
        == std::string{"troupe.pools.jobs.workers"} + why);
}
