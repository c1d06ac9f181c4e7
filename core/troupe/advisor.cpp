#include "troupe/advisor.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "troupe/defaults.hpp"
#include "troupe/erlang.hpp"
#include "troupe/error.hpp"
#include "troupe/readable.hpp"
#include "troupe/stats.hpp"

namespace troupe {

namespace {

// Above this share workers were as good as always busy, and what arrived is
// what they could serve.
constexpr double always_busy = 0.95;

// A pool that is always busy should have so many times the workers next.
constexpr std::size_t next_step = 2;

// Below this share a request waits for something else than the CPU, and cores
// say nothing about workers.
constexpr double hardly_computes = 0.05;

// Nineteen out of twenty lie within so many standard deviations.
constexpr double deviations = 1.96;

std::atomic<bool> at_end{false};

std::chrono::nanoseconds in_time(double ns) noexcept {
  auto longest = static_cast<double>(histogram::limit.count());
  return std::chrono::nanoseconds{
      static_cast<std::int64_t>(std::min(ns, longest))};
}

void check(const sizing_goal& goal) {
  if (!(goal.share > 0 && goal.share < 1))
    throw failure{ec::invalid_option,
                  fmt::format("cannot advise for the share {} of the requests: "
                              "it lies between 0 and 1",
                              goal.share)};
  if (goal.wait.count() < 0)
    throw failure{ec::invalid_option,
                  fmt::format("cannot advise for a wait of {}: 0 and more are "
                              "accepted",
                              readable(goal.wait))};
  if (goal.max_connections == std::size_t{0})
    throw failure{ec::invalid_option,
                  "cannot advise for a service that takes 0 calls at once: 1 "
                  "and more are accepted"};
}

// How many workers there can be, and why not more.
struct ceiling {
  std::size_t workers = defaults::workers_limit;
  sizing_limit why = sizing_limit::none;
};

std::size_t cores_of(const sizing_goal& goal) noexcept {
  return goal.cores > 0 ? goal.cores
                        : std::max(std::thread::hardware_concurrency(), 1u);
}

ceiling ceiling_of(const workload& seen, const sizing_goal& goal) {
  ceiling result{defaults::workers_limit, sizing_limit::workers};
  if (seen.cpu_share.value_or(0) > hardly_computes) {
    auto fit = std::floor(static_cast<double>(cores_of(goal))
                          / std::min(*seen.cpu_share, 1.0));
    auto workers = std::max<std::size_t>(1, static_cast<std::size_t>(fit));
    if (workers < result.workers)
      result = {workers, sizing_limit::cores};
  }
  if (goal.max_connections && *goal.max_connections < result.workers)
    result = {*goal.max_connections, sizing_limit::connections};
  return result;
}

sureness sureness_of(double error) noexcept {
  return error <= 0.05   ? sureness::good
         : error <= 0.25 ? sureness::fair
                         : sureness::poor;
}

std::string_view in_words(sureness sure) noexcept {
  return sure == sureness::good   ? "well"
         : sure == sureness::fair ? "fairly well"
                                  : "poorly";
}

std::string of_limit(sizing_limit why, std::size_t most, const workload& seen,
                     const sizing_goal& goal) {
  switch (why) {
  case sizing_limit::cores:
    return fmt::format(
        "cores: a request computes {} of the time it runs, so more than {} "
        "{} cannot help on {} {}{}",
        readable_share(*seen.cpu_share), most, most == 1 ? "worker" : "workers",
        cores_of(goal), cores_of(goal) == 1 ? "core" : "cores",
        // One with no more workers than cores, as a compute_pool has, gains
        // nothing by becoming one.
        *seen.cpu_share >= 0.9 && seen.workers > cores_of(goal)
            ? "; use compute_pool"
            : "");
  case sizing_limit::connections:
    return fmt::format("the service behind: it takes {} {} at once", most,
                       most == 1 ? "call" : "calls");
  case sizing_limit::workers:
    return fmt::format("a pool has at most {} workers", most);
  case sizing_limit::none:
    break;
  }
  return {};
}

void add_line(advice& to, std::string_view line) {
  to.text += fmt::format("\n  {}", line);
}

std::string at_most(const std::optional<std::chrono::nanoseconds>& wait) {
  return wait ? fmt::format("no longer than {}", readable(*wait))
              : std::string{"longer and longer"};
}

} // namespace

advice advise(const workload& seen, const sizing_goal& goal) {
  check(goal);
  advice result;
  auto samples = seen.ran.count();
  if (samples == 0) {
    result.sentence =
        fmt::format("pool '{}': no advice: no request has run yet", seen.pool);
    result.text = result.sentence;
    return result;
  }
  auto service = seen.ran.mean();
  auto observed = std::max(seen.observed, std::chrono::nanoseconds{1});
  erlang::traffic traffic{
      static_cast<double>(seen.arrived) / static_cast<double>(observed.count()),
      static_cast<double>(service.count()), seen.ran.squared_variation()};
  auto top = ceiling_of(seen, goal);
  auto wanted_wait = static_cast<double>(goal.wait.count());
  auto wait_with =
      [&](std::size_t n) -> std::optional<std::chrono::nanoseconds> {
    auto ns = erlang::wait_quantile(n, traffic, goal.share);
    return std::isinf(ns) ? std::nullopt : std::optional{in_time(ns)};
  };
  auto workers_at = [&](double factor) {
    auto scaled = traffic;
    scaled.rate *= factor;
    return erlang::workers_for(scaled, goal.share, wanted_wait, top.workers);
  };

  auto automatic = seen.automatic_limit > 0;
  result.load = erlang::load(traffic);
  // The mean of service times and the number of arrivals are both known the
  // better the more requests there were.
  auto error =
      deviations
      * std::sqrt((1 + traffic.variation) / static_cast<double>(samples));
  result.sure = sureness_of(error);
  auto measured_wait = seen.waited.quantile(goal.share);
  result.saturated =
      seen.utilisation >= always_busy && measured_wait > goal.wait;
  result.workers = workers_at(1);
  result.least = workers_at(std::max(0.0, 1 - error));
  result.most = workers_at(1 + error);
  if (result.saturated) {
    // One that sizes itself has tried.
    result.workers =
        automatic ? seen.workers
                  : std::min(top.workers, std::max(result.workers,
                                                   next_step * seen.workers));
    result.least = std::min(result.workers, seen.workers);
    result.most = automatic ? seen.workers : top.workers;
  }
  result.wait = wait_with(result.workers);
  auto reached = result.wait && *result.wait <= goal.wait && !result.saturated;
  if (!reached && result.workers == top.workers && !automatic)
    result.limit = top.why;

  // -- as text ----------------------------------------------------------------

  auto aim = fmt::format("{} wait no longer than {}",
                         readable_share(goal.share), readable(goal.wait));
  auto noun = result.workers == 1 ? "worker" : "workers";
  auto now = fmt::format("{}{}", seen.workers, automatic ? ", auto" : "");
  if (result.limit != sizing_limit::none)
    result.sentence = fmt::format(
        "pool '{}': {} {} (now {}); no number reaches '{}'; limited by {}",
        seen.pool, result.workers, noun, now, aim,
        of_limit(result.limit, top.workers, seen, goal));
  else if (result.saturated && automatic)
    result.sentence =
        seen.workers < seen.automatic_limit
            ? fmt::format("pool '{}': {} {}, to which it sized itself: busy {} "
                          "of the time, and more brought no more",
                          seen.pool, seen.workers, noun,
                          readable_share(seen.utilisation))
            : fmt::format("pool '{}': {} {}, to which it sized itself: busy {} "
                          "of the time, and troupe.workers-limit allows no "
                          "more; raise it",
                          seen.pool, seen.workers, noun,
                          readable_share(seen.utilisation));
  else if (result.saturated)
    result.sentence = fmt::format(
        "pool '{}': try {} {} next (now {}, busy {} of the time: how many "
        "could be used is not known)",
        seen.pool, result.workers, noun, now, readable_share(seen.utilisation));
  else
    result.sentence = fmt::format(
        "pool '{}': {} {} (now {}), so that {}; known {}", seen.pool,
        result.workers, noun, now, aim, in_words(result.sure));

  result.text = result.sentence;
  add_line(result,
           fmt::format("load = rate x service = {:.4g}/s x {} = {:.3g} busy "
                       "workers (Little's law)",
                       traffic.rate * 1e9, readable(service), result.load));
  add_line(
      result,
      fmt::format("with {} {}: {} wait, {} of all {} (Erlang C, service times "
                  "vary by {:.2g})",
                  result.workers, noun,
                  readable_share(erlang::waiting(result.workers, result.load)),
                  readable_share(goal.share), at_most(result.wait),
                  std::sqrt(traffic.variation)));
  if (seen.workers > 0)
    add_line(result,
             fmt::format("with {} as now: {} {} by the same formula, {} as "
                         "measured",
                         seen.workers, readable_share(goal.share),
                         at_most(wait_with(seen.workers)),
                         at_most(measured_wait)));
  // Exponential waits have a long tail; what is far beyond it has another
  // cause.
  auto predicted = seen.workers > 0 ? wait_with(seen.workers) : std::nullopt;
  if (!result.saturated && predicted
      && measured_wait > 2 * *predicted + std::chrono::milliseconds{1})
    add_line(result, "requests come in bursts, not at random: those at the end "
                     "of a burst wait longer than the formula says");
  if (automatic)
    add_line(result, fmt::format("the pool sizes itself while requests wait "
                                 "(workers = auto, up to {})",
                                 seen.automatic_limit));
  else if (result.saturated)
    add_line(result,
             fmt::format("the workers were busy {} of the time, so no more "
                         "could arrive than they served: twice as many is a "
                         "step, not an answer; measure again",
                         readable_share(seen.utilisation)));
  if (result.limit == sizing_limit::none && top.why != sizing_limit::workers)
    add_line(result, fmt::format("the most that could help: {}",
                                 of_limit(top.why, top.workers, seen, goal)));
  if (seen.refused > 0)
    add_line(result,
             fmt::format("max-queued = {} turned {} submissions away, which "
                         "the rate does not count",
                         seen.max_queued, seen.refused));
  if (seen.blocked_by_key > 0)
    add_line(result,
             fmt::format("a per-key limit held up {} of {} submissions: these "
                         "waited for their key, and more workers do not help "
                         "them",
                         seen.blocked_by_key, seen.submissions));
  if (!seen.cpu_share)
    add_line(result, "CPU time was not measured: cores may limit sooner");
  else
    add_line(result, fmt::format("a request computes {} of the time it runs",
                                 readable_share(*seen.cpu_share)));
  auto range =
      result.least == result.most
          ? std::string{}
          : fmt::format(": {} to {} workers", result.least, result.most);
  add_line(result,
           fmt::format("known {}: {} {} in {} tell the load to within "
                       "{}{}",
                       in_words(result.sure), samples,
                       samples == 1 ? "request" : "requests",
                       readable(observed), readable_share(error), range));
  return result;
}

advice advise(const pool_stats& stats, const sizing_goal& goal) {
  auto all = stats.total();
  workload seen;
  seen.pool = stats.name;
  seen.arrived = stats.arrived;
  seen.observed = stats.active;
  seen.waited = std::move(all.waited);
  seen.ran = std::move(all.ran);
  seen.cpu_share = all.cpu_share();
  seen.workers = stats.max_workers;
  auto time = static_cast<double>(stats.offered.count());
  if (time > 0)
    seen.utilisation =
        std::min(1.0, static_cast<double>(stats.busy_time.count()) / time);
  if (stats.automatic)
    seen.automatic_limit = stats.workers_limit;
  seen.refused = stats.refused;
  seen.max_queued = stats.max_queued;
  seen.blocked_by_key = stats.blocked_by_key;
  seen.submissions = stats.submissions;
  return advise(seen, goal);
}

void advise_at_end(bool yes) noexcept {
  at_end.store(yes, std::memory_order_relaxed);
}

bool advises_at_end() noexcept {
  return at_end.load(std::memory_order_relaxed);
}

} // namespace troupe
