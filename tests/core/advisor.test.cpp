// What is advised for which measurements, and whether a queue that follows the
// advice keeps what it promises.

#include "troupe/advisor.hpp"

#include "troupe/error.hpp"

#include "queue_simulation.hpp"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>

using namespace std::chrono_literals;
using Catch::Contains;
using std::chrono::nanoseconds;
using troupe::advise;
using troupe::sizing_goal;
using troupe::sizing_limit;
using troupe::sureness;
using troupe::workload;

namespace {

// So many requests a second of exponential length, that hardly compute.
workload random_requests(double rate, nanoseconds service, std::size_t n) {
  workload seen;
  seen.pool = "io";
  std::mt19937_64 random{42};
  auto takes = test::exponential(static_cast<double>(service.count()));
  for (std::size_t i = 0; i < n; ++i) {
    seen.ran.record(nanoseconds{static_cast<std::int64_t>(takes(random))});
    seen.waited.record(0ns);
  }
  seen.arrived = seen.submissions = n;
  seen.observed = nanoseconds{
      static_cast<std::int64_t>(1e9 * static_cast<double>(n) / rate)};
  seen.cpu_share = 0.01;
  seen.workers = 64;
  seen.max_queued = 1'000;
  return seen;
}

std::string refusal(const sizing_goal& goal) {
  try {
    advise(random_requests(10, 1ms, 10), goal);
  } catch (const troupe::failure& err) {
    return std::string{troupe::to_string(err.code())} + ": " + err.what();
  }
  return "none";
}

} // namespace

TEST_CASE("without samples the advisor says so in one line", "[advisor]") {
  workload nothing;
  nothing.pool = "io";
  auto said = advise(nothing);
  CHECK(said.workers == 0);
  CHECK(said.sure == sureness::none);
  CHECK(said.text == "pool 'io': no advice: no request has run yet");
}

TEST_CASE("advice is the least number that reaches the goal in the simulated "
          "queue",
          "[advisor]") {
  // 200 a second, 50 ms each: ten busy on average.
  auto said = advise(random_requests(200, 50ms, 200'000), {.cores = 4});
  CHECK(said.load == Approx(10).epsilon(0.01));
  CHECK(said.limit == sizing_limit::none);
  auto p90 = [&](std::size_t workers) {
    return test::simulate_queue(workers, test::exponential(1.0 / 200),
                                test::exponential(0.05), 500'000, 11)
        .quantile(0.9);
  };
  CHECK(p90(said.workers) <= 0.010);
  CHECK(p90(said.workers - 1) > 0.010);
  REQUIRE(said.wait);
  CHECK(static_cast<double>(said.wait->count()) * 1e-9
        == Approx(p90(said.workers)).margin(0.003));
}

TEST_CASE("advice shows the formula and its inputs", "[advisor]") {
  auto seen = random_requests(200, 50ms, 1);
  seen.ran = {};
  seen.ran.record(50ms, 40'000);
  seen.arrived = 40'000;
  seen.observed = 200s;
  auto said = advise(seen, {.cores = 4});
  CHECK_THAT(said.text, Contains("load = rate x service = 200/s x 50.0 ms = 10 "
                                 "busy workers (Little's law)"));
  CHECK_THAT(said.text, Contains("Erlang C, service times vary by 0"));
  CHECK_THAT(said.text, Contains("40000 requests in 3.33 min"));
  CHECK_THAT(said.sentence, Contains("so that 90 % wait no longer than 10.0 "
                                     "ms; known well"));
  CHECK(said.sentence.find('\n') == std::string::npos);
}

TEST_CASE("a stricter goal takes more workers", "[advisor]") {
  auto seen = random_requests(200, 50ms, 10'000);
  auto loose = advise(seen, {.share = 0.5, .wait = 100ms, .cores = 4});
  auto strict = advise(seen, {.share = 0.999, .wait = 1ms, .cores = 4});
  CHECK(loose.workers > 10);
  CHECK(strict.workers > loose.workers + 5);
}

TEST_CASE("requests that compute get no more workers than cores can carry",
          "[advisor]") {
  auto seen = random_requests(100, 100ms, 10'000);
  seen.cpu_share = 0.97;
  auto said = advise(seen, {.cores = 2});
  CHECK(said.workers == 2);
  CHECK(said.limit == sizing_limit::cores);
  CHECK_THAT(said.sentence,
             Contains("limited by cores: a request computes 97 % of the time "
                      "it runs, so more than 2 workers cannot help on 2 cores; "
                      "use compute_pool"));
  seen.cpu_share = 0.5;
  CHECK(advise(seen, {.cores = 2}).workers == 4);
  // Enough for these: nothing limits.
  auto light = random_requests(10, 10ms, 10'000);
  light.cpu_share = 0.97;
  CHECK(advise(light, {.cores = 2}).limit == sizing_limit::none);
}

TEST_CASE("a service that takes few calls at once limits", "[advisor]") {
  auto said = advise(random_requests(200, 50ms, 10'000),
                     {.cores = 4, .max_connections = 5});
  CHECK(said.workers == 5);
  CHECK(said.limit == sizing_limit::connections);
  CHECK_FALSE(said.wait);
  CHECK_THAT(said.sentence,
             Contains("the service behind: it takes 5 calls at once"));
  CHECK_THAT(said.text, Contains("90 % of all longer and longer"));
}

TEST_CASE("a queue that turned requests away is named", "[advisor]") {
  auto seen = random_requests(200, 50ms, 1'000);
  CHECK_THAT(advise(seen).text, !Contains("max-queued"));
  seen.refused = 12;
  CHECK_THAT(advise(seen).text,
             Contains("max-queued = 1000 turned 12 submissions away"));
}

TEST_CASE("a per-key limit that held requests up is named", "[advisor]") {
  auto seen = random_requests(200, 50ms, 1'000);
  CHECK_THAT(advise(seen).text, !Contains("per-key"));
  seen.blocked_by_key = 700;
  CHECK_THAT(advise(seen).text,
             Contains("a per-key limit held up 700 of 1000 submissions"));
}

TEST_CASE("the fewer samples, the less sure, and the wider the range",
          "[advisor]") {
  auto few = advise(random_requests(200, 50ms, 20), {.cores = 4});
  auto some = advise(random_requests(200, 50ms, 500), {.cores = 4});
  auto many = advise(random_requests(200, 50ms, 50'000), {.cores = 4});
  CHECK(few.sure == sureness::poor);
  CHECK(some.sure == sureness::fair);
  CHECK(many.sure == sureness::good);
  CHECK(few.most - few.least > some.most - some.least);
  CHECK(some.most - some.least > many.most - many.least);
  CHECK(few.least <= few.workers);
  CHECK(few.workers <= few.most);
  CHECK_THAT(few.text, Contains("known poorly: 20 requests in 100 ms"));
}

TEST_CASE("the range holds the right number nineteen times out of twenty",
          "[advisor]") {
  auto right = advise(random_requests(200, 50ms, 500'000), {.cores = 4});
  auto held = 0;
  std::mt19937_64 random{5};
  for (int i = 0; i < 200; ++i) {
    workload seen;
    seen.cpu_share = 0;
    auto between = test::exponential(5e6);
    auto takes = test::exponential(5e7);
    double time = 0;
    for (int k = 0; k < 300; ++k) {
      time += between(random);
      seen.ran.record(nanoseconds{static_cast<std::int64_t>(takes(random))});
    }
    seen.arrived = 300;
    seen.observed = nanoseconds{static_cast<std::int64_t>(time)};
    auto said = advise(seen, {.cores = 4});
    held += said.least <= right.workers && right.workers <= said.most;
  }
  CHECK(held >= 184);
}

TEST_CASE("workers that were always busy get a step to try, not an answer",
          "[advisor]") {
  auto seen = random_requests(200, 50ms, 10'000);
  seen.workers = 10;
  seen.utilisation = 0.99;
  seen.waited.record(10s, 100'000);
  auto said = advise(seen, {.cores = 4});
  CHECK(said.saturated);
  CHECK(said.workers == 20);
  CHECK_THAT(said.sentence,
             Contains("try 20 workers next (now 10, busy 99 % of the time"));
  CHECK(advise(seen, {.cores = 4, .max_connections = 12}).workers == 12);
}

TEST_CASE("waits that chance does not explain are called bursts", "[advisor]") {
  auto seen = random_requests(200, 50ms, 10'000);
  CHECK_THAT(advise(seen).text, !Contains("bursts"));
  seen.waited.record(80ms, 100'000);
  CHECK_THAT(advise(seen).text, Contains("requests come in bursts"));
}

TEST_CASE("CPU time that was not measured is said", "[advisor]") {
  auto seen = random_requests(200, 50ms, 10'000);
  seen.cpu_share.reset();
  CHECK_THAT(advise(seen).text, Contains("CPU time was not measured"));
}

TEST_CASE("requests beyond every measure get the greatest number",
          "[advisor]") {
  workload seen;
  seen.ran.record(240h, 1'000'000);
  seen.arrived = 1'000'000;
  seen.observed = 1ns;
  auto said = advise(seen);
  CHECK(said.workers == 65'536);
  CHECK(said.limit == sizing_limit::workers);
}

TEST_CASE("a goal out of range is refused with what is accepted", "[advisor]") {
  CHECK(refusal({.share = 1.0})
        == "invalid_option: cannot advise for the share 1 of the requests: it "
           "lies between 0 and 1");
  CHECK(refusal({.share = std::nan("")}) != "none");
  CHECK(refusal({.wait = -1ms})
        == "invalid_option: cannot advise for a wait of -1.00 ms: 0 and more "
           "are accepted");
  CHECK(refusal({.max_connections = 0})
        == "invalid_option: cannot advise for a service that takes 0 calls at "
           "once: 1 and more are accepted");
}

TEST_CASE("advice for a busy pool that sizes itself is what it found, or its "
          "limit",
          "[advisor]") {
  auto seen = random_requests(200, 50ms, 10'000);
  seen.workers = 9;
  seen.utilisation = 0.99;
  seen.waited = {};
  seen.waited.record(1s, 10'000);
  CHECK_THAT(advise(seen, {.cores = 4}).sentence,
             Contains("try 18 workers next (now 9, busy 99 % of the time"));
  seen.automatic_limit = 64;
  auto said = advise(seen, {.cores = 4});
  CHECK(said.workers == 9);
  CHECK_THAT(said.sentence,
             Contains("9 workers, to which it sized itself: busy "
                      "99 % of the time, and more brought no "
                      "more"));
  CHECK_THAT(said.text, Contains("the pool sizes itself while requests wait "
                                 "(workers = auto, up to 64)"));
  seen.automatic_limit = 9;
  CHECK_THAT(advise(seen, {.cores = 4}).sentence,
             Contains("troupe.workers-limit allows no more; raise it"));
  // One that is not always busy is advised as any other.
  seen.utilisation = 0.5;
  CHECK_THAT(advise(seen, {.cores = 4}).sentence, Contains("(now 9, auto)"));
}

TEST_CASE("who has no more workers than cores is not sent to a compute_pool",
          "[advisor]") {
  auto seen = random_requests(1'000, 20ms, 10'000);
  seen.cpu_share = 1.0;
  seen.workers = 4;
  auto said = advise(seen, {.cores = 4});
  CHECK(said.limit == sizing_limit::cores);
  CHECK_THAT(said.text, !Contains("compute_pool"));
  seen.workers = 5;
  CHECK_THAT(advise(seen, {.cores = 4}).text, Contains("use compute_pool"));
}
