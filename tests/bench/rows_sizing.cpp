// Rows about pools that size themselves: the throughput of `workers = auto`
// against that of fixed sizes, for calls that only wait, calls that compute,
// calls to a service that slows down beyond 16 at once, and a change from the
// first to the third half-way. Shows the size over time.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <memory>
#include <ranges>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "rows.hpp"

#include "troupe/troupe.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;
using std::chrono::duration;
using seconds = duration<double>;

constexpr std::size_t limit = 64;
constexpr std::size_t looks = 60;

// Requests of a map, and maps under way: what waits is always more than there
// are workers.
constexpr std::uint64_t map_size = 256;
constexpr std::size_t maps = 4;

// -- what is called -----------------------------------------------------------

constexpr auto call_time = 5ms;
constexpr std::size_t service_size = 16;

/// What calls need, shared by all of them.
struct behind {
  enum class kind { waiting, computing, service };

  std::atomic<kind> now{kind::waiting};
  std::atomic<std::size_t> at_once{0};
  std::atomic<std::uint64_t> returned{0};
};

/// About a millisecond of arithmetic, which ends as it began.
std::uint64_t compute(std::uint64_t x) {
  constexpr auto rounds = 400'000;
  volatile std::uint64_t result = x;
  for (auto i = 0; i < rounds; ++i)
    result = result ^ static_cast<std::uint64_t>(i);
  for (auto i = 0; i < rounds; ++i)
    result = result ^ static_cast<std::uint64_t>(i);
  return result;
}

std::uint64_t call(behind& what, std::uint64_t x) {
  auto n = ++what.at_once;
  switch (what.now.load()) {
  case behind::kind::computing:
    x = compute(x);
    break;
  case behind::kind::service:
    if (n > service_size) {
      auto load = static_cast<double>(n) / service_size;
      std::this_thread::sleep_for(load * load * call_time);
      break;
    }
    [[fallthrough]];
  case behind::kind::waiting:
    std::this_thread::sleep_for(call_time);
  }
  --what.at_once;
  ++what.returned;
  return x + 1;
}

// -- measuring ----------------------------------------------------------------

/// What a pool is to do, and for how long.
struct plan {
  behind::kind first;
  behind::kind second; ///< from half-way on
  seconds length;
};

/// Keeps the pool busy until `stop`, and checks every result.
void keep_busy(const troupe::pool& pool, behind& what,
               const std::atomic<bool>& stop) {
  std::deque<troupe::operation<std::vector<std::uint64_t>>> under_way;
  std::deque<std::uint64_t> firsts;
  std::uint64_t next = 0;
  auto check_first = [&] {
    auto results = std::move(under_way.front()).get();
    auto first = firsts.front();
    under_way.pop_front();
    firsts.pop_front();
    check_results(results, map_size,
                  [first](std::uint64_t i) { return first + i + 1; });
  };
  while (!stop) {
    under_way.push_back(
        pool.map(std::views::iota(next, next + map_size),
                 [&what](std::uint64_t x) { return call(what, x); })
            .start());
    firsts.push_back(next);
    next += map_size;
    if (under_way.size() >= maps)
      check_first();
  }
  while (!under_way.empty())
    check_first();
}

sample measure_sizes(const plan& of, std::size_t workers) {
  using clock = std::chrono::steady_clock;
  troupe::config cfg;
  caf::actor_system sys{cfg};
  behind what;
  what.now = of.first;
  troupe::pool pool{
      sys, {.name = "bench", .workers = workers, .workers_limit = limit}};
  std::atomic<bool> stop{false};
  std::exception_ptr problem;
  std::thread caller{[&] {
    try {
      keep_busy(pool, what, stop);
    } catch (...) {
      problem = std::current_exception();
    }
  }};
  sample result;
  std::vector<std::size_t> sizes;
  auto begin = clock::now();
  std::vector<std::pair<seconds, std::uint64_t>> seen{{0s, 0}};
  for (std::size_t i = 1; i <= looks; ++i) {
    auto due = of.length * static_cast<double>(i) / static_cast<double>(looks);
    std::this_thread::sleep_until(
        begin + std::chrono::duration_cast<clock::duration>(due));
    sizes.push_back(pool.options().workers);
    result.values[fmt::format("size@{:02}", i)] =
        static_cast<double>(sizes.back());
    seen.emplace_back(clock::now() - begin, what.returned.load());
    if (i == looks / 2)
      what.now = of.second;
  }
  stop = true;
  caller.join();
  if (problem)
    std::rethrow_exception(problem);
  auto rate = [&](std::size_t from, std::size_t to) {
    return static_cast<double>(seen[to].second - seen[from].second)
           / (seen[to].first - seen[from].first).count();
  };
  // After a change, time to find the next size.
  auto settled = of.first == of.second ? looks / 2 : looks * 3 / 4;
  result.values["settled"] = rate(settled, looks);
  result.values["whole"] = rate(0, looks);
  auto middle =
      sizes.begin() + static_cast<std::ptrdiff_t>((settled + looks) / 2);
  std::nth_element(sizes.begin() + static_cast<std::ptrdiff_t>(settled), middle,
                   sizes.end());
  result.values["size"] = static_cast<double>(*middle);
  return result;
}

row build_sizing(const plan& of, std::string title,
                 std::vector<std::size_t> fixed) {
  row result;
  result.title = std::move(title);
  result.columns = {{"settled", "settled: requests/s", 0, false},
                    {"whole", "all: requests/s", 0, false},
                    {"size", "workers", 0}};
  result.plot = {
      "size@", fmt::format("workers of auto, over {:.0f} s", of.length.count()),
      "auto"};
  result.contestants.push_back({"auto", role::troupe, 0, [of] {
                                  return measure_sizes(of, troupe::automatic);
                                }});
  for (auto n : fixed)
    result.contestants.push_back({fmt::format("{} workers", n), role::peer, 0,
                                  [of, n] { return measure_sizes(of, n); }});
  result.targets = {at_least("settled: at least 0.8 × the best fixed size",
                             "auto", "settled", 0.8,
                             best_peer("settled", false)),
                    at_least("all of it: at least 0.8 × the best fixed size",
                             "auto", "whole", 0.8, best_peer("whole", false))};
  return result;
}

seconds length_of(const row_options& options, double full) {
  return seconds{options.quick ? full / 2 : full};
}

row build_waiting(const row_options& options) {
  using enum behind::kind;
  return build_sizing({waiting, waiting, length_of(options, 8)},
                      "calls that block 5 ms, at most 64 workers",
                      {6, 16, 32, 64});
}

row build_computing(const row_options& options) {
  using enum behind::kind;
  return build_sizing({computing, computing, length_of(options, 8)},
                      "calls that compute for a millisecond", {1, 2, 6, 64});
}

row build_service(const row_options& options) {
  using enum behind::kind;
  return build_sizing({service, service, length_of(options, 8)},
                      "5 ms of a service that slows down beyond 16 at once",
                      {6, 12, 16, 20, 64});
}

row build_change(const row_options& options) {
  using enum behind::kind;
  return build_sizing({waiting, service, length_of(options, 16)},
                      "5 ms of waiting, from half-way on of that service",
                      {12, 16, 32, 64});
}

} // namespace

std::vector<row_spec> sizing_rows() {
  return {
      {"auto-wait", "workers = auto, calls that block", build_waiting},
      {"auto-cpu", "workers = auto, calls that compute", build_computing},
      {"auto-service", "workers = auto, a service for 16", build_service},
      {"auto-change", "workers = auto, from one to the other", build_change},
  };
}

} // namespace bench
