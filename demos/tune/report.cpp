// Tables, plots and sentences; see the header.
#include "report.hpp"

#include "parts/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace tune {

namespace {

constexpr std::size_t plot_rows = 8;

// Below this share, cores say nothing about workers.
constexpr double hardly_computes = 0.05;

// Rounds that differ by more than this part of their median make a knee that
// is 10 % below the best a matter of luck. A guess.
constexpr double doubtful_range = 0.25;

std::string percent(double part) {
  return fmt::format("{:.0f} %", part * 100);
}

std::string counted(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", parts::human_count(count), noun,
                     count == 1 ? "" : "s");
}

std::string rates_text(const measured& row) {
  auto [least, most] = std::minmax_element(row.rates.begin(), row.rates.end());
  if (row.rates.size() < 2)
    return "-";
  return rate_text(*least) + ".." + rate_text(*most);
}

std::string joined(const std::vector<std::string>& parts) {
  std::string result;
  for (std::size_t i = 0; i < parts.size(); ++i)
    result += (i == 0 ? "" : i + 1 == parts.size() ? " and " : ", ") + parts[i];
  return result;
}

bool is_knee(const summary& all, const measured& row) {
  return all.found && &all.rows[all.found->at] == &row;
}

} // namespace

std::string rate_text(double a_second) {
  if (a_second <= 0)
    return "0";
  if (a_second >= 999.5)
    return parts::human_count(static_cast<std::uint64_t>(a_second + 0.5));
  auto digits = a_second >= 99.95    ? 0
                : a_second >= 9.995  ? 1
                : a_second >= 0.9995 ? 2
                                     : 3;
  return fmt::format("{:.{}f}", a_second, digits);
}

std::string table(const summary& all) {
  auto result = fmt::format(
      "  {:>7}  {:>10}  {:>17}  {:>7}  {:>8}  {:>8}  {:>7}  {:>6}\n", "workers",
      fmt::format("{}s/s", all.noun), "lowest..highest", "of best", "p50",
      "p99", "failed", "rounds");
  auto best = all.found ? all.rows[all.found->best].rate() : 0;
  for (const auto& row : all.rows)
    result += fmt::format(
        "{} {:>7}  {:>10}  {:>17}  {:>7}  {:>8}  {:>8}  {:>7}  {:>6}\n",
        is_knee(all, row) ? '>' : ' ', row.workers, rate_text(row.rate()),
        rates_text(row), best > 0 ? percent(row.rate() / best) : "-",
        parts::human(row.times.ran.quantile(0.5)),
        parts::human(row.times.ran.quantile(0.99)),
        parts::human_count(row.failed), row.rates.size());
  return result;
}

std::string plot(const summary& all) {
  auto most = 0.0;
  std::size_t width = 3;
  for (const auto& row : all.rows) {
    most = std::max(most, row.rate());
    width = std::max(width, std::to_string(row.workers).size());
  }
  if (most <= 0)
    return {};
  auto title = fmt::format("{}s/s", all.noun);
  std::string result = fmt::format("{:>10}\n", title);
  for (auto level = plot_rows; level > 0; --level) {
    auto label = level == plot_rows       ? rate_text(most)
                 : level == plot_rows / 2 ? rate_text(most / 2)
                                          : std::string{};
    auto line = fmt::format("{:>10} |", label);
    for (const auto& row : all.rows) {
      auto height = std::lround(row.rate() / most * plot_rows);
      auto filled = height >= static_cast<long>(level);
      line += fmt::format(" {:>{}}", std::string(filled ? width - 1 : 0, '#'),
                          width);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + '\n';
  }
  result += fmt::format("{:>10} +{}\n", "0",
                        std::string(all.rows.size() * (width + 1), '-'));
  auto sizes = fmt::format("{:>10}  ", "workers");
  std::string mark;
  for (const auto& row : all.rows) {
    sizes += fmt::format(" {:>{}}", row.workers, width);
    if (is_knee(all, row))
      mark = std::string(sizes.size() - 1, ' ') + "^ knee\n";
  }
  return result + sizes + '\n' + mark;
}

// -- sentences ----------------------------------------------------------------

std::string knee_sentence(const summary& all) {
  if (all.rows.empty() && all.interrupted)
    return "interrupted before anything was measured";
  if (!all.found && all.failed.requests == 0)
    return fmt::format("nothing was measured, so nothing is recommended: a {} "
                       "takes too long for so little time",
                       all.noun);
  if (!all.found)
    return fmt::format("no {} succeeded: nothing to recommend", all.noun);
  const auto& knee = all.rows[all.found->at];
  const auto& best = all.rows[all.found->best];
  auto result = fmt::format("knee: {}, ", counted(knee.workers, "worker"));
  if (all.rows.size() == 1)
    return result + "the only number that was tried";
  result += fmt::format(
      "the smallest number whose median throughput, {}/s, is within {} of the "
      "best",
      rate_text(knee.rate()), percent(all.within));
  result += &knee == &best ? std::string{": it is the best"}
                           : fmt::format(", {}/s with {}",
                                         rate_text(best.rate()), best.workers);
  if (!still_rises(all.rows, *all.found))
    return result;
  if (best.workers < all.most || all.interrupted)
    return result + "; it still rises there, and more was not tried";
  if (all.most_is_all)
    return result + "; it still rises there, and there are no more lines";
  return result
         + fmt::format("; it still rises there: try --most={}", all.most * 4);
}

std::string cpu_sentence(const summary& all) {
  if (all.rows.empty())
    return {};
  // The fewer at once, the less they are in each other's way.
  const auto& times = all.rows.front().times;
  auto share = times.cpu_share();
  if (!share)
    return {};
  auto cores = counted(all.cores, "core");
  auto result = fmt::format("a {} computes {} of the time it runs: ", all.noun,
                            percent(*share));
  if (*share <= hardly_computes)
    return result
           + fmt::format("{}, and {} would keep up with many workers",
                         times.bound(), cores);
  auto fit = std::max(1.0, std::floor(static_cast<double>(all.cores) / *share));
  auto workers = counted(static_cast<std::size_t>(fit), "worker");
  if (times.bound() == "CPU-bound")
    return result
           + fmt::format("CPU-bound, and more than {} cannot help on {}",
                         workers, cores);
  return result
         + fmt::format("{}, and about {} keep {} busy", times.bound(), workers,
                       cores);
}

std::string doubt_sentence(const summary& all) {
  if (!all.found)
    return {};
  for (auto at : {all.found->at, all.found->best}) {
    const auto& row = all.rows[at];
    auto [least, most] =
        std::minmax_element(row.rates.begin(), row.rates.end());
    if (*most - *least > row.rate() * doubtful_range)
      return fmt::format(
          "rounds with {} differ by {}: on a quieter machine, or "
          "with a larger --seconds, this would be surer",
          row.workers, percent((*most - *least) / row.rate()));
  }
  return {};
}

std::string left_out_sentence(const summary& all) {
  std::vector<std::string> parts;
  for (const auto& [workers, rounds] : all.skipped) {
    auto size = workers;
    auto tried = std::any_of(
        all.rows.begin(), all.rows.end(),
        [size](const measured& row) { return row.workers == size; });
    parts.push_back(
        tried ? fmt::format("{} with {}", counted(rounds, "round"), workers)
              : fmt::format("{} not tried at all", workers));
  }
  if (parts.empty())
    return {};
  return fmt::format(
      "left out, since --seconds={} were up: {}",
      std::chrono::ceil<std::chrono::seconds>(all.budget).count(),
      joined(parts));
}

std::string failure_sentence(const summary& all) {
  return fmt::format(
      "{} failed, for {}; the first:", counted(all.failed.requests, all.noun),
      counted(all.failed.items, all.noun == "command" ? "line" : "target"));
}

std::string failure_lines(const failures& what) {
  std::string result;
  for (const auto& [item, error] : what.first)
    result += "failed: " + parts::printable(item) + ": "
              + parts::printable(error) + '\n';
  if (what.items > what.first.size())
    result += fmt::format("  ... {} more\n", what.items - what.first.size());
  return result;
}

std::string overload_sentence(const summary& all) {
  std::vector<std::string> parts;
  for (const auto& row : all.rows)
    if (!is_candidate(row, all.rows))
      parts.push_back(fmt::format("{} ({} fail)", row.workers,
                                  percent(row.failed_share())));
  if (parts.empty() || parts.size() == all.rows.size())
    return {};
  return fmt::format("no candidates, since clearly more fails than with "
                     "others: {} workers",
                     joined(parts));
}

std::string config_line(std::size_t workers) {
  return fmt::format("--troupe.workers={}", workers);
}

std::string config_file(std::size_t workers) {
  return fmt::format("troupe {{\n  workers = {}\n}}\n", workers);
}

std::vector<std::string> sentences(const summary& all) {
  std::vector<std::string> result;
  for (auto& line :
       {knee_sentence(all), cpu_sentence(all), overload_sentence(all),
        doubt_sentence(all), left_out_sentence(all)})
    if (!line.empty())
      result.push_back(line);
  return result;
}

std::string text(const summary& all) {
  std::string result;
  if (!all.rows.empty())
    result += table(all) + '\n' + plot(all) + '\n';
  if (all.failed.requests > 0)
    result += failure_sentence(all) + '\n' + failure_lines(all.failed) + '\n';
  for (const auto& line : sentences(all))
    result += line + '\n';
  if (!all.found)
    return result;
  auto workers = all.rows[all.found->at].workers;
  result += fmt::format("to use it: {}\nor in a config file:\n{}",
                        config_line(workers), config_file(workers));
  if (!all.xargs.empty())
    result +=
        fmt::format("or with the lines on standard input:\n{}\n", all.xargs);
  return result;
}

} // namespace tune
