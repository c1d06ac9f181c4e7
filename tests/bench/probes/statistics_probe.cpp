// Measures what a request costs, and prints it. Built twice, with and without
// the pool's statistics, which a program cannot choose when it runs; the row
// "statistics" compares the two.

#include <cstdint>
#include <cstdio>
#include <exception>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>

#include "timing.hpp"

#include "troupe/troupe.hpp"

namespace {

constexpr std::size_t workers = 8;

// Seconds that the batches of one sample take together, at least.
constexpr double budget = 0.2;

void check(bool right) {
  if (!right)
    throw std::runtime_error{"a result is wrong"};
}

bench::elapsed timed_map(const troupe::pool& pool,
                         const std::vector<std::uint64_t>& inputs) {
  bench::stopwatch watch;
  auto results =
      pool.map(std::views::all(inputs), [](std::uint64_t x) { return x + 1; })
          .get();
  auto took = watch.read();
  check(results.size() == inputs.size() && results.back() == inputs.size());
  return took;
}

bench::elapsed timed_runs(const troupe::pool& pool, std::uint64_t count) {
  bench::stopwatch watch;
  std::vector<troupe::operation<std::uint64_t>> under_way;
  under_way.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i)
    under_way.push_back(
        pool.run([](std::uint64_t x) { return x + 1; }, i).start());
  std::uint64_t sum = 0;
  for (auto& one : under_way)
    sum += one.get();
  auto took = watch.read();
  check(sum == count * (count + 1) / 2);
  return took;
}

int measure(std::size_t mapped, std::uint64_t singles) {
  troupe::config cfg;
  caf::actor_system sys{cfg};
  troupe::pool pool{
      sys, troupe::pool_options{.workers = workers, .min_workers = workers}};
  std::vector<std::uint64_t> inputs(mapped);
  std::iota(inputs.begin(), inputs.end(), std::uint64_t{0});
  timed_map(pool, inputs);
  timed_runs(pool, singles);
  auto map = bench::repeated(budget, [&] { return timed_map(pool, inputs); });
  auto run = bench::repeated(budget, [&] { return timed_runs(pool, singles); });
  fmt::print("ns {}\nrun_ns {}\n", map.wall / static_cast<double>(mapped) * 1e9,
             run.wall / static_cast<double>(singles) * 1e9);
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 3)
      throw std::runtime_error{"usage: statistics_probe MAPPED SINGLES"};
    return measure(std::stoul(argv[1]), std::stoul(argv[2]));
  } catch (const std::exception& problem) {
    fmt::print(stderr, "statistics_probe: {}\n", problem.what());
    return 1;
  }
}
