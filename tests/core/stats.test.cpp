// What a snapshot of a pool says about its requests, its queue and its workers,
// and the table that shows it.

#include "troupe/stats.hpp"

#include "troupe/advisor.hpp"
#include "troupe/format.hpp"
#include "troupe/group_batch.hpp"
#include "troupe/log.hpp"
#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <cstdio>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

using namespace std::chrono_literals;
using Catch::Contains;
using test::batch_of;
using test::get;
using test::thread_crew;
using troupe::label_stats;
using troupe::make_batch;
using troupe::make_map_batch;
using troupe::pool_stats;

namespace {

auto numbers(int n) {
  return std::views::iota(0, n);
}

const label_stats& of(const pool_stats& stats, std::string_view label) {
  for (const auto& x : stats.labels)
    if (x.label == label)
      return x;
  throw std::runtime_error{"no such label"};
}

template <class T>
troupe::typed_batch<T> labelled(troupe::typed_batch<T> made,
                                std::string label) {
  made.label(std::move(label));
  return made;
}

void compute(std::chrono::nanoseconds time) {
  auto until = troupe::thread_cpu_time() + time;
  while (troupe::thread_cpu_time() < until)
    continue;
}

} // namespace

// -- requests -----------------------------------------------------------------

TEST_CASE("a pool that has done nothing has empty statistics", "[stats]") {
  thread_crew crew{2};
  auto stats = crew.stats();
  CHECK(stats.name == "test");
  CHECK(stats.max_workers == 2);
  CHECK(stats.labels.empty());
  CHECK(stats.total().ran.count() == 0);
  CHECK(stats.arrived == 0);
  CHECK(stats.active == 0s);
  CHECK(stats.busy_60s == 0);
  CHECK(stats.oldest_queued == 0s);
  CHECK(stats.longest_running == 0s);
}

TEST_CASE("each request that ran is measured once, however many are claimed "
          "at once",
          "[stats]") {
  auto n = GENERATE(1, 2, 63, 1'000, 100'000);
  thread_crew crew{3};
  get(crew.start(make_map_batch(numbers(n), [](int) {})));
  auto stats = crew.stats();
  REQUIRE(stats.labels.size() == 1);
  CHECK(stats.labels[0].label.empty());
  CHECK(stats.labels[0].succeeded == static_cast<std::uint64_t>(n));
  CHECK(stats.labels[0].ran.count() == static_cast<std::uint64_t>(n));
  CHECK(stats.labels[0].waited.count() == static_cast<std::uint64_t>(n));
  CHECK(stats.arrived == static_cast<std::uint64_t>(n));
  CHECK(stats.submissions == 1);
  CHECK(stats.active > 0s);
}

TEST_CASE("requests count under their label, by what came of them", "[stats]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  get(crew.start(labelled(make_batch([] {}), "good")));
  auto bad = crew.start(
      labelled(make_batch([] { throw std::runtime_error{"no"}; }), "bad"));
  CHECK_THROWS(get(bad));
  auto slow = crew.start(labelled(make_batch([&] { busy.pass(); }), "slow"));
  busy.wait_for_arrivals();
  auto never = crew.start(labelled(make_batch([] {}), "never"));
  batch_of(never).cancel(troupe::ec::cancelled);
  auto expired = crew.start(labelled(make_batch([] {}), "expired"));
  batch_of(expired).cancel(troupe::ec::deadline_exceeded);
  batch_of(slow).cancel(troupe::ec::deadline_exceeded);
  busy.open();
  batch_of(slow).wait();
  auto stats = crew.stats();
  CHECK(stats.labels.size() == 5);
  CHECK(of(stats, "good").succeeded == 1);
  CHECK(of(stats, "bad").failed == 1);
  CHECK(of(stats, "never").cancelled == 1);
  CHECK(of(stats, "never").ran.count() == 0);
  CHECK(of(stats, "expired").expired == 1);
  CHECK(of(stats, "expired").late == 0);
  CHECK(of(stats, "slow").expired == 1);
  CHECK(of(stats, "slow").late == 1);
  CHECK(of(stats, "slow").ran.count() == 1);
  CHECK(stats.succeeded == 1);
  CHECK(stats.failed == 1);
  CHECK(stats.cancelled == 1);
  CHECK(stats.expired == 2);
  CHECK(stats.late == 1);
}

TEST_CASE("a hundred thousand labels are 64 and the others", "[stats]") {
  thread_crew crew{1};
  auto n = 0;
  get(crew.start(make_map_batch(numbers(10), [&](int) {
    for (int i = 0; i < 10'000; ++i)
      get(crew.start(
          labelled(make_batch([] {}), "label " + std::to_string(n++))));
  })));
  auto stats = crew.stats();
  CHECK(stats.labels.size() == 66);
  CHECK(stats.labels.back().label == "other");
  CHECK(stats.labels.back().succeeded == 100'000 - 64);
  CHECK(stats.labels.back().ran.count() == 100'000 - 64);
  CHECK(stats.succeeded == 100'010);
}

TEST_CASE("a slow request among tiny ones is not spread over these",
          "[stats]") {
  test::gate slow;
  thread_crew crew{1};
  test::open_at_exit release{slow};
  auto many = crew.start(make_map_batch(numbers(100'000), [&](int i) {
    if (i == 50'000)
      slow.pass();
  }));
  slow.wait_for_arrivals();
  auto ran = crew.stats().longest_running;
  while (crew.stats().longest_running < ran + 20ms)
    std::this_thread::yield();
  slow.open();
  get(many);
  auto seen = crew.stats().total().ran;
  CHECK(seen.count() == 100'000);
  CHECK(seen.max() >= 20ms);
  CHECK(seen.quantile(0.9) < 1ms);
}

TEST_CASE("each attempt of a request runs, and the first one has waited",
          "[stats]") {
  thread_crew crew{1};
  auto tries = 0;
  auto flaky = make_batch([&] {
    if (++tries < 3)
      throw std::runtime_error{"not yet"};
  });
  troupe::modifiers how;
  how.retry = std::make_shared<const troupe::retry_policy>(
      troupe::retry_policy{.attempts = 3, .backoff = 0ms});
  batch_of(flaky).modify(how);
  get(crew.start(flaky));
  auto all = crew.stats().total();
  CHECK(all.succeeded == 1);
  CHECK(all.ran.count() == 3);
  CHECK(all.waited.count() == 1);
}

TEST_CASE("requests made inside of requests are measured, too", "[stats]") {
  thread_crew crew{1};
  get(crew.start(
      labelled(make_batch([&] {
                 get(crew.start(labelled(
                     make_map_batch(numbers(10), [](int) {}), "inner")));
               }),
               "outer")));
  auto stats = crew.stats();
  CHECK(of(stats, "outer").ran.count() == 1);
  CHECK(of(stats, "inner").ran.count() == 10);
}

TEST_CASE("requests that compute are told from those that wait", "[stats]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  get(crew.start(labelled(make_batch([] { compute(30ms); }), "resize")));
  // Idle again, so its stay has ended, and is measured whole.
  crew.wait_until_idle();
  auto wait = crew.start(labelled(make_batch([&] { busy.pass(); }), "load"));
  busy.wait_for_arrivals();
  while (crew.stats().longest_running < 30ms)
    std::this_thread::yield();
  busy.open();
  get(wait);
  crew.wait_until_idle();
  auto stats = crew.stats();
  CHECK(of(stats, "resize").computed >= 30ms);
  CHECK(of(stats, "resize").computed <= of(stats, "resize").sampled);
  CHECK(of(stats, "load").sampled >= 30ms);
  REQUIRE(of(stats, "load").cpu_share());
  CHECK(*of(stats, "load").cpu_share() < 1);
}

// -- queue and workers --------------------------------------------------------

TEST_CASE("what runs and what waits is seen while it does", "[stats]") {
  test::gate busy;
  thread_crew crew{2};
  test::open_at_exit release{busy};
  auto first = crew.start(labelled(make_batch([&] { busy.pass(); }), "a"));
  auto second = crew.start(labelled(make_batch([&] { busy.pass(); }), "b"));
  busy.wait_for_arrivals(2);
  auto third = crew.start(labelled(make_batch([] {}), "c"));
  auto before = crew.stats();
  CHECK(before.workers == 2);
  CHECK(before.busy == 2);
  CHECK(before.queued == 1);
  REQUIRE(before.team.size() == 2);
  CHECK(before.team[0].id == 1);
  CHECK(before.team[0].busy);
  CHECK(before.team[0].label + before.team[1].label != "aa");
  CHECK(before.longest_running
        == std::max(before.team[0].running, before.team[1].running));
  auto after = crew.stats();
  CHECK(after.oldest_queued >= before.oldest_queued);
  CHECK(after.longest_running >= before.longest_running);
  CHECK(after.busy_time >= before.busy_time);
  CHECK(after.active > before.active);
  busy.open();
  get(first);
  get(second);
  get(third);
  crew.wait_until_idle();
  auto idle = crew.stats();
  CHECK(idle.busy == 0);
  CHECK(idle.longest_running == 0s);
  CHECK(idle.oldest_queued == 0s);
  CHECK(idle.busy_60s > 0);
  CHECK(idle.busy_60s <= 1);
  // Nothing goes on that could count.
  CHECK(crew.stats().active == idle.active);
}

TEST_CASE("submissions that wait for their key are counted once each",
          "[stats]") {
  test::gate busy;
  thread_crew crew{3};
  test::open_at_exit release{busy};
  std::vector<troupe::typed_batch<void>> all;
  for (int i = 0; i < 5; ++i) {
    // While there is room at the key, nobody is held up by it.
    if (i == 2)
      busy.wait_for_arrivals(2);
    auto made = make_batch([&] { busy.pass(); });
    troupe::modifiers how;
    how.key = troupe::key_limit{"db", 2};
    batch_of(made).modify(how);
    all.push_back(crew.start(made));
  }
  CHECK(crew.stats().blocked_by_key == 3);
  busy.open();
  for (auto& x : all)
    get(x);
  CHECK(crew.stats().blocked_by_key == 3);
  CHECK(crew.stats().submissions == 5);
}

// Failure is a sum that does not hold, or a count that goes back.
TEST_CASE("snapshots taken while workers run are consistent", "[stats]") {
  thread_crew crew{3};
  std::atomic<bool> over{false};
  std::thread user{[&] {
    for (int i = 0; i < 200; ++i) {
      get(crew.start(
          labelled(make_map_batch(numbers(500), [](int) {}), "map")));
      get(crew.start(labelled(make_batch([] {}), "run")));
    }
    over = true;
  }};
  pool_stats before;
  auto sane = true;
  while (!over) {
    auto now = crew.stats();
    auto all = now.total();
    sane = sane && now.succeeded == all.succeeded
           && all.ran.count() >= now.succeeded
           && all.waited.count() >= now.succeeded
           && now.arrived >= now.succeeded && now.busy + now.idle <= 3
           && now.succeeded >= before.succeeded
           && now.total().ran.count() >= before.total().ran.count()
           && now.busy_60s <= 1;
    before = std::move(now);
  }
  user.join();
  CHECK(sane);
  CHECK(crew.stats().succeeded == 200 * 501);
  CHECK(crew.stats().total().ran.count() == 200 * 501);
}

// -- advice -------------------------------------------------------------------

TEST_CASE("a pool without requests gets no advice, and a line that says so",
          "[stats][advisor]") {
  thread_crew crew{2};
  CHECK(troupe::advise(crew.stats()).text
        == "pool 'test': no advice: no request has run yet");
}

// Little's law holds for whatever happened: so many were busy on average as
// arrivals and service times say, however slow the machine is.
TEST_CASE("the load that advice speaks of is what the workers carried",
          "[stats][advisor]") {
  thread_crew crew{4};
  get(crew.start(make_map_batch(
      numbers(200), [](int) { std::this_thread::sleep_for(1ms); })));
  crew.wait_until_idle();
  auto stats = crew.stats();
  auto said = troupe::advise(stats, {.cores = 4});
  auto carried = static_cast<double>(stats.busy_time.count())
                 / static_cast<double>(stats.active.count());
  CHECK(said.load == Approx(carried).epsilon(0.05));
  CHECK(said.load > 0);
  CHECK(said.load <= 4.001);
}

TEST_CASE("a pool prints its advice when it ends, if that was asked for",
          "[stats][advisor]") {
  auto printed = [](bool wanted, bool used) {
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(),
                                                         std::fclose};
    REQUIRE(file);
    std::fflush(stderr);
    auto kept = ::dup(STDERR_FILENO);
    ::dup2(::fileno(file.get()), STDERR_FILENO);
    troupe::advise_at_end(wanted);
    {
      thread_crew crew{2};
      if (used)
        get(crew.start(make_map_batch(numbers(100), [](int) {})));
    }
    troupe::advise_at_end(false);
    std::fflush(stderr);
    ::dup2(kept, STDERR_FILENO);
    ::close(kept);
    std::string text(10'000, '\0');
    std::rewind(file.get());
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    return text;
  };
  CHECK(printed(false, true).empty());
  CHECK(printed(true, false)
        == "pool 'test': no advice: no request has run yet\n");
  CHECK_THAT(printed(true, true), Contains("(Little's law)\n"));
}

TEST_CASE("advice for a pool is made of its own numbers", "[stats][advisor]") {
  pool_stats stats;
  stats.name = "io";
  stats.max_workers = 20;
  stats.arrived = 40'000;
  stats.submissions = 40'000;
  stats.active = 200s;
  stats.offered = 20 * 200s;
  stats.busy_time = 2'000s;
  stats.blocked_by_key = 7;
  stats.refused = 3;
  stats.max_queued = 100;
  stats.labels.resize(2);
  stats.labels[0].ran.record(50ms, 20'000);
  stats.labels[1].ran.record(50ms, 20'000);
  stats.labels[1].sampled = 10s;
  stats.labels[1].computed = 1s;
  auto said = troupe::advise(stats, {.cores = 4});
  CHECK(said.workers == 13);
  CHECK_THAT(said.text, Contains("pool 'io': 13 workers (now 20)"));
  CHECK_THAT(said.text, Contains("200/s x 50.0 ms = 10 busy workers"));
  CHECK_THAT(said.text, Contains("held up 7 of 40000 submissions"));
  CHECK_THAT(said.text, Contains("max-queued = 100 turned 3 submissions"));
  CHECK_THAT(said.text, Contains("a request computes 10 % of the time"));
}

// -- as text ------------------------------------------------------------------

TEST_CASE("statistics read as a table", "[stats]") {
  pool_stats stats;
  stats.name = "io";
  stats.workers = 3;
  stats.max_workers = 8;
  stats.busy = 2;
  stats.idle = 1;
  stats.longest_running = 1'200ms;
  stats.busy_1s = 0.25;
  stats.busy_10s = 0.2;
  stats.busy_60s = 0.01;
  stats.queued = 4;
  stats.oldest_queued = 30ms;
  stats.labels.resize(2);
  stats.labels[0].succeeded = 12;
  stats.labels[0].waited.record(1ms, 12);
  stats.labels[0].ran.record(20ms, 12);
  stats.labels[0].computed = 194ms;
  stats.labels[0].sampled = 200ms;
  stats.labels[1].label = "new\nline";
  stats.labels[1].cancelled = 1;
  auto text = fmt::format("{}", stats);
  CHECK(text == to_string(stats));
  CHECK(
      text ==
      R"(pool 'io': 3 of 8 workers: 2 busy, 0 stuck, 1 idle; longest running 1.20 s; busy 25 % of 1 s, 20 % of 10 s, 1.0 % of 60 s
queue: 4 queued, the oldest for 30.0 ms; 0 refused
)"
      R"(  label        succeeded  failed  cancelled  expired  late  waited p50      p90      p99      max  ran p50      p90      p99      max   CPU       kind
  -                   12       0          0        0     0     1.00 ms  1.00 ms  1.00 ms  1.00 ms  20.0 ms  20.0 ms  20.0 ms  20.0 ms  97 %  CPU-bound
  new\x0aline          0       0          1        0     0           -        -        -        -        -        -        -        -     -          -
  all                 12       0          1        0     0     1.00 ms  1.00 ms  1.00 ms  1.00 ms  20.0 ms  20.0 ms  20.0 ms  20.0 ms  97 %  CPU-bound
)");
}

TEST_CASE("the table tells of resources where there are any", "[stats]") {
  pool_stats stats;
  CHECK_THAT(to_string(stats), !Contains("resources"));
  stats.resource.opens = 5;
  stats.resource.closes = 2;
  stats.resource.open_failures = 1;
  stats.resource.last_open_error = "refused";
  CHECK_THAT(
      to_string(stats),
      Contains("resources: 3 open, 5 opened, 1 failed to open (refused), "
               "0 workers wait for one\n"));
}

TEST_CASE("the table tells of trouble with workers where there was any",
          "[stats]") {
  pool_stats stats;
  CHECK_THAT(to_string(stats), !Contains("trouble"));
  stats.workers_lost = 3;
  stats.threads_refused = 2;
  stats.failed_starts = 1;
  stats.missing = 4;
  CHECK_THAT(to_string(stats),
             Contains("trouble: 3 workers ended without being told to, 2 "
                      "threads were refused, 1 starts failed; 4 workers are "
                      "missing\n"));
}

TEST_CASE("the table says that a time was beyond what is measured", "[stats]") {
  pool_stats stats;
  stats.labels.resize(1);
  stats.labels[0].ran.record(240h);
  CHECK_THAT(to_string(stats), !Contains("ten days"));
  stats.labels[0].ran.record(240h + 1ns);
  stats.labels[0].waited.record(1000h);
  CHECK_THAT(to_string(stats),
             Contains("  2 times are longer than ten days, which is the "
                      "longest that is told apart\n"));
}

TEST_CASE("advice prints as its text", "[stats][advisor]") {
  troupe::advice said;
  said.text = "more";
  CHECK(fmt::format("{}", said) == "more");
}

TEST_CASE("requests are CPU-bound, I/O-bound or mixed by what they compute",
          "[stats]") {
  label_stats seen;
  CHECK(seen.bound().empty());
  seen.sampled = 1s;
  seen.computed = 900ms;
  CHECK(seen.bound() == "CPU-bound");
  seen.computed = 899ms;
  CHECK(seen.bound() == "mixed");
  seen.computed = 500ms;
  CHECK(seen.bound() == "I/O-bound");
}

TEST_CASE("that requests compute is said once in the log, when it holds for "
          "long and there are more workers than cores",
          "[stats]") {
  std::vector<std::string> lines;
  auto before = troupe::set_log_sink(
      [&](const troupe::log_entry& entry) { lines.push_back(entry.text); });
  auto cores = std::max<std::size_t>(std::thread::hardware_concurrency(), 1);
  thread_crew crew{cores + 1};
  auto label = crew.home().number_of("resize");
  troupe::worker_record::of_label computing;
  crew.home().judge(label, computing);
  computing.sampled = 1'000'000'000;
  computing.computed = 970'000'000;
  for (auto seconds = 1; seconds <= 20; ++seconds) {
    computing.ran.record(1s);
    crew.home().judge(label, computing);
    CHECK(lines.size() == (seconds >= 10 ? 1u : 0u));
  }
  // Of another label, which waits; and in a pool that fits.
  troupe::worker_record::of_label waiting;
  waiting.sampled = 1'000'000'000;
  waiting.computed = 50'000'000;
  waiting.ran.record(20s);
  crew.home().judge(crew.home().number_of("load"), waiting);
  thread_crew few{cores};
  few.home().judge(few.home().number_of("resize"), computing);
  troupe::set_log_sink(before);
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0],
             Contains("label 'resize': 97 % CPU: CPU-bound; more than "
                      + std::to_string(cores)));
}

TEST_CASE("all pools of the process can be looked at", "[stats]") {
  auto before = troupe::stats_of_all_pools().size();
  {
    thread_crew first{1};
    thread_crew second{2};
    auto all = troupe::stats_of_all_pools();
    REQUIRE(all.size() == before + 2);
    CHECK(all[before].max_workers == 1);
    CHECK(all[before + 1].max_workers == 2);
  }
  CHECK(troupe::stats_of_all_pools().size() == before);
}

TEST_CASE("the CPU share is not known of what was hardly measured", "[stats]") {
  label_stats seen;
  CHECK_FALSE(seen.cpu_share());
  seen.sampled = 999us;
  seen.computed = 999us;
  CHECK_FALSE(seen.cpu_share());
  seen.sampled = 4ms;
  CHECK(seen.cpu_share() == Approx(0.24975));
}
