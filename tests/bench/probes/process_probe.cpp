// Measures what calls in worker processes cost, and prints it: this program is
// its own worker. The row "processes" compares pools whose requests travel
// together with such that send each by itself.

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

#include <fmt/format.h>

#include "timing.hpp"

#include "troupe/process_pool.hpp"
#include "troupe/run_if_worker.hpp"
#include "troupe/troupe.hpp"

namespace {

constexpr troupe::procedure<"succ", std::uint64_t(std::uint64_t)> succ;
constexpr troupe::procedure<"echo", std::string(std::string)> echo;
constexpr troupe::procedure<"crash", void()> crash;

// Seconds that each measurement takes, at least.
constexpr double budget = 0.3;

void check(bool right) {
  if (!right)
    throw std::runtime_error{"a result is wrong"};
}

bench::elapsed timed_map(const troupe::pool& pool,
                         const std::vector<std::uint64_t>& inputs) {
  bench::stopwatch watch;
  auto results = pool.map(std::views::all(inputs), succ).get();
  auto took = watch.read();
  check(results.size() == inputs.size() && results.back() == inputs.size());
  return took;
}

double megabytes_per_second(const troupe::pool& pool, std::size_t size,
                            std::size_t count) {
  std::vector<std::string> texts(count, std::string(size, 'x'));
  auto took = bench::repeated(budget, [&] {
    bench::stopwatch watch;
    auto results = pool.map(std::views::all(texts), echo).get();
    auto one = watch.read();
    check(results.size() == count && results.back() == texts.back());
    return one;
  });
  return static_cast<double>(size * count) / took.wall / 1e6;
}

double milliseconds(const bench::stopwatch& since) {
  return since.read().wall * 1e3;
}

int measure(const troupe::procedures& known, std::size_t processes,
            std::uint32_t together, std::size_t count) {
  troupe::config cfg;
  caf::actor_system sys{cfg};
  auto options = [&](std::size_t n) {
    return troupe::process_options{.processes = n, .max_together = together};
  };
  double start = 0;
  double outcome = 0;
  double again = 0;
  {
    bench::stopwatch watch;
    troupe::process_pool pool{sys, known, options(1)};
    check(pool.call(succ, 1u).get() == 2);
    start = milliseconds(watch);
    bench::stopwatch since_crash;
    auto lost = pool.call(crash).as_future();
    lost.wait();
    outcome = milliseconds(since_crash);
    check(pool.call(succ, 1u).get() == 2);
    again = milliseconds(since_crash);
  }
  troupe::process_pool pool{sys, known, options(processes)};
  std::vector<std::uint64_t> inputs(count);
  std::iota(inputs.begin(), inputs.end(), std::uint64_t{0});
  timed_map(pool, inputs);
  auto map = bench::repeated(budget, [&] { return timed_map(pool, inputs); });
  constexpr std::uint64_t trips = 500;
  auto trip = bench::repeated(budget, [&] {
    bench::stopwatch watch;
    for (std::uint64_t i = 0; i < trips; ++i)
      check(pool.call(succ, i).get() == i + 1);
    return watch.read();
  });
  fmt::print("ns {}\ntrip_us {}\nmb_small {}\nmb_large {}\n",
             map.wall / static_cast<double>(count) * 1e9,
             trip.wall / static_cast<double>(trips) * 1e6,
             megabytes_per_second(pool, 1024, 10'000),
             megabytes_per_second(pool, 1024 * 1024, 64));
  fmt::print("start_ms {}\noutcome_ms {}\nagain_ms {}\n", start, outcome,
             again);
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  troupe::procedures known;
  known.add(succ, [](std::uint64_t x) { return x + 1; })
      .add(echo, [](std::string text) { return text; })
      .add(crash, [] { ::raise(SIGKILL); });
  if (auto status = troupe::run_if_worker(argc, argv, known))
    return *status;
  try {
    if (argc != 4)
      throw std::runtime_error{
          "usage: process_probe PROCESSES MAX_TOGETHER REQUESTS"};
    return measure(known, std::stoul(argv[1]),
                   static_cast<std::uint32_t>(std::stoul(argv[2])),
                   std::stoul(argv[3]));
  } catch (const std::exception& problem) {
    fmt::print(stderr, "process_probe: {}\n", problem.what());
    return 1;
  }
}
