// What the dispatcher does when workers fail it: calls that do not return,
// workers that end in the middle of one or cannot start, and batches that no
// list has, all of which a shutdown must find.

#include "troupe/dispatcher.hpp"

#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "captured_log.hpp"
#include "gate.hpp"
#include "manual_clock.hpp"
#include "scripted_crew.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
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
using troupe::stuck_request;

namespace {

auto numbers(std::uint32_t n) {
  return std::views::iota(0u, n);
}

/// Options of `n` idle workers whose calls may run for ten seconds.
troupe::effective_options guarded(std::size_t n, std::size_t spares,
                                  const test::manual_time& time) {
  auto result = scripted_crew::idle_workers(n);
  result.max_run_time = 10s;
  result.max_spares = spares;
  result.clock = time.clock;
  return result;
}

std::vector<stuck_request> watch(scripted_crew& crew) {
  std::vector<stuck_request> result;
  crew.home().watch(result);
  return result;
}

/// Hands a batch of one call to an idle worker, which takes it up and has not
/// returned yet.
troupe::worker_cell::hand_off begin(scripted_crew& crew,
                                    const troupe::batch_ref& made,
                                    troupe::worker_cell*& cell) {
  crew.submit(made);
  cell = crew.take_woken().at(0);
  auto found = cell->take();
  crew.home().take_up(*cell, *found.work);
  return found;
}

/// A batch whose calls are claimed and never heard of again.
class vanishing : public troupe::batch {
public:
  explicit vanishing(std::uint32_t size) : troupe::batch{size} {}

  leave_reason participate(troupe::worker_cell& cell,
                           bool nested) noexcept override {
    share mine{*this, cell, nested};
    troupe::index_range claimed;
    mine.claim(claimed);
    return leave_reason::yielded;
  }

  troupe::run_result run_in_place(troupe::batch&,
                                  troupe::worker_cell&) noexcept override {
    return troupe::run_result::failed;
  }

private:
  void destroy_input() noexcept override {}
};

} // namespace

// -- stuck requests -----------------------------------------------------------

TEST_CASE("a call that runs for max-run-time raises one alarm, just then",
          "[stuck]") {
  test::manual_time time;
  scripted_crew crew{guarded(1, 1, time)};
  auto made = make_batch([] {});
  made.label("slow");
  troupe::worker_cell* cell = nullptr;
  auto found = begin(crew, made.ref(), cell);
  time.clock->advance(10s - 1ms);
  std::vector<stuck_request> alarms;
  // It says when to look next: when the call would be stuck.
  CHECK(crew.home().watch(alarms) == time.clock->now() + 1ms);
  CHECK(alarms.empty());
  CHECK(crew.home().stats().stuck == 0);
  time.clock->advance(1ms);
  alarms = watch(crew);
  REQUIRE(alarms.size() == 1);
  CHECK(alarms[0].pool == "test");
  CHECK(alarms[0].label == "slow");
  CHECK(alarms[0].worker == 1);
  CHECK(alarms[0].running == 10s);
  CHECK(alarms[0].stuck == 1);
  CHECK(alarms[0].spares_left == 0);
  CHECK_FALSE(alarms[0].exhausted);
  CHECK(crew.home().stats().stuck == 1);
  time.clock->advance(1h);
  CHECK(watch(crew).empty());
  CHECK_FALSE(crew.run_all(*cell, found));
  CHECK(crew.home().stats().stuck == 0);
  // Nobody is busy, so nobody needs to look.
  CHECK(crew.home().watch(alarms) == troupe::clock::time_point::max());
}

// The claim made it look as if the worker had gone on to another call, and the
// alarm came late or never.
TEST_CASE("a call that was looked at before it was claimed is no later one",
          "[stuck]") {
  test::manual_time time;
  scripted_crew crew{guarded(1, 0, time)};
  std::size_t alarms = 0;
  auto made = make_batch([&] {
    time.clock->advance(10s);
    alarms = watch(crew).size();
  });
  troupe::worker_cell* cell = nullptr;
  auto found = begin(crew, made.ref(), cell);
  CHECK(watch(crew).empty());
  crew.run_all(*cell, found);
  CHECK(alarms == 1);
}

TEST_CASE("a worker that gets on is not stuck, however long its batch takes",
          "[stuck]") {
  test::manual_time time;
  scripted_crew crew{guarded(1, 1, time)};
  std::size_t alarms = 0;
  // Many enough to be claimed several at a time: then no claim tells how far
  // the worker is.
  auto made = make_map_batch(numbers(5'000), [&](unsigned) {
    time.clock->advance(6s);
    alarms += watch(crew).size();
  });
  troupe::worker_cell* cell = nullptr;
  auto found = begin(crew, made.ref(), cell);
  crew.run_all(*cell, found);
  CHECK(batch_of(made).done());
  CHECK(alarms == 0);
}

TEST_CASE("one slow call of a batch is noticed, and that it returned",
          "[stuck]") {
  test::manual_time time;
  scripted_crew crew{guarded(1, 1, time)};
  std::vector<std::size_t> stuck;
  auto made = make_map_batch(numbers(1'000), [&](unsigned i) {
    // Seen for the first time: nobody knows since when it runs.
    CHECK(watch(crew).empty());
    if (i == 700) {
      time.clock->advance(10s);
      CHECK(watch(crew).size() == 1);
    }
    if (i == 700 || i == 701)
      stuck.push_back(crew.home().stats().stuck);
  });
  troupe::worker_cell* cell = nullptr;
  auto found = begin(crew, made.ref(), cell);
  crew.run_all(*cell, found);
  CHECK(stuck == std::vector<std::size_t>{1, 0});
}

TEST_CASE("a spare stands in for a stuck worker, and retires when that is back",
          "[stuck]") {
  test::manual_time time;
  scripted_crew crew{guarded(1, 1, time)};
  test::captured_log log;
  auto slow = make_batch([] {});
  auto next = make_batch([] {});
  troupe::worker_cell* stuck = nullptr;
  auto found = begin(crew, slow.ref(), stuck);
  crew.submit(next.ref());
  CHECK(crew.hire().empty());
  time.clock->advance(10s);
  CHECK(watch(crew).size() == 1);
  CHECK(crew.script().growths == 1);
  auto spares = crew.hire();
  REQUIRE(spares.size() == 1);
  CHECK(crew.home().stats().spares == 1);
  CHECK_FALSE(crew.run_all(*spares[0], crew.next(*spares[0])));
  CHECK(batch_of(next).done());
  // The spare is idle by now; whoever is left over goes.
  CHECK_FALSE(crew.run_all(*stuck, found));
  CHECK(batch_of(slow).done());
  CHECK(spares[0]->take().retire);
  CHECK(crew.home().stats().workers == 1);
  CHECK(crew.home().stats().spares == 0);
  CHECK(log.texts()
        == std::vector<std::string>{"worker test-1 is back: its call '' has "
                                    "returned after 10s"});
}

TEST_CASE("a pool whose workers are all stuck tells new callers", "[stuck]") {
  test::manual_time time;
  scripted_crew crew{guarded(1, 1, time)};
  troupe::worker_cell* first = nullptr;
  auto a = make_batch([] {});
  a.label("mount");
  auto busy = begin(crew, a.ref(), first);
  auto b = make_batch([] {});
  crew.submit(b.ref());
  time.clock->advance(10s);
  CHECK_FALSE(watch(crew).at(0).exhausted);
  auto spare = crew.hire().at(0);
  auto busy_too = crew.next(*spare);
  REQUIRE(busy_too.work);
  time.clock->advance(10s);
  auto alarms = watch(crew);
  REQUIRE(alarms.size() == 1);
  CHECK(alarms[0].exhausted);
  CHECK(alarms[0].stuck == 2);
  auto late = make_batch([] {});
  crew.submit(late.ref());
  auto err = failure_in([&] { late.result(); });
  REQUIRE(err);
  CHECK(err->code() == ec::pool_stuck);
  CHECK_FALSE(err->started());
  CHECK(std::string{err->what()}
        == "all 2 workers of the pool 'test' are stuck, 'mount' on worker "
           "test-1 for 20s, and no spare is left (troupe.max-spares = 1); wait "
           "for one to return, or raise troupe.workers");
  // One that returns ends it.
  crew.run_all(*first, busy);
  auto again = make_batch([] {});
  crew.submit(again.ref());
  CHECK_FALSE(batch_of(again).done());
  crew.run_all(*spare, busy_too);
}

TEST_CASE("without max-run-time nobody is asked to look at busy workers",
          "[stuck]") {
  test::manual_time time;
  auto options = guarded(1, 1, time);
  options.max_run_time = 0s;
  scripted_crew crew{options};
  auto made = make_batch([] {});
  troupe::worker_cell* cell = nullptr;
  auto found = begin(crew, made.ref(), cell);
  CHECK(crew.script().watches == 0);
  crew.run_all(*cell, found);
  scripted_crew other{guarded(1, 1, time)};
  auto first = make_batch([] {});
  auto second = make_batch([] {});
  found = begin(other, first.ref(), cell);
  other.run_all(*cell, found);
  found = begin(other, second.ref(), cell);
  // Once, until nobody is busy any more when it is looked.
  CHECK(other.script().watches == 1);
  other.run_all(*cell, found);
  watch(other);
  auto third = make_batch([] {});
  found = begin(other, third.ref(), cell);
  CHECK(other.script().watches == 2);
  other.run_all(*cell, found);
}

// -- workers that end ---------------------------------------------------------

TEST_CASE("a call whose worker ends in it fails with worker_lost", "[heal]") {
  scripted_crew crew{scripted_crew::idle_workers(1)};
  test::captured_log log;
  auto lost = troupe::make_ref<vanishing>(1);
  lost->set_label("copy");
  troupe::worker_cell* cell = nullptr;
  auto found = begin(crew, troupe::batch_ref{lost}, cell);
  crew.run(*cell, found);
  CHECK_FALSE(lost->done());
  crew.home().lost(*cell);
  REQUIRE(lost->done());
  REQUIRE(lost->failed());
  CHECK(lost->failed()->code == ec::worker_lost);
  CHECK(lost->failed()->started);
  CHECK(lost->failed()->worker == 1);
  CHECK(lost->failed()->text
        == "worker test-1 ended while it ran the call (request 'copy')");
  // The minimum of workers is to be there again.
  CHECK(crew.script().growths == 1);
  CHECK(crew.home().stats().workers_lost == 1);
  CHECK(crew.home().stats().failed == 1);
  CHECK(log.texts()
        == std::vector<std::string>{"worker test-1 has ended without being "
                                    "told to; another one takes its place"});
  CHECK(crew.hire().size() == 1);
}

TEST_CASE("what is lost of a larger batch shows when its last worker leaves",
          "[heal]") {
  scripted_crew crew{scripted_crew::idle_workers(2)};
  test::captured_log log;
  auto lost = troupe::make_ref<vanishing>(2);
  troupe::worker_cell* cell = nullptr;
  auto found = begin(crew, troupe::batch_ref{lost}, cell);
  auto other = crew.take_woken().at(0);
  auto also = other->take();
  REQUIRE(also.work.get() == lost.get());
  crew.home().take_up(*other, *also.work);
  crew.run(*cell, found);
  crew.run(*other, also);
  crew.home().lost(*cell);
  CHECK_FALSE(lost->done());
  crew.next(*other, also, leave_reason::exhausted);
  REQUIRE(lost->done());
  CHECK(lost->failed()->code == ec::worker_lost);
  CHECK(lost->summary().failed == 2);
}

TEST_CASE("what was handed to a worker that ends goes to another one",
          "[heal]") {
  scripted_crew crew{scripted_crew::idle_workers(2)};
  test::captured_log log;
  auto made = make_batch([] { return 7; });
  crew.submit(made.ref());
  auto first = crew.take_woken().at(0);
  crew.home().lost(*first);
  auto second = crew.take_woken().at(0);
  REQUIRE(second != first);
  crew.run_all(*second, second->take());
  CHECK(made.result() == 7);
}

TEST_CASE("a worker that ends after it took up a batch leaves it to others",
          "[heal]") {
  scripted_crew crew{scripted_crew::idle_workers(2)};
  test::captured_log log;
  auto made = make_map_batch(numbers(10), [](unsigned i) { return i; });
  troupe::worker_cell* cell = nullptr;
  auto found = begin(crew, made.ref(), cell);
  auto second = crew.take_woken().at(0);
  // As if our own code had thrown between the two: nothing is claimed.
  crew.home().lost(*cell, std::move(found.work));
  crew.run_all(*second, second->take());
  CHECK(made.result().size() == 10);
}

// -- workers that cannot start ------------------------------------------------

TEST_CASE("a pool that cannot start any worker fails what waits, says why, and "
          "tries again",
          "[heal]") {
  test::manual_time time;
  auto options = scripted_crew::idle_workers(0);
  options.workers = 2;
  options.clock = time.clock;
  scripted_crew crew{options};
  test::captured_log log;
  auto first = make_batch([] {});
  crew.submit(first.ref());
  auto second = make_batch([] {});
  crew.submit(second.ref());
  auto hired = crew.hire();
  REQUIRE(hired.size() == 2);
  crew.home().start_failed(*hired[0], "no licence");
  crew.home().lost(*hired[0]);
  // The other one may be lucky.
  CHECK_FALSE(batch_of(first).done());
  crew.home().start_failed(*hired[1], "no licence");
  crew.home().lost(*hired[1]);
  for (auto made : {&first, &second}) {
    auto err = failure_in([&] { made->result(); });
    REQUIRE(err);
    CHECK(err->code() == ec::resource_unavailable);
    CHECK_FALSE(err->started());
    CHECK(std::string{err->what()}
          == "the pool 'test' has no worker: no licence");
  }
  auto refused = make_batch([] {});
  crew.submit(refused.ref());
  CHECK(failure_in([&] { refused.result(); })->code()
        == ec::resource_unavailable);
  CHECK(log.texts()
        == std::vector<std::string>{
            "worker test-1 takes no request: no licence",
            "worker test-2 takes no request: no licence"});
  CHECK(crew.home().stats().failed_starts == 2);
  CHECK(crew.home().stats().workers_lost == 0);
  CHECK(crew.home().stats().workers == 0);
  time.clock->advance(10s);
  auto welcome = make_batch([] {});
  crew.submit(welcome.ref());
  hired = crew.hire();
  REQUIRE(hired.size() == 1);
  crew.run_all(*hired[0], crew.next(*hired[0]));
  CHECK(batch_of(welcome).done());
  CHECK(crew.home().stats().missing == 0);
}

// -- what a shutdown finds ----------------------------------------------------

TEST_CASE("a batch that only a waiting worker runs is found by a shutdown",
          "[shutdown]") {
  test::gate inner;
  thread_crew crew{1};
  test::open_at_exit release{inner};
  troupe::batch* seen = nullptr;
  std::atomic<bool> hooked{false};
  auto outer = make_batch([&] {
    auto made = make_batch([&](troupe::context& ctx) {
      auto hook = ctx.on_cancel([&] { hooked = true; });
      inner.pass();
    });
    made.label("inner");
    seen = &batch_of(made);
    crew.submit(batch_of(made));
    batch_of(made).wait();
  });
  outer.label("outer");
  crew.start(outer);
  inner.wait_for_arrivals();
  crew.home().close();
  crew.home().cancel_all(ec::pool_stopped);
  CHECK(hooked);
  auto what = crew.home().write_receipt({});
  REQUIRE(what.still_running.size() == 2);
  CHECK(what.still_running[0].label == "outer");
  CHECK(what.still_running[1].label == "inner");
  CHECK(what.still_running[1].worker == 1);
  CHECK(what.drained == 0);
  CHECK(what.cancelled == 0);
  inner.open();
  get(outer);
}

TEST_CASE("a request that waits for its next attempt is found by a shutdown",
          "[shutdown]") {
  test::manual_time time;
  auto options = thread_crew::options_for(1);
  options.clock = time.clock;
  thread_crew crew{options};
  auto made = make_batch([] { throw std::runtime_error{"not yet"}; });
  troupe::modifiers mods;
  mods.retry = std::make_shared<const troupe::retry_policy>(
      troupe::retry_policy{.attempts = 5, .backoff = 1s, .jitter = 0});
  batch_of(made).modify(mods);
  crew.start(made);
  crew.wait_until_idle();
  CHECK_FALSE(batch_of(made).done());
  crew.home().close();
  crew.home().cancel_all(ec::pool_stopped);
  CHECK(failure_in([&] { get(made); })->code() == ec::pool_stopped);
  auto what = crew.home().write_receipt({});
  // It ran once, and will not again.
  CHECK(what.drained == 1);
  CHECK(what.still_running.empty());
}
