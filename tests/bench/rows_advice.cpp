// A row about the advisor: a real pool is measured with more workers than it
// needs, asked how many it does need for its calls not to wait longer than a
// goal, and measured with that many, under the same load. Calls arrive by
// chance and take by chance.

#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "rows.hpp"

#include "troupe/advisor.hpp"
#include "troupe/troupe.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;
using std::chrono::duration;
using std::chrono::nanoseconds;
using clock = std::chrono::steady_clock;
using seconds = duration<double>;

// Eight workers are busy on average.
constexpr double arrivals_per_second = 400;
constexpr seconds call_time = 20ms;
constexpr std::size_t plenty = 32;
constexpr troupe::sizing_goal goal{.share = 0.9, .wait = 5ms};

/// What came of a stretch of that load.
struct stretch {
  troupe::pool_stats stats;
  /// The share of the calls that began within the goal.
  double in_time = 0;
};

stretch run_load(std::size_t workers, seconds length, unsigned seed) {
  troupe::config cfg;
  caf::actor_system sys{cfg};
  troupe::pool pool{sys, {.name = "bench", .workers = workers}};
  // As many as may be needed, before the clock runs.
  pool.map(std::vector<int>(workers),
           [](int) { std::this_thread::sleep_for(10ms); })
      .get();
  std::mt19937 random{seed};
  std::exponential_distribution<> until_next{arrivals_per_second};
  std::exponential_distribution<> takes{1 / call_time.count()};
  std::vector<troupe::operation<nanoseconds>> calls;
  auto begin = clock::now();
  for (auto due = until_next(random); due < length.count();
       due += until_next(random)) {
    std::this_thread::sleep_until(
        begin + std::chrono::duration_cast<clock::duration>(seconds{due}));
    calls.push_back(
        pool.run([asked = clock::now(), length = seconds{takes(random)}] {
              auto waited = clock::now() - asked;
              std::this_thread::sleep_for(length);
              return nanoseconds{waited};
            })
            .label("call")
            .start());
  }
  std::size_t in_time = 0;
  for (auto& x : calls)
    in_time += std::move(x).get() <= goal.wait;
  return {pool.stats(),
          static_cast<double>(in_time) / static_cast<double>(calls.size())};
}

// `less`: so many fewer than advised.
sample measure_advice(seconds length, std::size_t less) {
  auto before = run_load(plenty, length, 1);
  auto advised = troupe::advise(before.stats, goal);
  if (advised.workers <= less)
    throw std::runtime_error{"there is no advice: " + advised.sentence};
  auto after = run_load(advised.workers - less, length, 2);
  sample result;
  result.values["workers"] = static_cast<double>(advised.workers - less);
  result.values["in_time"] = after.in_time;
  if (advised.wait)
    result.values["predicted"] =
        duration<double, std::milli>{*advised.wait}.count();
  return result;
}

std::optional<double> in_time(const row_result& in, const char* who) {
  auto found = in.find(who);
  return found ? found->median("in_time") : std::nullopt;
}

row build_advice(const row_options& options) {
  auto length = seconds{options.quick ? 5.0 : 20.0};
  row result;
  result.title = fmt::format(
      "{:.0f} calls a second of 20 ms, both by chance; goal: {:.0f} % begin "
      "within 5 ms",
      arrivals_per_second, goal.share * 100);
  result.columns = {{"in_time", "began within 5 ms", 3, false},
                    {"workers", "workers", 0},
                    {"predicted", "predicted: 90 % within ms", 1}};
  result.contestants = {
      {"as advised", role::troupe, 0,
       [=] { return measure_advice(length, 0); }},
      {"3 fewer", role::extra, 0, [=] { return measure_advice(length, 3); }},
  };
  result.targets = {
      {"as advised: 0.9 of the calls within the goal, to within 0.03",
       [](const row_result& in) -> std::optional<verdict> {
         auto share = in_time(in, "as advised");
         if (!share)
           return std::nullopt;
         return verdict{*share, 0.87, *share >= 0.87, ""};
       }},
      {"three fewer: the goal is missed",
       [](const row_result& in) -> std::optional<verdict> {
         auto share = in_time(in, "3 fewer");
         if (!share)
           return std::nullopt;
         return verdict{*share, 0.9, *share < 0.9, ""};
       }}};
  return result;
}

} // namespace

std::vector<row_spec> advice_rows() {
  return {{"advice", "the advisor against a real pool", build_advice}};
}

} // namespace bench
