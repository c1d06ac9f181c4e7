// What a worker keeps between requests: opened where it is used, before it
// takes a request; used by one request at a time; checked, renewed, and closed
// where it was opened.

#include "troupe/resource.hpp"

#include "troupe/map_batch.hpp"
#include "troupe/options.hpp"
#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "manual_clock.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using Catch::Matchers::Contains;
using test::failure_in;
using test::get;
using test::thread_crew;
using troupe::context;
using troupe::ec;
using troupe::make_batch;
using troupe::make_map_batch;
using troupe::make_resource;

namespace {

// A server that is up or down, and counts who is connected.
struct server {
  std::atomic<bool> up{true};
  std::atomic<int> tries{0};
  std::atomic<int> open{0};
  std::atomic<int> elsewhere{0};
};

// Breaks the rules of a resource only where a test wants it to.
struct connection {
  explicit connection(server& to)
      : home{to}, number{++to.tries}, opened_on{std::this_thread::get_id()} {
    if (!to.up)
      throw std::runtime_error{"connection refused"};
    ++to.open;
  }

  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  ~connection() {
    --home.open;
    home.elsewhere += opened_on != std::this_thread::get_id();
  }

  server& home;
  const int number;
  std::thread::id opened_on;
  int uses = 0;
  bool good = true;
};

auto connect(server& to) {
  return make_resource<connection>([&to] { return connection{to}; });
}

troupe::effective_options with(troupe::resource_spec spec,
                               std::size_t workers) {
  auto result = thread_crew::options_for(workers);
  result.resource = std::move(spec);
  return result;
}

// Returns the number of the connection that it ran with.
int use(context& ctx) {
  auto& mine = ctx.resource<connection>();
  ++mine.uses;
  return mine.number;
}

// A crew whose time a test moves.
struct slow_crew {
  explicit slow_crew(troupe::resource_spec spec, std::size_t workers = 1,
                     std::size_t least = 0, std::chrono::nanoseconds spin = 0ns)
      : crew{[&] {
          auto result = with(std::move(spec), workers);
          result.min_workers = least;
          result.clock = time.clock;
          result.spin = spin;
          return result;
        }()} {}

  // Nothing tells when a worker has come to rest, so this looks again and
  // again.
  void wait_for_resting(std::size_t n) {
    while (crew.stats().resource.unavailable != n)
      std::this_thread::yield();
  }

  troupe::resource_stats stats() { return crew.stats().resource; }

  test::manual_time time;
  thread_crew crew;
};

} // namespace

// -- open and close -----------------------------------------------------------

TEST_CASE("a resource is opened once per worker, on the worker's own thread",
          "[resource]") {
  server home;
  test::gate both;
  thread_crew crew{with(connect(home), 2)};
  std::atomic<int> elsewhere{0};
  std::atomic<int> uses{0};
  // Makes sure that both workers take part.
  test::open_at_exit release{both};
  auto made =
      crew.start(make_map_batch(std::vector<int>(100), [&](context& ctx, int) {
        auto& mine = ctx.resource<connection>();
        elsewhere += mine.opened_on != std::this_thread::get_id();
        ++uses;
        both.pass();
      }));
  both.wait_for_arrivals(2);
  both.open();
  get(made);
  CHECK(home.tries == 2);
  CHECK(elsewhere == 0);
  CHECK(uses == 100);
}

TEST_CASE("a worker opens its resource before it takes its first request",
          "[resource]") {
  server home;
  thread_crew crew{with(connect(home), 1)};
  CHECK(get(crew.start(make_batch([&] { return home.open.load(); }))) == 1);
  CHECK(crew.stats().resource.opens == 1);
}

TEST_CASE("workers of the minimum open their resources without a request",
          "[resource]") {
  server home;
  auto options = with(connect(home), 3);
  options.min_workers = 3;
  thread_crew crew{options};
  crew.wait_until_idle();
  CHECK(home.open == 3);
}

TEST_CASE("a resource is closed on the thread that opened it", "[resource]") {
  server home;
  std::atomic<int> closed{0};
  {
    test::gate all;
    thread_crew crew{
        with(make_resource<connection>([&] { return connection{home}; },
                                       [&](connection& mine) {
                                         ++closed;
                                         home.elsewhere +=
                                             mine.opened_on
                                             != std::this_thread::get_id();
                                       }),
             3)};
    test::open_at_exit release{all};
    auto made =
        crew.start(make_map_batch(std::vector<int>(3), [&](context& ctx, int) {
          use(ctx);
          all.pass();
        }));
    all.wait_for_arrivals(3);
    all.open();
    get(made);
    CHECK(closed == 0);
  }
  CHECK(home.tries == 3);
  CHECK(home.open == 0);
  CHECK(closed == 3);
  CHECK(home.elsewhere == 0);
}

TEST_CASE("what a close throws is dropped, and the resource goes",
          "[resource]") {
  server home;
  thread_crew crew{
      with(make_resource<connection>([&] { return connection{home}; },
                                     [](connection&) { throw 1; }),
           1)};
  get(crew.start(make_batch([](context& ctx) { ctx.discard_resource(); })));
  CHECK(get(crew.start(make_batch(use))) == 2);
  CHECK(home.open == 1);
}

TEST_CASE("a resource of another type is not there", "[resource]") {
  server home;
  auto without = GENERATE(false, true);
  thread_crew crew{without ? thread_crew::options_for(1)
                           : with(connect(home), 1)};
  auto made = crew.start(
      make_batch([](context& ctx) { return ctx.resource<std::string>(); }));
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::resource_unavailable);
  CHECK(err->started());
  CHECK(err->worker() == 1);
  CHECK(err->what()
        == std::string{"the pool 'test' has no resource of the type asked for; "
                       "set pool_options::resource"});
}

TEST_CASE("a resource may be move-only", "[resource]") {
  thread_crew crew{with(make_resource<std::unique_ptr<int>>(
                            [] { return std::make_unique<int>(7); }),
                        1)};
  CHECK(get(crew.start(make_batch([](context& ctx) {
          return *ctx.resource<std::unique_ptr<int>>();
        })))
        == 7);
}

TEST_CASE("rules of a resource that make no sense are refused", "[resource]") {
  server home;
  auto refused = [](troupe::resource_spec spec) {
    troupe::pool_options options;
    options.resource = std::move(spec);
    auto err = failure_in([&] { troupe::resolve(options, {}); });
    REQUIRE(err);
    CHECK(err->code() == ec::invalid_option);
    return std::string{err->what()};
  };
  CHECK_THAT(refused(connect(home).check_after(-1s)),
             Contains("check_after of a resource to -1s"));
  CHECK_THAT(refused(connect(home).recycle_every(-1ns)),
             Contains("recycle_every"));
  CHECK_THAT(refused(connect(home).backoff(0s, 1s)), Contains("backoff"));
  CHECK_THAT(refused(connect(home).backoff(2s, 1s)),
             Contains("longest_backoff of 1s"));
  CHECK_THAT(refused(connect(home).give_up_after(-1s)),
             Contains("give_up_after"));
  troupe::pool_options options;
  options.resource = connect(home).check_after(0s).give_up_after(0s);
  CHECK_NOTHROW(troupe::resolve(options, {}));
}

// -- workers that cannot open theirs ------------------------------------------

TEST_CASE("a worker that cannot open its resource takes no request, and tries "
          "again after a while",
          "[resource]") {
  server home;
  home.up = false;
  slow_crew slow{connect(home).backoff(100ms, 1s)};
  std::atomic<bool> ran{false};
  auto made = slow.crew.start(make_batch([&](context& ctx) {
    ran = true;
    return use(ctx);
  }));
  slow.wait_for_resting(1);
  CHECK(home.tries == 1);
  CHECK(slow.stats().open_failures == 1);
  CHECK(slow.stats().last_open_error
        == "std::runtime_error: connection refused");
  CHECK(slow.crew.stats().queued == 1);
  // At least half of it, since the other half is random.
  slow.time.clock->advance(49ms);
  CHECK(home.tries == 1);
  slow.time.clock->advance(51ms);
  while (slow.stats().open_failures < 2)
    std::this_thread::yield();
  slow.wait_for_resting(1);
  CHECK_FALSE(ran);
  // Twice as long: from 150 to 300 ms, since the second try was made between 50
  // and 100 ms.
  slow.time.clock->advance(49ms);
  CHECK(home.tries == 2);
  home.up = true;
  slow.time.clock->advance(151ms);
  CHECK(get(made) == 3);
  CHECK(slow.stats().opens == 1);
  CHECK(slow.stats().unavailable == 0);
}

TEST_CASE("waits between two tries grow to the longest and no further",
          "[resource]") {
  server home;
  home.up = false;
  slow_crew slow{connect(home).backoff(100ms, 400ms).give_up_after(1h), 1, 1};
  for (auto tries = 1; tries < 200; ++tries) {
    while (slow.stats().open_failures < static_cast<std::uint64_t>(tries))
      std::this_thread::yield();
    slow.wait_for_resting(1);
    slow.time.clock->advance(400ms);
  }
}

TEST_CASE("other workers serve while one cannot open its resource",
          "[resource]") {
  server home;
  std::atomic<int> tries{0};
  slow_crew slow{make_resource<connection>([&] {
                   if (++tries % 2 == 1)
                     throw std::runtime_error{"too many connections"};
                   return connection{home};
                 }).give_up_after(0s),
                 2, 2};
  // One of two. Had they tried at the same time, it would be no matter who.
  slow.wait_for_resting(1);
  while (slow.stats().opens < 1)
    std::this_thread::yield();
  std::set<int> workers;
  for (int i = 0; i < 20; ++i)
    workers.insert(get(slow.crew.start(make_batch([](context& ctx) {
      use(ctx);
      return ctx.worker();
    }))));
  CHECK(workers.size() == 1);
  CHECK(get(slow.crew.start(
            make_map_batch(std::vector<int>(100),
                           [](context& ctx, int) { return ctx.worker(); })))
        == std::vector<int>(100, *workers.begin()));
  CHECK(tries == 2);
  CHECK(slow.stats().unavailable == 1);
}

TEST_CASE("what waits fails when no worker could open its resource for too "
          "long",
          "[resource]") {
  server home;
  home.up = false;
  slow_crew slow{connect(home).backoff(1s, 4s).give_up_after(30s), 2};
  auto one = make_batch(use);
  test::batch_of(one).set_label("load");
  one = slow.crew.start(std::move(one));
  auto many = slow.crew.start(make_map_batch(
      std::vector<int>(100), [](context& ctx, int) { return use(ctx); }));
  slow.wait_for_resting(2);
  for (auto second = 0; second < 29; ++second) {
    slow.time.clock->advance(1s);
    slow.wait_for_resting(2);
  }
  CHECK_FALSE(test::batch_of(one).done());
  CHECK_FALSE(test::batch_of(many).done());
  slow.time.clock->advance(1s);
  auto err = failure_in([&] { get(one); });
  REQUIRE(err);
  CHECK(err->code() == ec::resource_unavailable);
  CHECK_FALSE(err->started());
  CHECK(err->label() == "load");
  CHECK_THAT(err->what(),
             Contains("no worker of the pool 'test' has a resource, and "
                      "opening one fails: std::runtime_error: connection "
                      "refused"));
  err = failure_in([&] { get(many); });
  REQUIRE(err);
  CHECK(err->code() == ec::resource_unavailable);
  CHECK(slow.crew.stats().cancelled == 101);
  slow.wait_for_resting(2);
}

TEST_CASE("what comes when it was given up fails with the next try, or runs",
          "[resource]") {
  server home;
  home.up = false;
  slow_crew slow{connect(home).backoff(1s, 1s).give_up_after(0s)};
  CHECK(failure_in([&] { get(slow.crew.start(make_batch(use))); })->code()
        == ec::resource_unavailable);
  slow.wait_for_resting(1);
  auto late = slow.crew.start(make_batch(use));
  slow.time.clock->advance(1s);
  CHECK(failure_in([&] { get(late); })->code() == ec::resource_unavailable);
  slow.wait_for_resting(1);
  late = slow.crew.start(make_batch(use));
  home.up = true;
  slow.time.clock->advance(1s);
  CHECK(get(late) == 3);
}

// The next failure begins a new count; the time before must not be part of it.
TEST_CASE("a resource that could be opened ends what was too long",
          "[resource]") {
  server home;
  home.up = false;
  slow_crew slow{connect(home).backoff(1s, 1s).give_up_after(30s), 1, 1};
  slow.wait_for_resting(1);
  slow.time.clock->advance(1s);
  home.up = true;
  while (slow.stats().opens < 1) {
    slow.time.clock->advance(1s);
    std::this_thread::yield();
  }
  slow.time.clock->advance(1h);
  home.up = false;
  get(slow.crew.start(
      make_batch([](context& ctx) { ctx.discard_resource(); })));
  slow.wait_for_resting(1);
  auto late = slow.crew.start(make_batch(use));
  slow.time.clock->advance(1s);
  while (slow.stats().unavailable == 0)
    std::this_thread::yield();
  CHECK_FALSE(test::batch_of(late).done());
  home.up = true;
  slow.time.clock->advance(1s);
  CHECK(get(late) > 0);
}

TEST_CASE("workers that wait to try again end with the pool, without time "
          "passing",
          "[resource]") {
  server home;
  home.up = false;
  {
    slow_crew slow{connect(home), 3, 3};
    slow.wait_for_resting(3);
    // Failure here is a hang.
  }
  CHECK(home.tries == 3);
  CHECK(home.open == 0);
}

TEST_CASE("workers that wait to try again are the first to go when the pool "
          "shrinks",
          "[resource]") {
  server home;
  std::atomic<int> tries{0};
  slow_crew slow{make_resource<connection>([&] {
                   if (++tries > 1)
                     throw std::runtime_error{"too many connections"};
                   return connection{home};
                 }),
                 3, 3};
  slow.wait_for_resting(2);
  while (slow.stats().opens < 1)
    std::this_thread::yield();
  slow.crew.home().resize(1);
  slow.crew.wait_for_ended(2);
  CHECK(slow.stats().unavailable == 0);
  CHECK(home.open == 1);
  CHECK(get(slow.crew.start(make_batch(use))) == 1);
}

TEST_CASE("workers that wait to try again end after the idle timeout, if "
          "nothing waits for them",
          "[resource]") {
  server home;
  home.up = false;
  slow_crew slow{connect(home).backoff(1s, 1s).give_up_after(1h)};
  auto made = slow.crew.start(make_batch(use));
  slow.wait_for_resting(1);
  auto& clock = *slow.time.clock;
  clock.advance(500ms);
  slow.crew.home().retire_idle(clock.now() + 1h);
  CHECK(slow.stats().unavailable == 1);
  test::batch_of(made).cancel(ec::cancelled);
  CHECK(slow.crew.home().retire_idle(clock.now()) <= clock.now() + 10s);
  CHECK(slow.stats().unavailable == 1);
  slow.crew.home().retire_idle(clock.now() + 1h);
  slow.crew.wait_for_ended(1);
  CHECK(slow.stats().unavailable == 0);
}

// -- broken ones --------------------------------------------------------------

TEST_CASE("a discarded resource is closed, and another one opened, before the "
          "next request",
          "[resource]") {
  server home;
  thread_crew crew{with(connect(home), 1)};
  get(crew.start(make_batch([&](context& ctx) {
    use(ctx);
    ctx.discard_resource();
    // Still there: whoever says so may be in the middle of something.
    CHECK(home.open == 1);
  })));
  CHECK(get(crew.start(make_batch(use))) == 2);
  CHECK(home.open == 1);
  CHECK(crew.stats().resource.closes == 1);
}

TEST_CASE("a request that discards its resource can have another one at once",
          "[resource]") {
  server home;
  thread_crew crew{with(connect(home), 1)};
  CHECK(get(crew.start(make_batch([&](context& ctx) {
          use(ctx);
          ctx.discard_resource();
          return use(ctx);
        })))
        == 2);
  home.up = false;
  CHECK_THROWS_WITH(get(crew.start(make_batch([&](context& ctx) {
                      ctx.discard_resource();
                      return use(ctx);
                    }))),
                    "connection refused");
}

TEST_CASE("a request of a map that discards its resource costs the rest "
          "nothing",
          "[resource]") {
  server home;
  {
    thread_crew crew{with(connect(home), 2)};
    auto numbers = get(crew.start(
        make_map_batch(std::vector<int>(1000), [](context& ctx, int) {
          auto number = use(ctx);
          if (ctx.resource<connection>().uses == 10)
            ctx.discard_resource();
          return number;
        })));
    std::map<int, int> uses;
    for (auto number : numbers)
      ++uses[number];
    for (auto [number, n] : uses)
      CHECK(n <= 10);
    auto stats = crew.stats().resource;
    CHECK(stats.opens >= 100);
    CHECK(stats.opens - stats.closes <= 2);
  }
  CHECK(home.open == 0);
  CHECK(home.elsewhere == 0);
}

// The worker gives up its part before it opens: else a batch that may have one
// worker only would wait for it.
TEST_CASE("what is left of a map goes to another worker while one opens its "
          "resource",
          "[resource]") {
  server home;
  test::gate opening;
  std::atomic<int> tries{0};
  thread_crew crew{with(make_resource<connection>([&] {
                          if (++tries == 3)
                            opening.pass();
                          return connection{home};
                        }),
                        2)};
  test::open_at_exit release{opening};
  test::gate both;
  auto warm = crew.start(
      make_map_batch(std::vector<int>(2), [&](int) { both.pass(); }));
  both.wait_for_arrivals(2);
  both.open();
  get(warm);
  auto made = make_map_batch(
      std::vector<int>(50),
      [n = std::make_shared<std::atomic<int>>(0)](context& ctx, int) {
        if (++*n == 5)
          ctx.discard_resource();
        return ctx.worker();
      });
  test::batch_of(made).modify({.max_in_flight = 1});
  // Failure here is a hang: the gate is shut.
  auto workers = get(crew.start(std::move(made)));
  CHECK(workers.front() != workers.back());
  CHECK(crew.stats().succeeded == 52);
}

namespace {

struct fragile {
  bool broken() const noexcept { return torn; }
  bool torn = false;
};

} // namespace

TEST_CASE("a resource that says that it is broken is replaced", "[resource]") {
  std::atomic<int> opened{0};
  thread_crew crew{with(make_resource<fragile>([&] {
                          ++opened;
                          return fragile{};
                        }),
                        1)};
  auto tear = [](context& ctx) { ctx.resource<fragile>().torn = true; };
  CHECK_FALSE(get(crew.start(
      make_batch([](context& ctx) { return ctx.resource<fragile>().torn; }))));
  CHECK(opened == 1);
  get(crew.start(make_batch(tear)));
  CHECK_FALSE(get(crew.start(
      make_batch([](context& ctx) { return ctx.resource<fragile>().torn; }))));
  CHECK(opened == 2);
}

// -- checks -------------------------------------------------------------------

TEST_CASE("a resource is checked before its use only if it was idle for long",
          "[resource]") {
  server home;
  std::atomic<int> checks{0};
  slow_crew slow{connect(home)
                     .check([&](connection& mine) {
                       ++checks;
                       home.elsewhere +=
                           mine.opened_on != std::this_thread::get_id();
                       return mine.good;
                     })
                     .check_after(30s)};
  auto& clock = *slow.time.clock;
  auto ask = [&] { return get(slow.crew.start(make_batch(use))); };
  CHECK(ask() == 1);
  clock.advance(29s);
  CHECK(ask() == 1);
  CHECK(checks == 0);
  clock.advance(30s);
  CHECK(ask() == 1);
  CHECK(checks == 1);
  // Counted from the last use.
  clock.advance(29s);
  CHECK(ask() == 1);
  CHECK(checks == 1);
  CHECK(home.elsewhere == 0);
  CHECK(slow.stats().failed_checks == 0);
}

TEST_CASE("a resource that fails its check is replaced before the request",
          "[resource]") {
  server home;
  auto throws = GENERATE(false, true);
  slow_crew slow{connect(home).check([throws](connection& mine) {
    if (!mine.good && throws)
      throw std::runtime_error{"broken pipe"};
    return mine.good;
  })};
  get(slow.crew.start(make_batch(
      [](context& ctx) { ctx.resource<connection>().good = false; })));
  slow.crew.wait_until_idle();
  slow.time.clock->advance(500ms);
  CHECK(get(slow.crew.start(make_batch(use))) == 2);
  CHECK(slow.stats().failed_checks == 1);
  CHECK(slow.stats().open_failures == 0);
  CHECK(home.open == 1);
}

TEST_CASE("a check that returns nothing fails by an exception", "[resource]") {
  server home;
  slow_crew slow{connect(home).check([](connection& mine) {
    if (!mine.good)
      throw std::runtime_error{"broken pipe"};
  })};
  auto ask = [&] { return get(slow.crew.start(make_batch(use))); };
  CHECK(ask() == 1);
  slow.time.clock->advance(1s);
  CHECK(ask() == 1);
  get(slow.crew.start(make_batch(
      [](context& ctx) { ctx.resource<connection>().good = false; })));
  slow.time.clock->advance(1s);
  CHECK(ask() == 2);
}

// A worker may have been busy with requests that do not need it.
TEST_CASE("a resource that was idle while its worker was not is checked, too",
          "[resource]") {
  server home;
  slow_crew slow{
      connect(home).check([](connection& mine) { return mine.good; })};
  auto number = get(slow.crew.start(make_batch([&](context& ctx) {
    // As long as it has not used it, it is idle.
    slow.time.clock->advance(1s);
    ctx.cell().resource(typeid(connection));
    return use(ctx);
  })));
  CHECK(number == 1);
  get(slow.crew.start(make_batch(
      [](context& ctx) { ctx.resource<connection>().good = false; })));
  number = get(slow.crew.start(make_batch([&](context& ctx) {
    slow.time.clock->advance(1s);
    return use(ctx);
  })));
  CHECK(number == 2);
  CHECK(slow.stats().failed_checks == 1);
}

TEST_CASE("a request whose worker has lost its resource goes to another one",
          "[resource]") {
  server home;
  // One that looks for work is given it without being woken.
  auto spin = GENERATE(0ns, 1'000'000'000ns);
  slow_crew slow{
      connect(home).check([](connection& mine) { return mine.good; }), 2, 2,
      spin};
  test::gate both;
  test::open_at_exit release{both};
  auto first = slow.crew.start(
      make_map_batch(std::vector<int>(2), [&](context& ctx, int) {
        ctx.resource<connection>();
        both.pass();
      }));
  both.wait_for_arrivals(2);
  both.open();
  get(first);
  slow.crew.wait_until_idle();
  // Whoever comes next has the bad one.
  get(slow.crew.start(make_batch(
      [](context& ctx) { ctx.resource<connection>().good = false; })));
  slow.crew.wait_until_idle();
  home.up = false;
  slow.time.clock->advance(1s);
  // Failure here is a hang: the server is down for good.
  CHECK(get(slow.crew.start(make_batch(
      [](context& ctx) { return ctx.resource<connection>().good; }))));
  slow.wait_for_resting(1);
  CHECK(home.open == 1);
  CHECK(slow.crew.stats().queued == 0);
}

// -- recycling ----------------------------------------------------------------

TEST_CASE("a resource is recycled after so many requests that used it",
          "[resource]") {
  server home;
  thread_crew crew{with(connect(home).recycle_after(10), 1)};
  auto of_map = GENERATE(false, true);
  std::vector<int> numbers;
  if (of_map)
    numbers = get(crew.start(make_map_batch(
        std::vector<int>(100), [](context& ctx, int) { return use(ctx); })));
  else
    for (int i = 0; i < 100; ++i) {
      numbers.push_back(get(crew.start(make_batch(use))));
      // Does not count.
      get(crew.start(make_batch([] {})));
    }
  // Not in this order, where some had been claimed for later.
  std::sort(numbers.begin(), numbers.end());
  std::vector<int> expected;
  for (int i = 0; i < 100; ++i)
    expected.push_back(i / 10 + 1);
  CHECK(numbers == expected);
}

TEST_CASE("a resource is recycled when it is old, idle or not", "[resource]") {
  server home;
  slow_crew slow{connect(home).recycle_every(1h)};
  auto& clock = *slow.time.clock;
  auto ask = [&] { return get(slow.crew.start(make_batch(use))); };
  CHECK(ask() == 1);
  clock.advance(59min);
  CHECK(ask() == 1);
  clock.advance(1min);
  CHECK(ask() == 2);
  auto numbers = get(slow.crew.start(
      make_map_batch(std::vector<int>(4), [&](context& ctx, int) {
        auto number = use(ctx);
        clock.advance(30min);
        return number;
      })));
  CHECK(numbers == std::vector{2, 2, 3, 3});
}

// -- requests inside others ---------------------------------------------------

// A request that runs inside another one's wait would find the resource in the
// middle of something.
TEST_CASE("a request that uses its resource does not run others in its wait",
          "[resource]") {
  server home;
  thread_crew crew{with(connect(home), 2)};
  auto elsewhere = get(crew.start(make_batch([&](context& ctx) {
    use(ctx);
    auto inner = get(crew.start(make_batch([](context& nested) {
      use(nested);
      return nested.worker();
    })));
    return inner != ctx.worker();
  })));
  CHECK(elsewhere);
}

TEST_CASE("a request that has not used its resource runs others in its wait",
          "[resource]") {
  server home;
  thread_crew crew{with(connect(home), 1)};
  auto uses = get(crew.start(make_batch([&](context& ctx) {
    auto inner = get(crew.start(make_batch(
        [](context& nested) { return ++nested.resource<connection>().uses; })));
    return inner + ++ctx.resource<connection>().uses;
  })));
  CHECK(uses == 3);
}

// There the worker cannot go back to open it; failure here is a hang.
TEST_CASE("a resource that breaks inside another request's wait is replaced "
          "where it is used",
          "[resource]") {
  server home;
  thread_crew crew{with(connect(home), 1)};
  auto numbers = get(crew.start(make_batch([&](context& ctx) {
    auto inner = get(crew.start(
        make_map_batch(std::vector<int>(4), [](context& nested, int) {
          auto number = use(nested);
          nested.discard_resource();
          return number;
        })));
    inner.push_back(use(ctx));
    return inner;
  })));
  CHECK(numbers == std::vector{1, 2, 3, 4, 5});
}

// -- all of it ----------------------------------------------------------------

TEST_CASE("opens equal closes at exit, whatever happened to the resources",
          "[resource]") {
  server home;
  troupe::resource_stats seen;
  {
    slow_crew slow{
        connect(home)
            .check([](connection& mine) { return mine.uses % 7 > 0; })
            .check_after(1s)
            .recycle_after(11)
            .recycle_every(5s)
            .backoff(100ms, 1s),
        4, 1};
    for (int round = 0; round < 60; ++round) {
      home.up = round % 5 != 0;
      auto made = slow.crew.start(
          make_map_batch(std::vector<int>(40), [&](context& ctx, int) {
            if (use(ctx) % 13 == 0 && ctx.resource<connection>().uses == 3)
              ctx.discard_resource();
          }));
      home.up = true;
      while (!test::batch_of(made).done()) {
        slow.time.clock->advance(1s);
        std::this_thread::yield();
      }
      try {
        get(made);
      } catch (const std::runtime_error& error) {
        // A check that failed when the request had begun.
        CHECK(error.what() == std::string{"connection refused"});
      }
      if (round % 20 == 19) {
        slow.crew.home().resize(round == 19 ? 1 : 4);
        slow.time.clock->advance(1s);
      }
    }
    // A worker may still rest, until its time has come.
    auto now = slow.crew.stats();
    for (; now.idle != now.workers; now = slow.crew.stats()) {
      slow.time.clock->advance(1s);
      std::this_thread::yield();
    }
    seen = slow.stats();
    CHECK(now.queued == 0);
    CHECK(seen.opens - seen.closes
          == static_cast<std::uint64_t>(home.open.load()));
  }
  CHECK(seen.opens > 20);
  CHECK(home.open == 0);
  CHECK(home.elsewhere == 0);
}

TEST_CASE("a resource cannot be made with a null function", "[resource]") {
  auto refusal = [](auto make) -> std::string {
    try {
      make();
    } catch (const troupe::failure& why) {
      CHECK(why.code() == troupe::ec::invalid_option);
      return why.what();
    }
    return "none";
  };
  std::function<int()> open = [] { return 1; };
  std::function<void(int&)> nothing;
  int (*null)() = nullptr;
  CHECK_THAT(refusal([&] { troupe::make_resource<int>(null); }),
             Catch::StartsWith("cannot open a resource with a null function"));
  CHECK_THAT(refusal([&] {
               troupe::make_resource<int>(std::function<int()>{}, [](int&) {});
             }),
             Catch::StartsWith("cannot open a resource with a null function"));
  CHECK_THAT(refusal([&] { troupe::make_resource<int>(open, nothing); }),
             Catch::StartsWith("cannot close a resource with a null function"));
  CHECK_THAT(refusal([&] { troupe::make_resource<int>(open).check(nothing); }),
             Catch::StartsWith("cannot check a resource with a null function"));
  CHECK(refusal([&] { troupe::make_resource<int>(open, [](int&) {}); })
        == "none");
}
