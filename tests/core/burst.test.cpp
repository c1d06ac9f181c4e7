// Single calls that come while the workers are busy with tiny ones: they wait
// together, run once each, and are nowhere worse off than by themselves.

#include "troupe/burst.hpp"

#include "troupe/dispatcher.hpp"
#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "captured_log.hpp"
#include "gate.hpp"
#include "manual_clock.hpp"
#include "scripted_crew.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::batch_of;
using test::scripted_crew;
using test::thread_crew;
using troupe::burst_call;
using troupe::burst_page;
using troupe::ec;
using troupe::failure_ptr;
using troupe::make_batch;
using troupe::make_ref;
using troupe::ref_ptr;
using troupe::run_result;
using troupe::worker_cell;

namespace {

/// What became of a call.
struct fate {
  bool ran = false;
  std::optional<ec> dropped;
  bool collected = false;
};

class test_call final : public burst_call {
public:
  explicit test_call(fate& mine, std::function<run_result()> what = {})
      : mine_{&mine}, what_{std::move(what)} {}

  explicit test_call(std::function<run_result()> what)
      : what_{std::move(what)} {}

  run_result run(troupe::context&) noexcept override {
    if (mine_)
      mine_->ran = true;
    return what_ ? what_() : run_result::value;
  }

  void drop(const failure_ptr& why) noexcept override {
    mine_->dropped = why->code;
  }

  void deliver() override { discard(); }

  failure_ptr discard() noexcept override {
    if (mine_)
      mine_->collected = true;
    std::destroy_at(this);
    return nullptr;
  }

private:
  fate* mine_ = nullptr;
  std::function<run_result()> what_;
};

/// Collects in the thread that adds, when the test says so.
class test_page final : public burst_page {
public:
  void collect() {
    for (auto calls = take_ended(); calls != 0; calls &= calls - 1)
      at(static_cast<std::uint32_t>(std::countr_zero(calls))).deliver();
  }

  int signals = 0;

private:
  void signal() noexcept override { ++signals; }
};

/// A pool whose workers the test plays, and somebody who adds calls.
class burst_pool {
public:
  explicit burst_pool(std::size_t workers)
      : burst_pool{scripted_crew::idle_workers(workers)} {}

  explicit burst_pool(const troupe::effective_options& options)
      : crew{options} {}

  ~burst_pool() {
    for (auto& [cell, found] : busy)
      crew.run_all(*cell, std::exchange(found, {}));
    page->collect();
  }

  troupe::dispatcher& home() { return crew.home(); }

  /// Has one more worker take up a request, and returns its position.
  std::size_t occupy() {
    crew.submit(make_batch([] {}).ref());
    auto cell = crew.take_woken().at(0);
    busy.emplace_back(cell, cell->take());
    cell->set_mark(start());
    crew.home().take_up(*cell, *busy.back().second.work);
    return busy.size() - 1;
  }

  /// Has a worker run what it has and ask for more. All calls of the pool take
  /// no time, as far as it knows, unless `ended` says something else.
  void step(std::size_t worker,
            std::chrono::steady_clock::time_point ended = start()) {
    auto& [cell, found] = busy[worker];
    auto why = crew.run(*cell, found);
    cell->set_mark(ended);
    found = crew.next(*cell, found, why);
  }

  /// Has a worker run what it has and become idle.
  void rest(std::size_t worker) {
    step(worker);
    REQUIRE_FALSE(work(worker));
  }

  /// Has one of the workers, all of which are busy, run tiny requests until
  /// calls come in bursts.
  void learn(std::size_t worker) {
    for (auto i = 0; i < 10 && !home().takes_calls(); ++i) {
      crew.submit(make_batch([] {}).ref());
      step(worker);
    }
    REQUIRE(home().takes_calls());
  }

  /// Adds a call; returns its number.
  std::size_t add(std::function<run_result()> what = {}) {
    auto number = fates.size();
    fates.push_back(std::make_unique<fate>());
    auto place = page->room_for(sizeof(test_call));
    REQUIRE(place);
    auto made =
        ::new (place) test_call{*fates.back(), [this, number, what] {
                                  order.push_back(number);
                                  return what ? what() : run_result::value;
                                }};
    if (!page->append(*made, sizeof(test_call)))
      home().open_burst(*page);
    return number;
  }

  worker_cell& cell(std::size_t worker) { return *busy[worker].first; }

  const ref_ptr<troupe::batch>& work(std::size_t worker) {
    return busy[worker].second.work;
  }

  bool all_ran_once() const {
    auto sorted = order;
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t i = 0; i < sorted.size(); ++i)
      if (sorted[i] != i)
        return false;
    return sorted.size() == fates.size();
  }

  // Ahead of the clock, so that for the pool a worker that began then has just
  // begun, however long the test takes.
  static std::chrono::steady_clock::time_point start() {
    static const auto instance = std::chrono::steady_clock::now() + 1h;
    return instance;
  }

  scripted_crew crew;
  std::vector<std::pair<worker_cell*, worker_cell::hand_off>> busy;
  ref_ptr<test_page> page = make_ref<test_page>();
  std::vector<std::unique_ptr<fate>> fates;
  std::vector<std::size_t> order;
};

} // namespace

// -- the page -----------------------------------------------------------------

TEST_CASE("a page is full when it has a call for each bit", "[burst]") {
  auto page = make_ref<test_page>();
  fate mine;
  for (auto i = 0u; i < burst_page::capacity; ++i) {
    auto place = page->room_for(sizeof(test_call));
    REQUIRE(place);
    page->append(*::new (place) test_call{mine}, sizeof(test_call));
  }
  CHECK(page->room_for(1) == nullptr);
  page->end(~std::uint64_t{0});
  page->collect();
}

TEST_CASE("a page is full when its memory is used up", "[burst]") {
  auto page = make_ref<test_page>();
  auto n = 0u;
  std::vector<std::byte*> places;
  fate mine;
  while (auto place = page->room_for(burst_page::largest_call)) {
    places.push_back(static_cast<std::byte*>(place));
    page->append(*::new (place) test_call{mine}, burst_page::largest_call);
    ++n;
  }
  CHECK(n >= 10);
  CHECK(n < burst_page::capacity);
  for (std::size_t i = 1; i < places.size(); ++i)
    CHECK(places[i] - places[i - 1]
          == std::ptrdiff_t{burst_page::largest_call});
  page->end((std::uint64_t{1} << n) - 1);
  page->collect();
}

TEST_CASE("a page signals once until somebody collects", "[burst]") {
  auto page = make_ref<test_page>();
  fate mine[3];
  for (auto& one : mine)
    page->append(*::new (page->room_for(sizeof(test_call))) test_call{one},
                 sizeof(test_call));
  page->end(1);
  page->end(4);
  CHECK(page->signals == 1);
  page->collect();
  CHECK(mine[0].collected);
  CHECK_FALSE(mine[1].collected);
  CHECK(mine[2].collected);
  page->end(2);
  CHECK(page->signals == 2);
  page->collect();
  CHECK(mine[1].collected);
}

// -- when calls come in bursts ------------------------------------------------

TEST_CASE("calls come in bursts while a worker is busy with tiny ones",
          "[burst]") {
  burst_pool pool{2};
  CHECK_FALSE(pool.home().takes_calls());
  auto worker = pool.occupy();
  auto other = pool.occupy();
  CHECK_FALSE(pool.home().takes_calls());
  pool.learn(worker);
  pool.rest(other);
  CHECK(pool.home().takes_calls());
  // Nothing is left to do, so whoever comes must wake somebody.
  pool.step(worker);
  REQUIRE_FALSE(pool.work(worker));
  CHECK_FALSE(pool.home().takes_calls());
}

TEST_CASE("calls do not come in bursts beside an idle worker while the others "
          "are busy with something long",
          "[burst]") {
  burst_pool pool{2};
  auto worker = pool.occupy();
  auto other = pool.occupy();
  pool.learn(worker);
  pool.crew.submit(make_batch([] {}).ref());
  // It took that up long ago, when the other one becomes idle.
  pool.step(worker, pool.start() - 2h);
  REQUIRE(pool.work(worker));
  pool.rest(other);
  CHECK_FALSE(pool.home().takes_calls());
}

TEST_CASE("calls do not come in bursts while workers can be called away",
          "[burst]") {
  burst_pool pool{2};
  auto worker = pool.occupy();
  auto other = pool.occupy();
  pool.learn(worker);
  auto map = troupe::make_map_batch(std::vector<int>(1'000, 1), [](int) {});
  pool.crew.submit(map.ref());
  pool.step(other);
  REQUIRE(pool.work(other).get() == &batch_of(map));
  CHECK_FALSE(pool.home().takes_calls());
}

TEST_CASE("calls that are not tiny end bursts", "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  for (auto i = 1; i < 20; ++i) {
    pool.crew.submit(make_batch([] {}).ref());
    pool.step(worker, pool.start() + i * 1ms);
  }
  CHECK_FALSE(pool.home().takes_calls());
}

TEST_CASE("bursts end when somebody has to be told of each call, or nobody "
          "will look at them",
          "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  auto& home = pool.home();
  SECTION("a subscriber") {
    home.subscribe(true);
  }
  SECTION("who waits for nothing to be outstanding") {
    home.watch_outstanding(true);
  }
  SECTION("a pool that may have more workers") {
    home.resize(2);
  }
  SECTION("the end of admission") {
    home.close_admission();
  }
  SECTION("the end of the pool") {
    home.close();
  }
  CHECK_FALSE(home.takes_calls());
}

TEST_CASE("a pool that refuses at a full queue takes no calls in bursts",
          "[burst]") {
  auto options = scripted_crew::idle_workers(1);
  options.on_full = troupe::on_full::reject;
  burst_pool pool{options};
  auto worker = pool.occupy();
  for (auto i = 0; i < 20; ++i) {
    pool.crew.submit(make_batch([] {}).ref());
    pool.step(worker);
    CHECK_FALSE(pool.home().takes_calls());
  }
}

// -- how they run -------------------------------------------------------------

TEST_CASE("calls of a burst run once each, in their order, and are collected",
          "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  for (auto i = 0; i < 10; ++i)
    pool.add();
  while (pool.work(worker))
    pool.step(worker);
  CHECK(pool.all_ran_once());
  CHECK(std::is_sorted(pool.order.begin(), pool.order.end()));
  pool.page->collect();
  for (auto& one : pool.fates)
    CHECK(one->collected);
}

TEST_CASE("a worker that comes for work gets all calls of a burst, and later "
          "ones are for the next",
          "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  for (auto i = 0; i < 5; ++i)
    pool.add();
  pool.step(worker);
  REQUIRE(pool.work(worker));
  CHECK(pool.work(worker)->size() == 5);
  for (auto i = 0; i < 3; ++i)
    pool.add();
  pool.step(worker);
  REQUIRE(pool.work(worker));
  CHECK(pool.work(worker)->size() == 3);
  pool.step(worker);
  CHECK(pool.all_ran_once());
}

TEST_CASE("what is submitted behind a burst runs behind it", "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  pool.add();
  pool.add();
  auto before = std::size_t{99};
  auto single = make_batch([&] { before = pool.order.size(); });
  pool.crew.submit(single.ref());
  // Of the next burst.
  pool.add();
  while (pool.work(worker))
    pool.step(worker);
  CHECK(before == 2);
  CHECK(pool.all_ran_once());
}

TEST_CASE("a call of a burst that fails concerns no other", "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  auto before = pool.home().stats();
  for (auto i = 0; i < 6; ++i)
    pool.add([i] { return i == 2 ? run_result::failed : run_result::value; });
  while (pool.work(worker))
    pool.step(worker);
  CHECK(pool.all_ran_once());
  auto after = pool.home().stats();
  CHECK(after.failed - before.failed == 1);
  // And the request that the worker was busy with.
  CHECK(after.succeeded - before.succeeded == 5 + 1);
}

TEST_CASE("each call of a burst is a submission and a batch, from the moment "
          "that it is added",
          "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  auto before = pool.home().stats();
  for (auto i = 0; i < 7; ++i)
    pool.add();
  auto open = pool.home().stats();
  CHECK(open.queued == 7);
  CHECK(open.submissions - before.submissions == 7);
  CHECK(open.arrived - before.arrived == 7);
  CHECK(open.oldest_queued > 0ns);
  CHECK(pool.home().outstanding() > 0);
  pool.crew.submit(make_batch([] {}).ref());
  auto closed = pool.home().stats();
  CHECK(closed.queued == 8);
  CHECK(closed.submissions - before.submissions == 8);
  CHECK(pool.home().outstanding() == 9);
  while (pool.work(worker))
    pool.step(worker);
  auto after = pool.home().stats();
  CHECK(after.queued == 0);
  CHECK(after.batches - before.batches == 9);
  CHECK(pool.home().outstanding() == 0);
}

TEST_CASE("calls in bursts count towards the length of the queue", "[burst]") {
  auto options = scripted_crew::idle_workers(1);
  options.max_queued = 10;
  burst_pool pool{options};
  auto worker = pool.occupy();
  pool.learn(worker);
  for (auto i = 0; i < 11; ++i)
    pool.add();
  CHECK_FALSE(pool.home().crowded());
  // Whoever looks closes the burst.
  pool.crew.submit(make_batch([] {}).ref());
  CHECK(pool.home().crowded());
  // From here on each is a burst of its own.
  pool.add();
  CHECK(pool.home().stats().waiting == 3);
  while (pool.work(worker))
    pool.step(worker);
  CHECK_FALSE(pool.home().crowded());
  CHECK(pool.all_ran_once());
}

TEST_CASE("those who add at the same time do not close each other's bursts",
          "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  auto mine = pool.page;
  auto theirs = make_ref<test_page>();
  for (auto i = 0; i < 5; ++i) {
    pool.page = mine;
    pool.add();
    pool.page = theirs;
    pool.add();
  }
  pool.step(worker);
  REQUIRE(pool.work(worker));
  CHECK(pool.work(worker)->size() == 5);
  pool.step(worker);
  REQUIRE(pool.work(worker));
  CHECK(pool.work(worker)->size() == 5);
  pool.step(worker);
  CHECK(pool.all_ran_once());
  CHECK(pool.order == std::vector<std::size_t>{0, 2, 4, 6, 8, 1, 3, 5, 7, 9});
  mine->collect();
}

// -- late ones ----------------------------------------------------------------

TEST_CASE("an idle worker gets what waits in a burst for too long", "[burst]") {
  burst_pool pool{2};
  auto worker = pool.occupy();
  auto other = pool.occupy();
  pool.learn(worker);
  pool.rest(other);
  pool.add();
  pool.add();
  // The worker does not come back.
  auto until = std::chrono::steady_clock::now() + 1ms;
  while (std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  pool.crew.let_time_pass();
  auto woken = pool.crew.take_woken();
  REQUIRE(woken.size() == 1);
  REQUIRE(woken[0] != &pool.cell(worker));
  pool.crew.run_all(*woken[0], woken[0]->take());
  CHECK(pool.all_ran_once());
}

TEST_CASE("an idle worker is not woken for a burst that is not late",
          "[burst]") {
  burst_pool pool{2};
  auto worker = pool.occupy();
  auto other = pool.occupy();
  pool.learn(worker);
  pool.rest(other);
  for (auto i = 0; i < 5; ++i)
    pool.add();
  CHECK(pool.crew.take_woken().empty());
  pool.step(worker);
  REQUIRE(pool.work(worker));
  pool.crew.let_time_pass();
  CHECK(pool.crew.take_woken().empty());
  pool.step(worker);
  CHECK(pool.all_ran_once());
}

// The second of five calls blocks, as far as others can see: what it does is to
// let the idle worker come for the rest.
TEST_CASE("idle workers help with a burst that is late", "[burst]") {
  burst_pool pool{2};
  auto worker = pool.occupy();
  auto other = pool.occupy();
  pool.learn(worker);
  pool.rest(other);
  auto ran_meanwhile = 0u;
  for (auto i = 0; i < 5; ++i)
    pool.add([&pool, &ran_meanwhile, i] {
      if (i != 1)
        return run_result::value;
      pool.crew.let_time_pass();
      auto woken = pool.crew.take_woken();
      if (woken.size() == 1) {
        auto before = pool.order.size();
        pool.crew.run_all(*woken[0], woken[0]->take());
        ran_meanwhile = static_cast<unsigned>(pool.order.size() - before);
      }
      return run_result::value;
    });
  // It took the burst long ago.
  pool.step(worker, pool.start() - 2h);
  REQUIRE(pool.work(worker));
  pool.step(worker);
  CHECK(ran_meanwhile == 3);
  CHECK(pool.all_ran_once());
}

TEST_CASE("nobody looks after bursts when none come any more", "[burst]") {
  burst_pool pool{2};
  auto worker = pool.occupy();
  auto other = pool.occupy();
  pool.learn(worker);
  pool.rest(other);
  CHECK(pool.crew.script().later.empty());
  pool.add();
  pool.add();
  CHECK(pool.crew.script().later.size() == 1);
  pool.crew.let_time_pass();
  CHECK(pool.crew.script().later.size() == 1);
  pool.step(worker);
  REQUIRE(pool.work(worker));
  pool.crew.let_time_pass();
  CHECK(pool.crew.script().later.size() == 1);
  pool.step(worker);
  REQUIRE_FALSE(pool.work(worker));
  pool.crew.let_time_pass();
  CHECK(pool.crew.script().later.empty());
}

TEST_CASE("who looks after bursts finds that the pool is gone", "[burst]") {
  std::vector<std::function<void()>> later;
  {
    burst_pool pool{2};
    auto worker = pool.occupy();
    auto other = pool.occupy();
    pool.learn(worker);
    pool.rest(other);
    pool.add();
    later = pool.crew.script().later;
  }
  REQUIRE(later.size() == 1);
  later[0]();
}

// -- calls that never run -----------------------------------------------------

TEST_CASE("a cancel of all that is queued finds calls in bursts, open, waiting "
          "and begun",
          "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  auto before = pool.home().stats();
  // One is begun, and cancels the rest of its burst, and those behind.
  pool.add([&] {
    pool.add();
    pool.crew.submit(make_batch([] {}).ref());
    pool.add();
    pool.home().cancel_all(ec::pool_stopped);
    return run_result::value;
  });
  pool.add();
  pool.add();
  pool.step(worker);
  REQUIRE(pool.work(worker));
  pool.step(worker);
  CHECK(pool.fates[0]->ran);
  for (std::size_t i = 1; i < 5; ++i) {
    CHECK_FALSE(pool.fates[i]->ran);
    CHECK(pool.fates[i]->dropped == ec::pool_stopped);
  }
  auto after = pool.home().stats();
  // With the request between the bursts.
  CHECK(after.cancelled - before.cancelled == 5);
  CHECK(after.succeeded - before.succeeded == 2);
  CHECK(after.queued == 0);
}

TEST_CASE("calls that nobody wants any more never run", "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  auto before = pool.home().stats();
  pool.add([&] {
    pool.page->give_up();
    return run_result::value;
  });
  pool.add();
  pool.add();
  while (pool.work(worker))
    pool.step(worker);
  CHECK(pool.fates[0]->ran);
  for (std::size_t i = 1; i < 3; ++i) {
    CHECK_FALSE(pool.fates[i]->ran);
    CHECK(pool.fates[i]->dropped == ec::owner_gone);
  }
  auto after = pool.home().stats();
  CHECK(after.cancelled - before.cancelled == 2);
  CHECK(pool.home().outstanding() == 0);
}

TEST_CASE("a call that is added to a pool which has stopped is refused",
          "[burst]") {
  burst_pool pool{1};
  auto worker = pool.occupy();
  pool.learn(worker);
  auto before = pool.add();
  pool.home().close_admission();
  auto after = pool.add();
  while (pool.work(worker))
    pool.step(worker);
  CHECK(pool.fates[before]->ran);
  CHECK_FALSE(pool.fates[after]->ran);
  CHECK(pool.fates[after]->dropped == ec::pool_stopped);
  CHECK(pool.home().stats().refused == 1);
}

// The worker is held in the call, and comes back only when all has been said.
TEST_CASE("a call in which its worker ends fails, and others run the rest",
          "[burst]") {
  test::captured_log log;
  burst_pool pool{2};
  auto lost = pool.occupy();
  auto other = pool.occupy();
  pool.learn(lost);
  auto before = pool.home().stats();
  test::gate stuck;
  for (auto i = 0; i < 5; ++i)
    pool.add([&stuck, i] {
      if (i == 2)
        stuck.pass();
      return run_result::value;
    });
  pool.step(lost);
  auto found = pool.work(lost);
  REQUIRE(found);
  std::thread thread{
      [&] { pool.crew.run(pool.cell(lost), pool.busy[lost].second); }};
  test::open_at_exit open{stuck};
  stuck.wait_for_arrivals();
  pool.home().lost(pool.cell(lost));
  while (pool.work(other))
    pool.step(other);
  CHECK(pool.all_ran_once());
  CHECK(pool.fates[2]->dropped == ec::worker_lost);
  CHECK(found->done());
  auto after = pool.home().stats();
  CHECK(after.failed - before.failed == 1);
  stuck.open();
  thread.join();
  pool.busy[lost].second = {};
}

// -- with threads -------------------------------------------------------------

namespace {

/// Adds calls to a pool of threads as an actor does, and waits for them.
class adder {
public:
  explicit adder(troupe::dispatcher& home) : home_{home} {}

  ~adder() {
    wait();
    for (auto& page : pages_)
      page->collect();
  }

  void add(std::function<void()> what) {
    ++added_;
    auto body = [this, what = std::move(what)] {
      what();
      ran_.fetch_add(1);
      ran_.notify_all();
    };
    if (!home_.takes_calls()) {
      auto single = make_batch(body);
      batch_of(single).set_home(ref_ptr{&home_});
      batch_of(single).start();
      return;
    }
    ++in_bursts_;
    if (pages_.empty() || !pages_.back()->room_for(sizeof(test_call)))
      pages_.push_back(make_ref<test_page>());
    auto& page = *pages_.back();
    auto& call = *::new (page.room_for(sizeof(test_call)))
                     test_call{[body = std::move(body)] {
                       body();
                       return run_result::value;
                     }};
    if (!page.append(call, sizeof(test_call)))
      home_.open_burst(page);
  }

  /// Blocks until all have run.
  void wait() {
    for (auto ran = ran_.load(); ran < added_; ran = ran_.load())
      ran_.wait(ran);
  }

  std::size_t in_bursts() const { return in_bursts_; }

private:
  troupe::dispatcher& home_;
  std::vector<ref_ptr<test_page>> pages_;
  std::size_t added_ = 0;
  std::size_t in_bursts_ = 0;
  std::atomic<std::size_t> ran_{0};
};

} // namespace

TEST_CASE("calls of several threads run once each, in bursts or not",
          "[burst]") {
  constexpr auto calls = 20'000;
  auto workers = GENERATE(1u, 3u);
  std::vector<std::atomic<int>> runs(2 * calls);
  thread_crew crew{workers};
  std::atomic<std::size_t> in_bursts{0};
  {
    std::vector<std::thread> askers;
    for (auto part = 0; part < 2; ++part)
      askers.emplace_back([&, part] {
        adder mine{crew.home()};
        for (auto i = 0; i < calls; ++i)
          mine.add([&run = runs[static_cast<std::size_t>(part * calls + i)]] {
            ++run;
          });
        mine.wait();
        in_bursts += mine.in_bursts();
      });
    for (auto& one : askers)
      one.join();
  }
  CHECK(std::all_of(runs.begin(), runs.end(),
                    [](const auto& n) { return n == 1; }));
  crew.wait_until_idle();
  auto seen = crew.stats();
  CHECK(seen.succeeded == 2 * calls);
  CHECK(seen.queued == 0);
  CHECK(seen.submissions == 2 * calls);
  CHECK(crew.home().outstanding() == 0);
  WARN(workers << " workers: " << in_bursts << " of " << 2 * calls
               << " in bursts");
}

// Tiny ones before it and behind it, and then nothing more. Failure here is a
// hang.
TEST_CASE("a call that blocks in a burst holds up no other", "[burst]") {
  auto workers = GENERATE(2u, 4u);
  thread_crew crew{workers};
  test::gate others;
  test::open_at_exit open{others};
  std::atomic<std::size_t> ran{0};
  {
    adder mine{crew.home()};
    constexpr auto tiny = 2'000;
    auto add_tiny = [&](int n) {
      for (auto i = 0; i < n; ++i)
        mine.add([&] {
          if (++ran == 2 * tiny)
            others.open();
        });
    };
    add_tiny(tiny);
    mine.add([&] { others.pass(); });
    add_tiny(tiny);
    mine.wait();
  }
  CHECK(ran == 4'000);
}
