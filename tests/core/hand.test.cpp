// Tiny submissions that a worker takes from the queue together: each runs once,
// none waits behind one that is not tiny, and until it is begun each is still
// queued for all who look.

#include "troupe/hand.hpp"

#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "manual_clock.hpp"
#include "scripted_crew.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <deque>
#include <numeric>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::batch_of;
using test::failure_in;
using test::get;
using test::scripted_crew;
using test::thread_crew;
using troupe::ec;
using troupe::make_batch;
using troupe::worker_cell;

namespace {

/// A pool whose workers are at tiny submissions, of which many are queued.
class busy_pool {
public:
  explicit busy_pool(std::size_t workers)
      : busy_pool{scripted_crew::idle_workers(workers)} {}

  explicit busy_pool(const troupe::effective_options& options) : crew{options} {
    for (std::size_t i = 0; i < options.workers; ++i) {
      submit();
      auto cell = crew.take_woken().at(0);
      cells.push_back(cell);
      found.push_back(cell->take());
      crew.home().take_up(*cell, *found.back().work);
    }
    while (queued.size() < options.workers + 200)
      submit();
  }

  /// Submits one more request, whose number is how many there were before.
  void submit() {
    auto number = queued.size();
    queued.push_back(make_batch([this, number] { order.push_back(number); }));
    crew.submit(queued.back().ref());
  }

  /// Has the first worker go on until it has taken several together, of which
  /// it has begun none, and returns the number of the first of these.
  std::size_t take_several() {
    for (;;) {
      auto before = first().in_hand();
      submit();
      step(0);
      if (first().in_hand() > before)
        return number_of(*found[0].work);
    }
  }

  worker_cell& first() { return *cells[0]; }

  /// Has a worker run what it has and ask for more. All calls take no time, as
  /// far as the worker knows, unless `when` says something else.
  void step(std::size_t worker) { step(worker, start); }

  void step(std::size_t worker, std::chrono::steady_clock::time_point when) {
    auto why = crew.run(*cells[worker], found[worker]);
    cells[worker]->set_mark(when);
    found[worker] = crew.next(*cells[worker], found[worker], why);
  }

  /// Cancels all that waits behind the hand which begins with `begin`.
  void cancel_behind_hand(std::size_t begin) {
    for (auto i = begin + first().in_hand() + 1; i < queued.size(); ++i)
      batch_of(queued[i]).cancel(ec::cancelled);
  }

  /// Has a worker run all that there is.
  void run_all(std::size_t worker) {
    crew.run_all(*cells[worker], std::exchange(found[worker], {}));
  }

  std::size_t number_of(const troupe::batch& work) const {
    for (std::size_t i = 0; i < queued.size(); ++i)
      if (&batch_of(queued[i]) == &work)
        return i;
    return queued.size();
  }

  std::uint64_t stats_queued() { return crew.home().stats().queued; }

  /// Returns whether each request ran once.
  bool each_ran_once() {
    auto sorted = order;
    std::sort(sorted.begin(), sorted.end());
    std::vector<std::size_t> expected(queued.size());
    std::iota(expected.begin(), expected.end(), 0);
    return sorted == expected;
  }

  const std::chrono::steady_clock::time_point start =
      std::chrono::steady_clock::now();
  std::deque<troupe::typed_batch<void>> queued;
  std::vector<std::size_t> order;
  scripted_crew crew;
  std::vector<worker_cell*> cells;
  std::vector<worker_cell::hand_off> found;
};

} // namespace

TEST_CASE("tiny submissions are taken together, in their order", "[hand]") {
  busy_pool pool{1};
  auto begin = pool.take_several();
  pool.run_all(0);
  CHECK(pool.each_ran_once());
  CHECK(std::is_sorted(pool.order.begin(), pool.order.end()));
  CHECK(begin < pool.order.size());
}

TEST_CASE("what is in a hand and not begun counts as queued", "[hand]") {
  busy_pool pool{1};
  auto begin = pool.take_several();
  auto after = pool.queued.size() - begin - 1;
  CHECK(pool.stats_queued() == after);
  CHECK(pool.crew.home().stats().oldest_queued > 0ns);
  pool.step(0);
  CHECK(pool.stats_queued() == after - 1);
  pool.step(0);
  CHECK(pool.stats_queued() == after - 2);
  pool.run_all(0);
  CHECK(pool.stats_queued() == 0);
}

// No time passes: who has nothing else to do takes it even if it is not late.
TEST_CASE("a worker that finds nothing else runs what another one has in its "
          "hand",
          "[hand]") {
  busy_pool pool{2};
  auto begin = pool.take_several();
  auto in_hand = pool.first().in_hand();
  // The first worker is in its call all that time.
  while (pool.found[1].work)
    pool.step(1);
  CHECK(pool.order.size() == pool.queued.size() - 1);
  // In their order, after all that had waited behind them.
  REQUIRE(pool.order.size() > in_hand);
  auto i = pool.order.end() - in_hand;
  for (std::uint32_t n = 1; n <= in_hand; ++n, ++i)
    CHECK(*i == begin + n);
  pool.step(0);
  CHECK_FALSE(pool.found[0].work);
  CHECK(pool.each_ran_once());
}

TEST_CASE("what a held up worker has in its hand goes before what came later",
          "[hand]") {
  auto late = GENERATE(true, false);
  busy_pool pool{2};
  auto begin = pool.take_several();
  auto in_hand = pool.first().in_hand();
  pool.step(1, pool.start + (late ? 1h : 0h));
  CHECK(pool.number_of(*pool.found[1].work)
        == begin + 1 + (late ? 0 : in_hand));
  pool.run_all(1);
  pool.run_all(0);
  CHECK(pool.each_ran_once());
}

TEST_CASE("a worker that was called back begins nothing of its hand",
          "[hand]") {
  busy_pool pool{2};
  auto begin = pool.take_several();
  pool.step(1, pool.start + 1h);
  REQUIRE(pool.number_of(*pool.found[1].work) == begin + 1);
  pool.step(0);
  CHECK(pool.number_of(*pool.found[0].work) > begin + 1);
  pool.run_all(0);
  pool.run_all(1);
  CHECK(pool.each_ran_once());
}

TEST_CASE("a worker whose call took long asks for what is urgent", "[hand]") {
  busy_pool pool{1};
  auto begin = pool.take_several();
  auto urgent = make_batch([] {});
  troupe::modifiers high;
  high.priority = troupe::priority::high;
  batch_of(urgent).modify(high);
  pool.crew.submit(urgent.ref());
  pool.step(0, pool.start + 1h);
  CHECK(pool.found[0].work.get() == &batch_of(urgent));
  pool.step(0);
  CHECK(pool.number_of(*pool.found[0].work) == begin + 1);
  pool.run_all(0);
  CHECK(pool.each_ran_once());
}

TEST_CASE("with something of another priority in the queue nothing is taken "
          "together",
          "[hand]") {
  busy_pool pool{1};
  pool.take_several();
  while (pool.first().in_hand() > 0)
    pool.step(0);
  auto later = make_batch([] {});
  troupe::modifiers low;
  low.priority = troupe::priority::low;
  batch_of(later).modify(low);
  pool.crew.submit(later.ref());
  while (!batch_of(later).done()) {
    CHECK(pool.first().in_hand() == 0);
    pool.submit();
    pool.step(0);
  }
  pool.run_all(0);
  CHECK(pool.each_ran_once());
}

TEST_CASE("a request that is cancelled in a hand never runs", "[hand]") {
  busy_pool pool{1};
  auto begin = pool.take_several();
  auto queued = pool.stats_queued();
  batch_of(pool.queued[begin + 1]).cancel(ec::cancelled);
  CHECK(batch_of(pool.queued[begin + 1]).done());
  CHECK(pool.stats_queued() == queued - 1);
  pool.run_all(0);
  CHECK(pool.order.size() == pool.queued.size() - 1);
  CHECK(std::find(pool.order.begin(), pool.order.end(), begin + 1)
        == pool.order.end());
}

TEST_CASE("a cancel of all that is queued finds what is in a hand", "[hand]") {
  busy_pool pool{1};
  auto begin = pool.take_several();
  pool.crew.home().cancel_all(ec::pool_stopped);
  CHECK(pool.stats_queued() == 0);
  for (auto i = begin + 1; i < pool.queued.size(); ++i) {
    auto err = failure_in([&] { get(pool.queued[i]); });
    REQUIRE(err);
    CHECK(err->code() == ec::pool_stopped);
    CHECK_FALSE(err->started());
  }
  pool.run_all(0);
  CHECK(pool.order.size() == begin);
}

TEST_CASE("what a lost worker had in its hand goes to others", "[hand]") {
  busy_pool pool{2};
  pool.take_several();
  pool.crew.home().lost(pool.first());
  pool.run_all(1);
  CHECK(pool.each_ran_once());
  CHECK(pool.crew.home().stats().workers == 1);
  CHECK(pool.stats_queued() == 0);
}

TEST_CASE("a pool that may grow does so for what is in a hand", "[hand]") {
  busy_pool pool{1};
  auto begin = pool.take_several();
  pool.cancel_behind_hand(begin);
  auto in_hand = pool.first().in_hand();
  pool.order.clear();
  pool.crew.home().resize(2);
  auto hired = pool.crew.hire();
  REQUIRE(hired.size() == 1);
  pool.crew.run_all(*hired[0], pool.crew.next(*hired[0]));
  CHECK(pool.order.size() == in_hand);
  pool.run_all(0);
  CHECK(pool.order.size() == in_hand + 1);
}

TEST_CASE("a worker that gets stuck has its hand taken from it", "[hand]") {
  test::manual_time time;
  auto options = scripted_crew::idle_workers(1);
  options.clock = time.clock;
  options.max_run_time = 1s;
  options.max_spares = 1;
  busy_pool pool{options};
  auto begin = pool.take_several();
  pool.cancel_behind_hand(begin);
  auto in_hand = pool.first().in_hand();
  pool.order.clear();
  std::vector<troupe::stuck_request> alarms;
  pool.crew.home().watch(alarms);
  time.clock->advance(2s);
  pool.crew.home().watch(alarms);
  REQUIRE(alarms.size() == 1);
  auto spare = pool.crew.hire();
  REQUIRE(spare.size() == 1);
  pool.crew.run_all(*spare[0], pool.crew.next(*spare[0]));
  CHECK(pool.order.size() == in_hand);
  pool.run_all(0);
  CHECK(pool.order.size() == in_hand + 1);
}

TEST_CASE("a pool that refuses at a full queue takes nothing together",
          "[hand]") {
  auto options = scripted_crew::idle_workers(1);
  options.on_full = troupe::on_full::reject;
  busy_pool pool{options};
  for (int i = 0; i < 100; ++i) {
    pool.submit();
    pool.step(0);
    CHECK(pool.first().in_hand() == 0);
  }
  pool.run_all(0);
  CHECK(pool.each_ran_once());
}

// Some hundred tiny ones behind one that waits for all of them. Failure here is
// a hang.
TEST_CASE("a call that blocks among tiny ones holds up none of them",
          "[hand]") {
  constexpr auto tiny = 300;
  auto workers = GENERATE(2u, 4u);
  thread_crew crew{workers};
  for (int round = 0; round < 50; ++round) {
    std::vector<troupe::typed_batch<void>> all;
    test::gate begin;
    test::open_at_exit release{begin};
    // So that they queue, and are seen to be tiny.
    for (unsigned i = 0; i < workers; ++i)
      all.push_back(crew.start(make_batch([&] { begin.pass(); })));
    for (int i = 0; i < tiny; ++i)
      all.push_back(crew.start(make_batch([] {})));
    std::atomic<int> ran{0};
    test::gate last;
    test::open_at_exit release_last{last};
    for (int i = 0; i < tiny; ++i) {
      if (i == tiny / 2)
        all.push_back(crew.start(make_batch([&] { last.pass(); })));
      all.push_back(crew.start(make_batch([&] {
        if (++ran == tiny)
          last.open();
      })));
    }
    begin.open();
    for (auto& one : all)
      get(one);
    CHECK(ran == tiny);
  }
}

TEST_CASE("tiny submissions of many threads run once each, whatever happens",
          "[hand]") {
  constexpr auto threads = 4;
  constexpr auto each = 2'000;
  thread_crew crew{3};
  std::atomic<int> ran{0};
  std::atomic<int> dropped{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < threads; ++t)
    callers.emplace_back([&, t] {
      std::vector<troupe::typed_batch<void>> mine;
      for (int i = 0; i < each; ++i) {
        mine.push_back(crew.start(make_batch([&] { ++ran; })));
        if (i % 7 == t)
          batch_of(mine[static_cast<std::size_t>(i) / 2]).cancel(ec::cancelled);
        if (i % 500 == 0)
          crew.home().resize(i % 1'000 == 0 ? 2 : 3);
      }
      for (auto& one : mine)
        if (failure_in([&] { get(one); }))
          ++dropped;
    });
  for (auto& one : callers)
    one.join();
  CHECK(ran + dropped == threads * each);
  auto seen = crew.home().settled_stats();
  CHECK(seen.succeeded == static_cast<std::uint64_t>(ran));
  CHECK(seen.cancelled == static_cast<std::uint64_t>(dropped));
  CHECK(seen.queued == 0);
}
