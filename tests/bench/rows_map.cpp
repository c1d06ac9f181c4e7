// Rows about the cost of a request as such: calls that return at once, in one
// batch, in batches of growing size, and as operations that all differ.

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "rows.hpp"
#include "timing.hpp"

namespace bench {

namespace {

constexpr std::size_t workers = 8;

/// Seconds that the batches of one sample take together, at least.
constexpr double budget = 0.1;

/// Runs one batch and returns how long it took; checks the results off the
/// clock.
elapsed timed_batch(team& group, std::span<const std::uint64_t> inputs) {
  stopwatch watch;
  group.start(inputs);
  auto results = group.finish();
  auto took = watch.read();
  group.check(results, noop{}, inputs);
  return took;
}

contestant noop_contestant(const contender& who, std::size_t count) {
  return {who.name, who.role, count, [who, count] {
            auto inputs = counting(count);
            auto group = who.make({.what = noop{}, .workers = workers});
            timed_batch(*group, inputs); // warms threads and heap
            auto took =
                repeated(budget, [&] { return timed_batch(*group, inputs); });
            auto n = static_cast<double>(count);
            return sample{
                {{"ns", took.wall / n * 1e9}, {"cpu_ns", took.cpu / n * 1e9}},
                {}};
          }};
}

row build_noop_map(const row_options& options) {
  const std::size_t count = options.quick ? 100'000 : 1'000'000;
  // Python takes a hundred times as long as all others together.
  const std::size_t python_count = count / 20;
  row result;
  result.title = fmt::format("map of {} no-op requests, {} workers",
                             grouped(count), workers);
  result.columns = {{"ns", "ns/request"}, {"cpu_ns", "CPU ns"}};
  for (const auto& who : field(make_bare_floor))
    result.contestants.push_back(noop_contestant(who, count));
  contender with_results{"floor + results", role::extra, make_floor};
  result.contestants.insert(result.contestants.begin() + 1,
                            noop_contestant(with_results, count));
  result.contestants.push_back(
      python(python_count,
             {"noop", std::to_string(python_count), std::to_string(workers)}));
  result.targets = {
      at_most("at most the floor", "troupe", "ns", 1, named("floor")),
      at_most("at most 1/10 of the best peer", "troupe", "ns", 0.1,
              best_peer("ns")),
      at_most("at most 1/1000 of Python", "troupe", "ns", 0.001,
              named("Python")),
  };
  return result;
}

// -- statistics ---------------------------------------------------------------

row build_statistics(const row_options& options) {
  const std::size_t mapped = options.quick ? 100'000 : 1'000'000;
  const std::size_t singles = mapped / 10;
  row result;
  result.title = fmt::format("what statistics cost: map of {} no-op requests, "
                             "{} single runs, {} workers",
                             grouped(mapped), grouped(singles), workers);
  result.columns = {{"ns", "map ns/request"}, {"run_ns", "run ns/request"}};
  auto probe = [&](const char* name, bench::role role, const char* path) {
    return program(name, role, mapped,
                   {path, std::to_string(mapped), std::to_string(singles)});
  };
  result.contestants = {
      probe("troupe", role::troupe, TROUPE_BENCH_PROBE),
      probe("without statistics", role::extra, TROUPE_BENCH_UNMEASURED)};
  for (auto key : {"ns", "run_ns"})
    result.targets.push_back(at_most(
        fmt::format("at most 1.2 of troupe without statistics, {}", key),
        "troupe", key, 1.2, named("without statistics")));
  return result;
}

// -- growth -------------------------------------------------------------------

/// Returns by how much a request gets dearer at worst as batches grow: the
/// largest ratio between the cost in a batch and that in any smaller one.
std::optional<double> worst_growth(const contestant_result& of,
                                   const std::vector<column>& sizes) {
  double cheapest = INFINITY;
  double worst = 1;
  for (const auto& size : sizes) {
    auto cost = of.median(size.key);
    if (!cost)
      return std::nullopt;
    worst = std::max(worst, *cost / cheapest);
    cheapest = std::min(cheapest, *cost);
  }
  return worst;
}

target grows_like_floor(const char* who) {
  return {fmt::format("{}: never grows 20 % more than the floor does", who),
          [who](const row_result& in) -> std::optional<verdict> {
            const auto* floor = in.find("floor");
            const auto* ours = in.find(who);
            auto most = floor ? worst_growth(*floor, in.columns) : std::nullopt;
            auto growth = ours ? worst_growth(*ours, in.columns) : std::nullopt;
            if (!most || !growth)
              return std::nullopt;
            auto limit = *most * 1.2;
            return verdict{*growth, limit, *growth <= limit,
                           "floor's growth × 1.2"};
          }};
}

contestant growth_contestant(const contender& who,
                             const std::vector<std::size_t>& sizes) {
  return {who.name, who.role, sizes.back(), [who, sizes] {
            auto group = who.make({.what = noop{}, .workers = workers});
            sample result;
            for (auto count : sizes) {
              auto inputs = counting(count);
              timed_batch(*group, inputs);
              auto took =
                  repeated(budget, [&] { return timed_batch(*group, inputs); });
              auto n = static_cast<double>(count);
              result.values[fmt::format("ns_{}", count)] = took.wall / n * 1e9;
              result.values[fmt::format("cpu_ns_{}", count)] =
                  took.cpu / n * 1e9;
            }
            return result;
          }};
}

row build_growth(const row_options& options) {
  std::vector<std::size_t> sizes{1'000, 10'000, 100'000, 1'000'000};
  // Peers stop earlier: their queues would take gigabytes.
  auto peer_sizes = sizes;
  if (!options.quick)
    sizes.push_back(10'000'000);
  else
    peer_sizes.pop_back();
  row result;
  result.title =
      fmt::format("growth from {} to {} no-op requests, {} workers",
                  grouped(sizes.front()), grouped(sizes.back()), workers);
  for (auto count : sizes)
    result.columns.push_back(
        {fmt::format("ns_{}", count),
         fmt::format("ns at 10^{}", std::lround(std::log10(count)))});
  for (const auto& who : field(make_bare_floor))
    result.contestants.push_back(
        growth_contestant(who, who.role == role::peer ? peer_sizes : sizes));
  // Many results are memory that is new each time: these tell what it costs.
  contender with_results{"floor + results", role::extra, make_floor};
  contender without{"troupe - results", role::troupe, make_troupe_void};
  result.contestants.insert(result.contestants.begin() + 1,
                            growth_contestant(with_results, sizes));
  result.contestants.insert(result.contestants.begin() + 3,
                            growth_contestant(without, sizes));
  result.targets = {grows_like_floor("troupe"),
                    grows_like_floor("troupe - results")};
  return result;
}

// -- operations that differ ---------------------------------------------------

row build_gather_different(const row_options& options) {
  const std::size_t count = options.quick ? 100'000 : 1'000'000;
  const std::size_t python_count = count / 20;
  row result;
  result.title = fmt::format("gather of {} different operations, {} workers",
                             grouped(count), workers);
  result.columns = {{"ns", "ns/request"}, {"cpu_ns", "CPU ns"}};
  auto contenders = field(make_bare_floor);
  // A floor does not know what differs.
  contenders.erase(contenders.begin());
  for (const auto& who : contenders)
    result.contestants.push_back(
        {who.name, who.role, count, [who, count] {
           auto group = who.make({.what = noop{}, .workers = workers});
           auto run = [&] {
             stopwatch watch;
             auto results = group->gather_different(count);
             auto took = watch.read();
             check_results(results, count, expected_different);
             return took;
           };
           run(); // warms threads and heap
           auto took = repeated(budget, run);
           auto n = static_cast<double>(count);
           return sample{
               {{"ns", took.wall / n * 1e9}, {"cpu_ns", took.cpu / n * 1e9}},
               {}};
         }});
  result.contestants.push_back(
      python(python_count, {"different", std::to_string(python_count),
                            std::to_string(workers)}));
  result.targets = {at_most("at most 1/2 of the best peer", "troupe", "ns", 0.5,
                            best_peer("ns"))};
  return result;
}

} // namespace

std::vector<row_spec> map_rows() {
  return {
      {"noop_map", "map of no-op requests", build_noop_map},
      {"growth", "no-op batches of growing size", build_growth},
      {"gather_different", "gather of operations that all differ",
       build_gather_different},
      {"statistics", "what always-on statistics cost", build_statistics},
  };
}

} // namespace bench
