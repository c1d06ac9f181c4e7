#include "troupe/stats.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "troupe/options.hpp"
#include "troupe/readable.hpp"

namespace troupe {

namespace {

using row = std::vector<std::string>;

row header() {
  return {"label",      "succeeded", "failed", "cancelled", "expired", "late",
          "waited p50", "p90",       "p99",    "max",       "ran p50", "p90",
          "p99",        "max",       "CPU",    "kind"};
}

void add_quantiles(row& to, const histogram& of) {
  for (auto q : {0.5, 0.9, 0.99})
    to.push_back(of.count() ? readable(of.quantile(q)) : "-");
  to.push_back(of.count() ? readable(of.max()) : "-");
}

row row_of(const label_stats& of, std::string name) {
  row result{std::move(name)};
  for (auto n : {of.succeeded, of.failed, of.cancelled, of.expired, of.late})
    result.push_back(fmt::format("{}", n));
  add_quantiles(result, of.waited);
  add_quantiles(result, of.ran);
  auto share = of.cpu_share();
  result.push_back(share ? readable_share(*share) : "-");
  result.emplace_back(share ? of.bound() : "-");
  return result;
}

// The first column to the left, numbers to the right.
std::string lay_out(const std::vector<row>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& x : rows)
    for (std::size_t i = 0; i < x.size(); ++i)
      widths[i] = std::max(widths[i], x[i].size());
  std::string result;
  for (const auto& x : rows) {
    fmt::format_to(std::back_inserter(result), "  {:<{}}", x[0], widths[0]);
    for (std::size_t i = 1; i < x.size(); ++i)
      fmt::format_to(std::back_inserter(result), "  {:>{}}", x[i], widths[i]);
    result += '\n';
  }
  return result;
}

} // namespace

std::optional<double> label_stats::cpu_share() const noexcept {
  if (sampled < std::chrono::milliseconds{1})
    return std::nullopt;
  return static_cast<double>(computed.count())
         / static_cast<double>(sampled.count());
}

std::string_view label_stats::bound() const noexcept {
  auto share = cpu_share();
  return !share          ? std::string_view{}
         : *share >= 0.9 ? std::string_view{"CPU-bound"}
         : *share <= 0.5 ? std::string_view{"I/O-bound"}
                         : std::string_view{"mixed"};
}

void label_stats::merge(const label_stats& other) noexcept {
  succeeded += other.succeeded;
  failed += other.failed;
  cancelled += other.cancelled;
  expired += other.expired;
  late += other.late;
  waited.merge(other.waited);
  ran.merge(other.ran);
  computed += other.computed;
  sampled += other.sampled;
}

label_stats pool_stats::total() const {
  label_stats result;
  for (const auto& x : labels)
    result.merge(x);
  return result;
}

std::string to_string(const pool_stats& stats) {
  auto result = fmt::format(
      "pool '{}': {} of {} workers{}: {} busy, {} stuck, {} idle; "
      "longest running {}; busy "
      "{} of 1 s, {} of 10 s, {} of 60 s\n",
      stats.name, stats.workers, stats.max_workers,
      stats.automatic ? fmt::format(" (auto, {} to {})", stats.least_workers,
                                    stats.workers_limit)
                      : std::string{},
      stats.busy, stats.stuck, stats.idle, readable(stats.longest_running),
      readable_share(stats.busy_1s), readable_share(stats.busy_10s),
      readable_share(stats.busy_60s));
  result += fmt::format("queue: {} queued, the oldest for {}; {} refused\n",
                        stats.queued + stats.waiting,
                        readable(stats.oldest_queued), stats.refused);
  if (stats.workers_lost + stats.threads_refused + stats.failed_starts > 0)
    result += fmt::format("trouble: {} workers ended without being told to, {} "
                          "threads were refused, {} starts failed; {} workers "
                          "are missing\n",
                          stats.workers_lost, stats.threads_refused,
                          stats.failed_starts, stats.missing);
  if (const auto& of = stats.resource; of.opens + of.open_failures > 0)
    result += fmt::format(
        "resources: {} open, {} opened, {} failed to open{}, {} workers wait "
        "for one\n",
        of.opens - of.closes, of.opens, of.open_failures,
        of.last_open_error.empty()
            ? std::string{}
            : fmt::format(" ({})", on_one_line(of.last_open_error)),
        of.unavailable);
  std::vector<row> rows{header()};
  for (const auto& x : stats.labels)
    rows.push_back(row_of(x, x.label.empty() ? "-" : on_one_line(x.label)));
  auto all = stats.total();
  if (stats.labels.size() != 1)
    rows.push_back(row_of(all, "all"));
  result += lay_out(rows);
  if (auto n = all.waited.clamped() + all.ran.clamped(); n > 0)
    result += fmt::format("  {} times are longer than ten days, which is the "
                          "longest that is told apart\n",
                          n);
  if (auto n = all.waited.lost() + all.ran.lost(); n > 0)
    result += fmt::format("  {} times are not in here: there was no memory to "
                          "count them\n",
                          n);
  return result;
}

} // namespace troupe
