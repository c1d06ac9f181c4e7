// Who gets which batch, and when: order and fairness, refusals, idle workers,
// growth, and the numbers about all of it.

#include "troupe/dispatcher.hpp"

#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "manual_clock.hpp"
#include "scripted_crew.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <functional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::batch_of;
using test::failure_in;
using test::get;
using test::scripted_crew;
using test::thread_crew;
using troupe::ec;
using troupe::leave_reason;
using troupe::make_batch;
using troupe::make_map_batch;

namespace {

auto numbers(std::uint32_t n) {
  return std::views::iota(0u, n);
}

troupe::effective_options rejecting(std::size_t workers,
                                    std::size_t max_queued) {
  auto result = thread_crew::options_for(workers);
  result.max_queued = max_queued;
  result.on_full = troupe::on_full::reject;
  return result;
}

/// Submits, from within a request, a request that waits for a request ...
int nest(thread_crew& crew, int depth) {
  if (depth == 0)
    return 0;
  return 1 + get(crew.start(make_batch([&crew, depth] {
           return nest(crew, depth - 1);
         })));
}

} // namespace

// -- fairness -----------------------------------------------------------------

TEST_CASE("a single behind a million starts as soon as a running request "
          "returns",
          "[dispatcher]") {
  // At the start requests are claimed one by one, later many at a time.
  auto at = GENERATE(0u, 1u, 50'000u);
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  std::atomic<unsigned> returned{0};
  auto many = crew.start(make_map_batch(numbers(1'000'000), [&](unsigned i) {
    if (i == at)
      busy.pass();
    ++returned;
  }));
  busy.wait_for_arrivals();
  auto single = crew.start(make_batch([&] { return returned.load(); }));
  busy.open();
  CHECK(get(single) == at + 1);
  get(many);
  CHECK(returned == 1'000'000);
}

TEST_CASE("as many singles as there are workers start at once",
          "[dispatcher]") {
  test::gate busy;
  test::gate all_here;
  thread_crew crew{3};
  test::open_at_exit release{busy};
  auto many = crew.start(make_map_batch(numbers(300), [&](unsigned i) {
    if (i < 3)
      busy.pass();
  }));
  busy.wait_for_arrivals(3);
  // Each of them waits for all of them: failure here is a hang.
  test::open_at_exit release_all{all_here};
  std::vector<troupe::typed_batch<void>> singles;
  for (int i = 0; i < 3; ++i)
    singles.push_back(crew.start(make_batch([&] { all_here.pass(); })));
  busy.open();
  all_here.wait_for_arrivals(3);
  all_here.open();
  get(many);
}

// The first map is interrupted by the second one, and nobody is left on it. It
// must not stand in the way of the single then.
TEST_CASE("a single does not wait behind a map that was interrupted",
          "[dispatcher]") {
  test::gate in_first;
  test::gate in_second;
  thread_crew crew{1};
  test::open_at_exit release_first{in_first};
  test::open_at_exit release_second{in_second};
  std::atomic<unsigned> first_returned{0};
  std::atomic<unsigned> second_returned{0};
  auto first = crew.start(make_map_batch(numbers(100'000), [&](unsigned i) {
    if (i == 0)
      in_first.pass();
    ++first_returned;
  }));
  in_first.wait_for_arrivals();
  auto second = crew.start(make_map_batch(numbers(100'000), [&](unsigned i) {
    if (i == 0)
      in_second.pass();
    ++second_returned;
  }));
  in_first.open();
  in_second.wait_for_arrivals();
  auto single = crew.start(make_batch([&] {
    return std::pair{first_returned.load(), second_returned.load()};
  }));
  in_second.open();
  CHECK(get(single) == std::pair{1u, 1u});
  get(second);
  get(first);
  CHECK(first_returned == 100'000);
  CHECK(second_returned == 100'000);
}

TEST_CASE("a map that is interrupted again and again is finished later",
          "[dispatcher]") {
  auto workers = GENERATE(1u, 3u);
  thread_crew crew{workers};
  constexpr auto size = 50'000u;
  std::vector<std::atomic<std::uint8_t>> runs(size);
  auto many = crew.start(make_map_batch(numbers(size), [&](unsigned i) {
    ++runs[i];
    return i;
  }));
  std::atomic<int> singles{0};
  for (int i = 0; i < 200; ++i)
    get(crew.start(make_batch([&] { ++singles; })));
  CHECK(get(many).size() == size);
  CHECK(singles == 200);
  auto wrong = 0;
  for (auto& x : runs)
    wrong += x != 1;
  CHECK(wrong == 0);
}

// The stream of singles never breaks off: before one returns, the next is in
// the queue. A pool that always prefers what waits would never finish the map.
TEST_CASE("a stream of singles does not starve a map, nor the map the singles",
          "[dispatcher]") {
  constexpr auto size = 500u;
  constexpr auto limit = 100'000u;
  test::gate begin;
  test::gate last;
  thread_crew crew{1};
  test::open_at_exit release{begin};
  auto many = make_map_batch(numbers(size), [&](unsigned i) {
    if (i == 0)
      begin.pass();
  });
  crew.start(many);
  begin.wait_for_arrivals();
  unsigned singles = 0;
  std::function<void()> link = [&] {
    if (++singles < limit && !batch_of(many).done())
      crew.start(make_batch(link));
    else
      last.touch();
  };
  crew.start(make_batch(link));
  begin.open();
  get(many);
  last.wait_for_arrivals();
  CHECK(singles >= size - 2);
  CHECK(singles < limit);
}

TEST_CASE("a stream of singles does not starve two maps", "[dispatcher]") {
  constexpr auto limit = 100'000u;
  test::gate begin;
  test::gate last;
  thread_crew crew{1};
  test::open_at_exit release{begin};
  auto first = make_map_batch(numbers(300), [&](unsigned i) {
    if (i == 0)
      begin.pass();
  });
  auto second = make_map_batch(numbers(300), [](unsigned) {});
  crew.start(first);
  begin.wait_for_arrivals();
  crew.start(second);
  unsigned singles = 0;
  std::function<void()> link = [&] {
    auto over = batch_of(first).done() && batch_of(second).done();
    if (++singles < limit && !over)
      crew.start(make_batch(link));
    else
      last.touch();
  };
  crew.start(make_batch(link));
  begin.open();
  last.wait_for_arrivals();
  CHECK(singles < limit);
  get(first);
  get(second);
}

TEST_CASE("batches that wait are taken in the order of their arrival",
          "[dispatcher]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  crew.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  std::vector<int> order;
  std::vector<troupe::typed_batch<void>> all;
  for (int i = 0; i < 5; ++i)
    all.push_back(crew.start(make_batch([&order, i] { order.push_back(i); })));
  busy.open();
  for (auto& x : all)
    get(x);
  CHECK(order == std::vector{0, 1, 2, 3, 4});
}

// -- refusals -----------------------------------------------------------------

TEST_CASE("a pool that has stopped refuses, and names itself", "[dispatcher]") {
  thread_crew crew{1};
  auto closed = GENERATE(false, true);
  if (closed)
    crew.home().close();
  else
    crew.home().close_admission();
  auto ran = false;
  auto made = crew.start(make_batch([&] { ran = true; }));
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::pool_stopped);
  CHECK_FALSE(err->started());
  CHECK(err->what()
        == std::string{"the pool 'test' has stopped; it takes no more "
                       "requests"});
  CHECK_FALSE(ran);
  CHECK(crew.stats().refused == 1);
  CHECK(crew.home().outstanding() == 0);
  CHECK_FALSE(crew.home().accepts());
}

TEST_CASE("a full queue refuses, and says how many wait", "[dispatcher]") {
  test::gate busy;
  thread_crew crew{rejecting(1, 2)};
  test::open_at_exit release{busy};
  auto first = crew.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  CHECK(crew.home().accepts());
  std::vector<troupe::typed_batch<void>> queued;
  for (int i = 0; i < 2; ++i)
    queued.push_back(crew.start(make_batch([] {})));
  CHECK_FALSE(crew.home().accepts());
  auto refused = crew.start(make_map_batch(numbers(10), [](unsigned) {}));
  auto err = failure_in([&] { get(refused); });
  REQUIRE(err);
  CHECK(err->code() == ec::queue_full);
  CHECK_FALSE(err->started());
  CHECK(err->what()
        == std::string{"the queue of the pool 'test' is full: 2 submissions "
                       "wait; raise troupe.max-queued, or set "
                       "troupe.on-full=wait"});
  CHECK(crew.stats().refused == 1);
  busy.open();
  for (auto& x : queued)
    get(x);
  CHECK(crew.home().accepts());
  get(crew.start(make_batch([] {})));
}

TEST_CASE("a full queue that waits takes everything", "[dispatcher]") {
  auto options = thread_crew::options_for(1);
  options.max_queued = 2;
  test::gate busy;
  thread_crew crew{options};
  test::open_at_exit release{busy};
  crew.start(make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  std::vector<troupe::typed_batch<void>> all;
  for (int i = 0; i < 5; ++i)
    all.push_back(crew.start(make_batch([] {})));
  CHECK(crew.stats().queued == 2);
  CHECK(crew.stats().waiting == 3);
  CHECK(crew.stats().refused == 0);
  busy.open();
  for (auto& x : all)
    get(x);
  CHECK(crew.stats().queued == 0);
}

TEST_CASE("what requests submit themselves is never refused for a full queue",
          "[dispatcher]") {
  test::gate busy;
  thread_crew crew{rejecting(1, 1)};
  test::open_at_exit release{busy};
  auto outer = crew.start(make_batch([&] {
    busy.pass();
    return get(crew.start(make_batch([] { return 7; })));
  }));
  busy.wait_for_arrivals();
  auto queued = crew.start(make_batch([] {}));
  REQUIRE_FALSE(crew.home().accepts());
  busy.open();
  CHECK(get(outer) == 7);
  get(queued);
}

TEST_CASE("what running requests submit is taken after the admission closed",
          "[dispatcher]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  auto outer = crew.start(make_batch([&] {
    busy.pass();
    return get(crew.start(make_batch([] { return 7; })));
  }));
  busy.wait_for_arrivals();
  crew.home().close_admission();
  busy.open();
  CHECK(get(outer) == 7);
}

// -- nested waits -------------------------------------------------------------

TEST_CASE("a request that waits for its own pool of one runs what it waits for",
          "[dispatcher]") {
  thread_crew crew{1};
  CHECK(nest(crew, 5) == 5);
  auto on_worker = get(crew.start(make_batch([&] { return nest(crew, 5); })));
  CHECK(on_worker == 5);
  auto sum = get(crew.start(make_batch([&] {
    auto all = get(crew.start(make_map_batch(
        numbers(200), [&](unsigned x) { return x + nest(crew, 1); })));
    auto total = 0u;
    for (auto x : all)
      total += x;
    return total;
  })));
  CHECK(sum == 20'100);
}

TEST_CASE("a nested request runs on the thread that waits for it",
          "[dispatcher]") {
  thread_crew crew{1};
  auto same = get(crew.start(make_batch([&] {
    auto here = std::this_thread::get_id();
    return here == get(crew.start(make_batch([] {
             return std::this_thread::get_id();
           })));
  })));
  CHECK(same);
}

TEST_CASE("a nested failure reaches the request that waits", "[dispatcher]") {
  thread_crew crew{1};
  auto caught = get(crew.start(make_batch([&]() -> std::string {
    try {
      get(crew.start(make_batch([] { throw std::runtime_error{"inner"}; })));
    } catch (const std::runtime_error& err) {
      return err.what();
    }
    return {};
  })));
  CHECK(caught == "inner");
  CHECK(crew.stats().failed == 1);
  CHECK(crew.stats().succeeded == 1);
}

TEST_CASE("all workers may wait for nested maps at the same time",
          "[dispatcher]") {
  thread_crew crew{3};
  auto all = get(crew.start(make_map_batch(numbers(30), [&](unsigned) {
    std::atomic<unsigned> sum{0};
    get(crew.start(
        make_map_batch(numbers(100), [&](unsigned x) { sum += x; })));
    return sum.load();
  })));
  CHECK(all == std::vector<unsigned>(30, 4'950));
}

// -- idle workers -------------------------------------------------------------

TEST_CASE("a batch that finds an idle worker goes to it and not to the queue",
          "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(2)};
  CHECK(crew.home().stats().idle == 2);
  auto made = make_batch([] {});
  crew.submit(made.ref());
  CHECK(crew.home().stats().queued == 0);
  CHECK(crew.home().stats().idle == 1);
  CHECK(crew.home().stats().busy == 1);
  auto woken = crew.take_woken();
  REQUIRE(woken.size() == 1);
  auto found = woken[0]->take();
  CHECK(found.work.get() == &batch_of(made));
  CHECK_FALSE(found.retire);
  CHECK_FALSE(crew.run_all(*woken[0], std::move(found)));
  CHECK(batch_of(made).done());
  CHECK(crew.home().stats().idle == 2);
}

TEST_CASE("a batch that finds no idle worker waits", "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(1)};
  auto first = make_batch([] {});
  auto second = make_batch([] {});
  crew.submit(first.ref());
  crew.submit(second.ref());
  CHECK(crew.home().stats().queued == 1);
  auto woken = crew.take_woken();
  REQUIRE(woken.size() == 1);
  crew.run_all(*woken[0], woken[0]->take());
  CHECK(batch_of(second).done());
  CHECK(crew.home().stats().queued == 0);
}

TEST_CASE("a worker that takes up a map wakes two more, and these two more",
          "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(8)};
  auto made = make_map_batch(numbers(100), [](unsigned) {});
  crew.submit(made.ref());
  auto first = crew.take_woken();
  REQUIRE(first.size() == 1);
  auto found = first[0]->take();
  crew.home().take_up(*first[0], *found.work);
  auto second = crew.take_woken();
  REQUIRE(second.size() == 2);
  std::vector<troupe::worker_cell::hand_off> taken;
  for (auto cell : second) {
    taken.push_back(cell->take());
    CHECK(taken.back().work.get() == &batch_of(made));
    crew.home().take_up(*cell, *taken.back().work);
  }
  CHECK(crew.take_woken().size() == 4);
  CHECK(crew.home().stats().idle == 1);
  crew.run_all(*first[0], std::move(found));
  CHECK(batch_of(made).done());
}

// Each wake-up costs more than a small request: who is on the way wakes the
// next ones, if they are needed by then.
TEST_CASE("few workers are on their way at a time, and each sees to the next",
          "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(8)};
  std::vector<troupe::typed_batch<void>> singles;
  for (int i = 0; i < 10; ++i) {
    singles.push_back(make_batch([] {}));
    crew.submit(singles.back().ref());
  }
  auto woken = crew.take_woken();
  CHECK(woken.size() == 2);
  CHECK(crew.home().stats().queued == 8);
  // One arrives and blocks in its request: another one is woken in its place.
  auto first = woken[0]->take();
  crew.home().take_up(*woken[0], *first.work);
  auto more = crew.take_woken();
  CHECK(more.size() == 1);
  CHECK(crew.home().stats().queued == 7);
  // The others find all that is left.
  crew.run_all(*woken[1], woken[1]->take());
  for (auto next = crew.take_woken(); !next.empty(); next = crew.take_woken())
    for (auto cell : next)
      crew.run_all(*cell, cell->take());
  for (auto cell : more)
    crew.run_all(*cell, cell->take());
  crew.run(*woken[0], first);
  CHECK(crew.home().stats().queued == 0);
  for (auto& x : singles)
    CHECK(batch_of(x).done());
}

TEST_CASE("nobody is woken for what is claimed already", "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(4)};
  auto made = make_map_batch(numbers(10), [](unsigned) {});
  crew.submit(made.ref());
  auto woken = crew.take_woken();
  REQUIRE(woken.size() == 1);
  auto found = woken[0]->take();
  crew.run(*woken[0], found);
  crew.home().take_up(*woken[0], *found.work);
  CHECK(crew.take_woken().empty());
  crew.next(*woken[0], found, leave_reason::exhausted);
}

TEST_CASE("a worker that stays awake needs no wake-up", "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(1)};
  crew.submit(make_batch([] {}).ref());
  auto woken = crew.take_woken();
  REQUIRE(woken.size() == 1);
  auto& cell = *woken[0];
  // The first time it was woken, so it was asleep; from now on it is not.
  cell.stay_awake(true);
  crew.run_all(cell, cell.take());
  crew.submit(make_batch([] {}).ref());
  CHECK(crew.take_woken().empty());
  auto found = cell.look_again(1h);
  CHECK(found.work);
  cell.stay_awake(false);
  crew.run_all(cell, std::move(found));
}

TEST_CASE("a worker that has looked in vain is woken again", "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(1)};
  crew.submit(make_batch([] {}).ref());
  auto& cell = *crew.take_woken().front();
  cell.stay_awake(true);
  crew.run_all(cell, cell.take());
  CHECK(!cell.look_again(0s).work);
  crew.submit(make_batch([] {}).ref());
  CHECK(crew.take_woken().size() == 1);
}

TEST_CASE("a worker that spins needs no wake-up", "[dispatcher]") {
  auto options = scripted_crew::idle_workers(1);
  options.spin = 1h;
  scripted_crew crew{options};
  auto made = make_batch([] {});
  crew.submit(made.ref());
  CHECK(crew.take_woken().empty());
}

TEST_CASE("workers that spin and sleep lose no hand-off", "[dispatcher]") {
  auto options = thread_crew::options_for(2);
  options.spin = GENERATE(0us, 1us, 50us);
  thread_crew crew{options};
  std::atomic<int> ran{0};
  // Failure here is a hang.
  for (int i = 0; i < 2'000; ++i)
    get(crew.start(make_batch([&] { ++ran; })));
  CHECK(ran == 2'000);
}

// -- growth -------------------------------------------------------------------

TEST_CASE("workers are started on demand, up to the maximum", "[dispatcher]") {
  test::gate busy;
  thread_crew crew{3};
  CHECK(crew.stats().workers == 0);
  get(crew.start(make_batch([] {})));
  CHECK(crew.stats().workers == 1);
  test::open_at_exit release{busy};
  auto made =
      crew.start(make_map_batch(numbers(10), [&](unsigned) { busy.pass(); }));
  busy.wait_for_arrivals(3);
  CHECK(crew.stats().workers == 3);
  CHECK(crew.stats().busy == 3);
  busy.open();
  get(made);
}

TEST_CASE("no more workers are asked for than there are requests",
          "[dispatcher]") {
  auto options = scripted_crew::idle_workers(0);
  options.workers = 8;
  scripted_crew crew{options};
  auto made = make_map_batch(numbers(3), [](unsigned) {});
  crew.submit(made.ref());
  CHECK(crew.script().growths == 1);
  auto hired = crew.hire();
  CHECK(hired.size() == 3);
  // Those on their way count.
  CHECK(crew.hire().empty());
  for (auto cell : hired)
    crew.run_all(*cell, crew.next(*cell));
  CHECK(batch_of(made).done());
}

TEST_CASE("workers that could not be started are asked for again, later each "
          "time",
          "[dispatcher]") {
  test::manual_time time;
  auto options = scripted_crew::idle_workers(0);
  options.workers = 2;
  options.clock = time.clock;
  scripted_crew crew{options};
  auto first = make_batch([] {});
  crew.submit(first.ref());
  REQUIRE(crew.home().take_growth() == 1);
  CHECK(crew.home().cancel_growth(1));
  CHECK(crew.home().stats().workers == 0);
  CHECK(crew.home().stats().missing == 1);
  auto second = make_batch([] {});
  crew.submit(second.ref());
  // Until then it does not help to ask.
  CHECK(crew.script().growths == 1);
  CHECK(crew.home().take_growth() == 0);
  time.clock->advance(99ms);
  CHECK(crew.script().growths == 1);
  time.clock->advance(1ms);
  CHECK(crew.script().growths == 2);
  REQUIRE(crew.home().take_growth() == 2);
  // Only the first of a row is worth a line in the log.
  CHECK_FALSE(crew.home().cancel_growth(2));
  CHECK(crew.home().stats().missing == 2);
  CHECK(crew.home().stats().threads_refused == 2);
  time.clock->advance(199ms);
  CHECK(crew.script().growths == 2);
  time.clock->advance(1ms);
  CHECK(crew.script().growths == 3);
  auto hired = crew.hire();
  REQUIRE(hired.size() == 2);
  crew.run_all(*hired[0], crew.next(*hired[0]));
  CHECK(batch_of(first).done());
  CHECK(batch_of(second).done());
}

TEST_CASE("the minimum of workers is there before there is work",
          "[dispatcher]") {
  auto options = scripted_crew::idle_workers(0);
  options.workers = 8;
  options.min_workers = 3;
  scripted_crew crew{options};
  CHECK(crew.home().stats().workers == 3);
  CHECK(crew.home().stats().idle == 3);
}

TEST_CASE("a smaller pool retires idle workers at once", "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(4)};
  crew.home().resize(1);
  CHECK(crew.home().stats().workers == 1);
  CHECK(crew.home().options().workers == 1);
  auto woken = crew.take_woken();
  REQUIRE(woken.size() == 3);
  for (auto cell : woken)
    CHECK(cell->take().retire);
}

TEST_CASE("a smaller pool retires busy workers when they return",
          "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(2)};
  auto first = make_batch([] {});
  auto second = make_batch([] {});
  crew.submit(first.ref());
  crew.submit(second.ref());
  auto woken = crew.take_woken();
  REQUIRE(woken.size() == 2);
  crew.home().resize(1);
  CHECK(crew.home().stats().workers == 2);
  CHECK(crew.run_all(*woken[0], woken[0]->take()));
  CHECK(crew.home().stats().workers == 1);
  CHECK_FALSE(crew.run_all(*woken[1], woken[1]->take()));
  CHECK(crew.home().stats().workers == 1);
  CHECK(crew.home().stats().idle == 1);
}

TEST_CASE("a larger pool takes more workers for what waits", "[dispatcher]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  auto made =
      crew.start(make_map_batch(numbers(10), [&](unsigned) { busy.pass(); }));
  busy.wait_for_arrivals(1);
  crew.home().resize(4);
  busy.wait_for_arrivals(4);
  CHECK(crew.stats().workers == 4);
  busy.open();
  get(made);
}

// A worker that was called away to serve what waits retires instead: the call
// must go to another one, or the single waits for the whole map.
TEST_CASE("a single is served although the worker called for it retires",
          "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(2)};
  auto many = make_map_batch(numbers(100), [](unsigned) {});
  crew.submit(many.ref());
  auto woken = crew.take_woken();
  auto& first = *woken.at(0);
  auto first_part = first.take();
  crew.home().take_up(first, *first_part.work);
  woken = crew.take_woken();
  auto& second = *woken.at(0);
  auto second_part = second.take();
  auto single = make_batch([] {});
  crew.submit(single.ref());
  REQUIRE(crew.run(first, first_part) == leave_reason::yielded);
  crew.home().resize(1);
  CHECK(crew.next(first, first_part, leave_reason::yielded).retire);
  CHECK(crew.run(second, second_part) == leave_reason::yielded);
  auto next = crew.next(second, second_part, leave_reason::yielded);
  CHECK(next.work.get() == &batch_of(single));
  crew.run_all(second, std::move(next));
  CHECK(batch_of(many).done());
}

TEST_CASE("a worker that is idle for too long retires, down to the minimum",
          "[dispatcher]") {
  auto time = std::make_shared<test::manual_clock>();
  auto options = scripted_crew::idle_workers(3);
  options.idle_timeout = 10s;
  options.clock = time;
  options.min_workers = 3;
  scripted_crew crew{options};
  SECTION("at the minimum nobody goes") {
    time->advance(1h);
    CHECK(crew.home().retire_idle(time->now())
          == troupe::clock::time_point::max());
    CHECK(crew.take_woken().empty());
  }
}

TEST_CASE("workers retire when they have been idle long enough, not before",
          "[dispatcher]") {
  auto time = std::make_shared<test::manual_clock>();
  auto options = scripted_crew::idle_workers(0);
  options.workers = 4;
  options.min_workers = 1;
  options.idle_timeout = 10s;
  options.clock = time;
  scripted_crew crew{options};
  auto made = make_map_batch(numbers(3), [](unsigned) {});
  crew.submit(made.ref());
  auto woken = crew.take_woken();
  auto hired = crew.hire();
  REQUIRE(woken.size() + hired.size() >= 3);
  for (auto cell : hired)
    crew.run_all(*cell, crew.next(*cell));
  time->advance(4s);
  crew.run_all(*woken.at(0), woken.at(0)->take());
  auto all = crew.home().stats().workers;
  REQUIRE(crew.home().stats().idle == all);
  // The hired ones have been idle since 4 s.
  time->advance(5s);
  auto again = crew.home().retire_idle(time->now());
  CHECK(crew.home().stats().workers == all);
  CHECK(again == time->now() + 1s);
  time->advance(1s);
  again = crew.home().retire_idle(time->now());
  CHECK(crew.home().stats().workers == 1);
  CHECK(again == troupe::clock::time_point::max());
  for (auto cell : crew.take_woken())
    CHECK(cell->take().retire);
}

TEST_CASE("a pool whose workers have all retired takes new ones",
          "[dispatcher]") {
  auto time = std::make_shared<test::manual_clock>();
  auto options = thread_crew::options_for(2);
  options.idle_timeout = 10s;
  options.clock = time;
  thread_crew crew{options};
  for (std::size_t round = 1; round <= 3; ++round) {
    get(crew.start(make_batch([] {})));
    crew.wait_until_idle();
    REQUIRE(crew.stats().workers == 1);
    time->advance(10s);
    crew.home().retire_idle(time->now());
    CHECK(crew.stats().workers == 0);
    crew.wait_for_ended(round);
  }
  // The number of a worker that has ended is given out again.
  CHECK(get(crew.start(
            make_batch([](troupe::context& ctx) { return ctx.worker(); })))
        == 1);
}

// -- lost workers -------------------------------------------------------------

TEST_CASE("what was handed to a lost worker goes to an idle one",
          "[dispatcher]") {
  auto single = GENERATE(true, false);
  scripted_crew crew{scripted_crew::idle_workers(2)};
  auto ran = 0;
  auto one = make_batch([&] { ++ran; });
  auto many = make_map_batch(numbers(10), [&](unsigned) { ++ran; });
  auto ref = single ? one.ref() : many.ref();
  crew.submit(ref);
  auto woken = crew.take_woken();
  REQUIRE(woken.size() == 1);
  crew.home().lost(*woken[0]);
  CHECK(crew.home().stats().workers == 1);
  auto heirs = crew.take_woken();
  REQUIRE(heirs.size() == 1);
  CHECK(heirs[0] != woken[0]);
  crew.run_all(*heirs[0], heirs[0]->take());
  CHECK(ref.get()->done());
  CHECK(ran == (single ? 1 : 10));
}

TEST_CASE("what was handed to the last worker brings a new one",
          "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(1)};
  auto made = make_batch([](troupe::context& ctx) { return ctx.worker(); });
  crew.submit(made.ref());
  auto asked = crew.script().growths;
  crew.home().lost(*crew.take_woken().at(0));
  CHECK(crew.home().stats().workers == 0);
  CHECK(crew.script().growths == asked + 1);
  auto hired = crew.hire();
  REQUIRE(hired.size() == 1);
  crew.run_all(*hired[0], crew.next(*hired[0]));
  REQUIRE(batch_of(made).done());
  // Nobody uses the cell of the lost one any more.
  CHECK(made.result() == 1);
}

TEST_CASE("a lost worker that had nothing is only missed", "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(2)};
  auto made = make_batch([] {});
  crew.submit(made.ref());
  auto woken = crew.take_woken();
  crew.run_all(*woken.at(0), woken.at(0)->take());
  crew.home().lost(*woken[0]);
  CHECK(crew.home().stats().workers == 1);
  CHECK(crew.home().stats().idle == 1);
  auto next = make_batch([] {});
  crew.submit(next.ref());
  auto heirs = crew.take_woken();
  REQUIRE(heirs.size() == 1);
  CHECK(heirs[0] != woken[0]);
  crew.run_all(*heirs[0], heirs[0]->take());
  CHECK(batch_of(next).done());
}

// -- the end ------------------------------------------------------------------

TEST_CASE("a closed pool retires its workers", "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(3)};
  auto made = make_batch([] {});
  crew.submit(made.ref());
  auto busy = crew.take_woken().at(0);
  crew.home().close();
  auto woken = crew.take_woken();
  REQUIRE(woken.size() == 2);
  for (auto cell : woken)
    CHECK(cell->take().retire);
  CHECK(crew.run_all(*busy, busy->take()));
  CHECK(batch_of(made).done());
  CHECK(crew.home().stats().workers == 0);
}

// Else whoever waits for it would wait for ever.
TEST_CASE("what was admitted before a pool closed is not forgotten",
          "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(1)};
  auto first = make_batch([] {});
  auto second = make_batch([] {});
  auto many = make_map_batch(numbers(100), [](unsigned) {});
  crew.submit(first.ref());
  crew.submit(many.ref());
  crew.submit(second.ref());
  auto busy = crew.take_woken().at(0);
  crew.home().close();
  CHECK(crew.run_all(*busy, busy->take()));
  CHECK(batch_of(first).done());
  CHECK(batch_of(second).done());
  CHECK(batch_of(many).done());
}

TEST_CASE("a pool closes on request only if nothing is outstanding",
          "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(1)};
  auto made = make_batch([] {});
  crew.submit(made.ref());
  CHECK_FALSE(crew.home().close_if_drained());
  CHECK(crew.home().accepts());
  auto busy = crew.take_woken().at(0);
  crew.run_all(*busy, busy->take());
  CHECK(crew.home().close_if_drained());
  CHECK_FALSE(crew.home().accepts());
  CHECK(crew.take_woken().size() == 1);
}

TEST_CASE("the staff hears once that nothing is outstanding any more",
          "[dispatcher]") {
  scripted_crew crew{scripted_crew::idle_workers(1)};
  auto first = make_batch([] {});
  auto second = make_map_batch(numbers(100), [](unsigned) {});
  crew.submit(first.ref());
  crew.submit(second.ref());
  auto watched = GENERATE(true, false);
  crew.home().watch_outstanding(watched);
  CHECK(crew.home().outstanding() == 2);
  auto busy = crew.take_woken().at(0);
  auto found = busy->take();
  crew.run(*busy, found);
  CHECK(crew.home().outstanding() == 1);
  CHECK(crew.script().drained == 0);
  crew.run_all(*busy, crew.next(*busy, found, leave_reason::exhausted));
  CHECK(crew.home().outstanding() == 0);
  CHECK(crew.script().drained == (watched ? 1 : 0));
}

TEST_CASE("everything queued and left can be cancelled at once",
          "[dispatcher]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  auto running = crew.start(make_map_batch(numbers(10), [&](unsigned i) {
    if (i == 2)
      busy.pass();
  }));
  busy.wait_for_arrivals();
  auto waiting = crew.start(make_batch([] {}));
  crew.home().cancel_all(ec::pool_stopped);
  auto err = failure_in([&] { get(waiting); });
  REQUIRE(err);
  CHECK(err->code() == ec::pool_stopped);
  CHECK_FALSE(err->started());
  busy.open();
  err = failure_in([&] { get(running); });
  REQUIRE(err);
  CHECK(err->code() == ec::pool_stopped);
  CHECK(batch_of(running).summary().succeeded == 3);
  CHECK(batch_of(running).summary().cancelled == 7);
}

// -- numbers ------------------------------------------------------------------

TEST_CASE("a receipt has each request of an unfinished batch in one bucket",
          "[dispatcher]") {
  constexpr auto size = 10'000u;
  test::gate shut;
  thread_crew crew{2};
  test::open_at_exit release{shut};
  std::atomic<unsigned> returned{0};
  auto made = make_map_batch(numbers(size), [&](unsigned i) {
    if (i == 1'000 || i == 2'000)
      shut.pass();
    ++returned;
  });
  made.label("copy");
  crew.start(made);
  shut.wait_for_arrivals(2);
  crew.home().cancel_all(ec::pool_stopped);
  troupe::receipt what;
  crew.home().add_unfinished(what);
  CHECK(what.drained == returned);
  CHECK(what.cancelled == size - 2 - returned);
  REQUIRE(what.still_running.size() == 2);
  CHECK(what.still_running[0].label == "copy");
  CHECK(what.still_running[0].worker != what.still_running[1].worker);
  shut.open();
  CHECK(failure_in([&] { get(made); }));
}

TEST_CASE("a receipt of a pool without unfinished batches is empty",
          "[dispatcher]") {
  thread_crew crew{2};
  get(crew.start(make_map_batch(numbers(100), [](unsigned) {})));
  crew.wait_until_idle();
  troupe::receipt what;
  crew.home().add_unfinished(what);
  CHECK(what.drained == 0);
  CHECK(what.cancelled == 0);
  CHECK(what.still_running.empty());
}

TEST_CASE("the numbers of a pool add up", "[dispatcher]") {
  thread_crew crew{3};
  std::vector<troupe::typed_batch<void>> all;
  for (unsigned i = 0; i < 50; ++i) {
    all.push_back(crew.start(make_batch([] {})));
    all.push_back(crew.start(make_batch([] { throw 1; })));
    all.push_back(crew.start(make_map_batch(numbers(100), [i](unsigned x) {
      if (x == i && i % 5 == 0)
        throw 2;
    })));
    all.push_back(crew.start(make_map_batch(numbers(10), [](unsigned) {})));
    batch_of(all.back()).cancel(ec::cancelled);
  }
  troupe::completion sum;
  for (auto& x : all) {
    batch_of(x).wait();
    auto what = batch_of(x).summary();
    CHECK(what.succeeded + what.failed + what.cancelled == what.requests);
    sum.requests += what.requests;
    sum.succeeded += what.succeeded;
    sum.failed += what.failed;
    sum.cancelled += what.cancelled;
  }
  CHECK(sum.requests == 50 * (1 + 1 + 100 + 10));
  auto now = crew.stats();
  CHECK(now.batches == 200);
  CHECK(now.succeeded == sum.succeeded);
  CHECK(now.failed == sum.failed);
  CHECK(now.cancelled == sum.cancelled);
  CHECK(now.refused == 0);
  CHECK(now.queued == 0);
  crew.wait_until_idle();
  CHECK(crew.stats().busy == 0);
  CHECK(crew.stats().busy_time > 0ns);
}

TEST_CASE("subscribers hear of each batch once, others of none",
          "[dispatcher]") {
  thread_crew crew{2};
  get(crew.start(make_batch([] {})));
  crew.home().subscribe(true);
  auto made = make_map_batch(numbers(10), [](unsigned) {});
  made.label("copy");
  get(crew.start(made));
  CHECK_THROWS_AS(get(crew.start(make_batch([] { throw 1; }))), int);
  crew.home().subscribe(false);
  get(crew.start(make_batch([] {})));
  std::lock_guard guard{crew.log().mutex};
  auto& heard = crew.log().completions;
  REQUIRE(heard.size() == 2);
  CHECK(heard[0].label == "copy");
  CHECK(heard[0].requests == 10);
  CHECK(heard[0].succeeded == 10);
  CHECK(heard[1].failed == 1);
  CHECK(heard[0].id < heard[1].id);
}

// Submits, cancels, resizes and nested waits at the same time. Failure here is
// a hang, a wrong sum, or a report of a sanitizer.
TEST_CASE("a pool survives everything at once", "[dispatcher]") {
  thread_crew crew{3};
  std::atomic<std::uint64_t> ran{0};
  std::atomic<std::uint64_t> succeeded{0};
  std::atomic<bool> over{false};
  auto account = [&](troupe::batch& work) {
    work.wait();
    succeeded += work.summary().succeeded;
  };
  std::vector<std::thread> users;
  for (unsigned who = 0; who < 3; ++who)
    users.emplace_back([&, who] {
      for (unsigned i = 0; i < 100; ++i) {
        auto many = crew.start(
            make_map_batch(numbers(200 * (who + 1)), [&](unsigned) { ++ran; }));
        auto single = crew.start(make_batch([&] {
          ++ran;
          auto inner =
              crew.start(make_map_batch(numbers(70), [&](unsigned) { ++ran; }));
          account(batch_of(inner));
        }));
        if (i % 3 == 0)
          batch_of(many).cancel(ec::cancelled);
        account(batch_of(many));
        account(batch_of(single));
      }
    });
  std::thread resizer{[&] {
    for (std::size_t n = 1; !over; n = n % 5 + 1) {
      crew.home().resize(n);
      std::this_thread::yield();
    }
  }};
  for (auto& x : users)
    x.join();
  over = true;
  resizer.join();
  CHECK(ran == succeeded);
  CHECK(crew.stats().succeeded == succeeded);
  CHECK(crew.home().outstanding() == 0);
}

// A worker that was to look around before it sleeps retired instead, and left
// that to its successor in the same cell, which slept while its word said that
// it was awake. Failure here is a worker that nobody wakes.
TEST_CASE("a cell that serves a second worker is woken like the first",
          "[dispatcher]") {
  troupe::effective_options how;
  how.workers = 1;
  test::scripted_crew crew{how};
  auto ask = [&] {
    auto made = troupe::make_batch([] {});
    crew.submit(made.ref());
    return made;
  };
  ask();
  auto first = crew.hire().at(0);
  auto found = crew.next(*first);
  crew.run(*first, found);
  first->stay_awake(true);
  CHECK_FALSE(crew.next(*first, found, troupe::leave_reason::exhausted).work);
  crew.home().retire_idle(crew.home().time().now() + std::chrono::hours{1});
  CHECK(first->take().retire);
  crew.home().lost(*first);
  ask();
  auto second = crew.hire().at(0);
  REQUIRE(second == first);
  crew.run_all(*second, crew.next(*second));
  crew.take_woken();
  ask();
  CHECK(crew.take_woken() == std::vector{second});
  crew.run_all(*second, second->take());
}
