// Rows about operations: a million outstanding at once, what deadlines, tokens
// and outcomes add to a batch, a stream of ten million, and an urgent request
// behind a million others.

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "memory_use.hpp"
#include "rows.hpp"
#include "timing.hpp"

namespace bench {

namespace {

constexpr std::size_t workers = 8;

/// Seconds that the runs of one sample take together, at least.
constexpr double budget = 0.1;

sample per_request(const elapsed& took, std::size_t count) {
  auto n = static_cast<double>(count);
  return {{{"ns", took.wall / n * 1e9}, {"cpu_ns", took.cpu / n * 1e9}}, {}};
}

// -- single requests outstanding ----------------------------------------------

contestant outstanding_contestant(const contender& who,
                                  const std::vector<std::size_t>& sizes) {
  return {who.name, who.role, sizes.back(), [who, sizes] {
            auto group = who.make({.what = noop{}, .workers = workers});
            sample result;
            for (auto count : sizes) {
              auto inputs = counting(count);
              auto run = [&] {
                stopwatch watch;
                auto results = group->one_by_one(inputs);
                auto took = watch.read();
                group->check(results, noop{}, inputs);
                return took;
              };
              run(); // warms threads and heap
              auto took = repeated(budget, run);
              auto n = static_cast<double>(count);
              result.values[fmt::format("ns_{}", count)] = took.wall / n * 1e9;
              result.values[fmt::format("cpu_ns_{}", count)] =
                  took.cpu / n * 1e9;
            }
            return result;
          }};
}

/// The cost in the largest batch against that in the smallest one.
target stays_linear(const std::string& who, const std::string& small,
                    const std::string& large) {
  return {fmt::format("{}: at most 1.5 times as dear each", who),
          [=](const row_result& in) -> std::optional<verdict> {
            const auto* ours = in.find(who);
            auto few = ours ? ours->median(small) : std::nullopt;
            auto many = ours ? ours->median(large) : std::nullopt;
            if (!few || !many)
              return std::nullopt;
            auto growth = *many / *few;
            return verdict{growth, 1.5, growth <= 1.5, "a tenth as many"};
          }};
}

row build_outstanding(const row_options& options) {
  const std::size_t large = options.quick ? 100'000 : 1'000'000;
  const std::size_t small = large / 10;
  row result;
  result.title = fmt::format("{} single requests outstanding at once, {} "
                             "workers",
                             grouped(large), workers);
  auto key = [](std::size_t n) { return fmt::format("ns_{}", n); };
  result.columns = {{key(small), fmt::format("ns of {}", grouped(small))},
                    {key(large), fmt::format("ns of {}", grouped(large))}};
  result.contestants = {
      outstanding_contestant({"troupe then", role::troupe, make_troupe_then},
                             {small, large}),
      outstanding_contestant({"troupe task", role::troupe, make_troupe_task},
                             {small, large}),
  };
  for (const auto& who : peers())
    result.contestants.push_back(outstanding_contestant(who, {small, large}));
  for (auto who : {"troupe then", "troupe task"}) {
    result.targets.push_back(
        at_most(fmt::format("{}: at most the best peer", who), who, key(large),
                1, best_peer(key(large))));
    result.targets.push_back(stays_linear(who, key(small), key(large)));
  }
  return result;
}

// -- what modifiers cost ------------------------------------------------------

contestant map_contestant(const contender& who, std::size_t count) {
  return {who.name, who.role, count, [who, count] {
            auto inputs = counting(count);
            auto group = who.make({.what = noop{}, .workers = workers});
            auto run = [&] {
              stopwatch watch;
              group->start(inputs);
              auto results = group->finish();
              auto took = watch.read();
              group->check(results, noop{}, inputs);
              return took;
            };
            run();
            return per_request(repeated(budget, run), count);
          }};
}

row build_limits(const row_options& options) {
  const std::size_t count = options.quick ? 100'000 : 1'000'000;
  row result;
  result.title = fmt::format("map of {} no-op requests with a deadline or a "
                             "token",
                             grouped(count));
  result.columns = {{"ns", "ns/request"}, {"cpu_ns", "CPU ns"}};
  result.contestants = {
      map_contestant({"plain", role::extra, make_troupe}, count),
      map_contestant({"deadline", role::troupe, make_troupe_deadline}, count),
      map_contestant({"token", role::troupe, make_troupe_token}, count),
  };
  for (auto who : {"deadline", "token"})
    result.targets.push_back(
        at_most(fmt::format("{}: at most 1.2 × plain", who), who, "ns", 1.2,
                named("plain")));
  return result;
}

contestant gather_contestant(const contender& who, std::size_t count) {
  return {who.name, who.role, count, [who, count] {
            auto group = who.make({.what = noop{}, .workers = workers});
            auto run = [&] {
              stopwatch watch;
              auto results = group->gather_different(count);
              auto took = watch.read();
              check_results(results, count, expected_different);
              return took;
            };
            run();
            return per_request(repeated(budget, run), count);
          }};
}

row build_settled(const row_options& options) {
  const std::size_t count = options.quick ? 100'000 : 1'000'000;
  row result;
  result.title =
      fmt::format("gather_settled of {} different operations", grouped(count));
  result.columns = {{"ns", "ns/request"}, {"cpu_ns", "CPU ns"}};
  result.contestants = {
      gather_contestant({"gather", role::extra, make_troupe}, count),
      gather_contestant({"settled", role::troupe, make_troupe_settled}, count),
  };
  result.targets = {
      at_most("at most 1.5 × gather", "settled", "ns", 1.5, named("gather"))};
  return result;
}

// -- streams ------------------------------------------------------------------

row build_stream(const row_options& options) {
  const std::uint64_t large = options.quick ? 100'000 : 10'000'000;
  const std::uint64_t small = options.quick ? 10'000 : 100'000;
  row result;
  result.title =
      fmt::format("imap of {} no-op requests, 1,024 in flight", grouped(large));
  result.columns = {{"ns", "ns/element"},
                    {"cpu_ns", "CPU ns"},
                    {"growth_mb", "peak growth MB", 2}};
  result.contestants = {
      {"troupe", role::troupe, large, [large, small] {
         auto group = make_troupe({.what = noop{}, .workers = workers});
         auto run = [&](std::uint64_t count) {
           std::uint64_t next = 0;
           stopwatch watch;
           group->stream(count, [&](std::uint64_t x) {
             if (x != ++next)
               throw std::runtime_error{
                   fmt::format("element {} is {}", next - 1, x)};
           });
           if (next != count)
             throw std::runtime_error{
                 fmt::format("{} of {} elements came", next, count)};
           return watch.read();
         };
         run(small);
         reset_peak();
         run(small);
         auto before = status_bytes("VmHWM");
         auto took = run(large);
         auto measured = per_request(took, large);
         measured.values["growth_mb"] = (status_bytes("VmHWM") - before) / 1e6;
         return measured;
       }}};
  result.targets = {{"peak memory within 10 MB of a hundredth as many",
                     [](const row_result& in) -> std::optional<verdict> {
                       auto growth = in.find("troupe")->median("growth_mb");
                       if (!growth)
                         return std::nullopt;
                       return verdict{*growth, 10, *growth <= 10, ""};
                     }}};
  return result;
}

// -- urgent -------------------------------------------------------------------

row build_urgent(const row_options& options) {
  const std::size_t count = options.quick ? 100'000 : 1'000'000;
  row result;
  result.title = fmt::format("one urgent request behind {} of 1 ms, {} workers",
                             grouped(count), workers);
  result.columns = {{"ms", "ms to its start", 3}, {"worst_ms", "worst ms", 3}};
  result.contestants = {
      {"troupe", role::troupe, count, [count] {
         auto inputs = counting(count);
         auto group = make_troupe_token(
             {.what = nap{std::chrono::milliseconds{1}}, .workers = workers});
         group->start(inputs);
         std::vector<double> delays;
         for (int i = 0; i < 101; ++i) {
           // By then the worker of the last one is inside a nap again.
           std::this_thread::sleep_for(std::chrono::milliseconds{3});
           delays.push_back(group->urgent_delay() * 1e3);
         }
         group->give_up();
         std::sort(delays.begin(), delays.end());
         return sample{
             {{"ms", delays[delays.size() / 2]}, {"worst_ms", delays.back()}},
             {}};
       }}};
  result.targets = {{"at most 2 ms and a wake-up of 0.1 ms",
                     [](const row_result& in) -> std::optional<verdict> {
                       auto delay = in.find("troupe")->median("ms");
                       if (!delay)
                         return std::nullopt;
                       return verdict{*delay, 2.1, *delay <= 2.1, ""};
                     }}};
  return result;
}

} // namespace

std::vector<row_spec> operation_rows() {
  return {
      {"outstanding", "single requests outstanding at once", build_outstanding},
      {"limits", "what a deadline or a token costs a batch", build_limits},
      {"settled", "outcomes against results", build_settled},
      {"stream", "a stream of results", build_stream},
      {"urgent", "an urgent request behind many", build_urgent},
  };
}

} // namespace bench
