// The tables and the JSON document of report.hpp.

#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>
#include <utility>

#include <sys/utsname.h>

#include <fmt/format.h>

namespace bench {

namespace {

// -- tables -------------------------------------------------------------------

constexpr int name_width = 26;
constexpr int cell_width = 18;

std::string_view to_string(role what) {
  switch (what) {
  case role::floor:
    return "floor";
  case role::troupe:
    return "troupe";
  case role::peer:
    return "peer";
  default:
    return "extra";
  }
}

std::string ratio_cell(std::optional<double> value,
                       const contestant_result* base, const std::string& key) {
  auto other = base ? base->median(key) : std::nullopt;
  if (!value || !other || *other == 0)
    return fmt::format("{:>12}", "-");
  auto ratio = *value / *other;
  return fmt::format("{:>12.{}f}", ratio, ratio < 10 ? 2 : 0);
}

/// How far the rounds lie apart, in percent of their median.
std::string spread_cell(const contestant_result& of, const std::string& key) {
  auto median = of.median(key);
  if (!median || *median == 0)
    return fmt::format("{:>9}", "-");
  auto [low, high] =
      std::minmax_element(of.samples.at(key).begin(), of.samples.at(key).end());
  return fmt::format("{:>7.0f} %", (*high - *low) / *median * 100);
}

const contestant_result* first_with(const row_result& in, role what) {
  for (const auto& one : in.contestants)
    if (one.role == what)
      return &one;
  return nullptr;
}

/// Draws the medians of the curve. A step up or down is a half of an octave.
std::string drawing(const row_result& of) {
  const auto* who = of.find(of.plot->contestant);
  if (!who || !who->error.empty())
    return {};
  std::vector<double> curve;
  for (const auto& [key, values] : who->samples)
    if (key.starts_with(of.plot->prefix))
      curve.push_back(who->median(key).value_or(0));
  if (curve.empty())
    return {};
  auto level_of = [](double value) {
    return std::lround(2 * std::log2(std::max(value, 1.0)));
  };
  auto text = fmt::format("  {}\n", of.plot->heading);
  auto [low, high] = std::minmax_element(curve.begin(), curve.end());
  for (auto level = level_of(*high); level >= level_of(*low); --level) {
    std::string line;
    for (auto value : curve)
      line += level_of(value) == level ? '#' : ' ';
    text += fmt::format("  {:>6.0f} |{}\n",
                        std::exp2(static_cast<double>(level) / 2), line);
  }
  return text;
}

std::string verdict_line(const judged_target& goal) {
  if (!goal.outcome)
    return fmt::format("  {:<52} not measured\n", goal.text);
  const auto& found = *goal.outcome;
  auto against =
      found.against.empty() ? "" : fmt::format(" ({})", found.against);
  return fmt::format("  {:<52} {:>9.3g} of {:<7.3g} {:<12}{}\n", goal.text,
                     found.measured, found.limit,
                     found.reached ? "reached" : "NOT REACHED", against);
}

// -- JSON ---------------------------------------------------------------------

std::string text_value(std::string_view text) {
  std::string result = "\"";
  for (auto c : text) {
    if (c == '"' || c == '\\')
      result += fmt::format("\\{}", c);
    else if (static_cast<unsigned char>(c) < 0x20)
      result += fmt::format("\\u{:04x}", static_cast<int>(c));
    else
      result += c;
  }
  return result.append("\"");
}

template <class Range, class ToText>
std::string list_value(const Range& range, ToText to_text) {
  std::string result = "[";
  for (const auto& one : range)
    result.append(result.size() > 1 ? "," : "").append(to_text(one));
  return result.append("]");
}

std::string values_json(const contestant_result& of) {
  std::string result = "{";
  for (const auto& [key, samples] : of.samples) {
    if (result.size() > 1)
      result += ",";
    result += fmt::format(
        "{}:{{\"median\":{},\"samples\":{}}}", text_value(key),
        of.median(key).value_or(0),
        list_value(samples, [](double v) { return fmt::format("{}", v); }));
  }
  return result.append("}");
}

std::string contestant_json(const contestant_result& of) {
  return fmt::format(
      "{{\"name\":{},\"role\":{},\"requests\":{},\"verified\":{},\"error\":{},"
      "\"values\":{}}}",
      text_value(of.name), text_value(to_string(of.role)), of.requests,
      of.error.empty() && !of.samples.empty(),
      of.error.empty() ? "null" : text_value(of.error), values_json(of));
}

std::string target_json(const judged_target& goal) {
  auto text = text_value(goal.text);
  if (!goal.outcome)
    return fmt::format("{{\"text\":{},\"reached\":null}}", text);
  return fmt::format("{{\"text\":{},\"reached\":{},\"measured\":{},"
                     "\"limit\":{},\"against\":{}}}",
                     text, goal.outcome->reached, goal.outcome->measured,
                     goal.outcome->limit, text_value(goal.outcome->against));
}

std::string row_json(const row_result& of) {
  return fmt::format(
      "{{\"name\":{},\"title\":{},\"rounds\":{},\"contestants\":{},"
      "\"targets\":{}}}",
      text_value(of.name), text_value(of.title), of.rounds,
      list_value(of.contestants, contestant_json),
      list_value(of.targets, target_json));
}

std::string first_line(const char* path) {
  std::ifstream file{path};
  std::string line;
  std::getline(file, line);
  return line;
}

std::string cpu_name() {
  std::ifstream info{"/proc/cpuinfo"};
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name"))
      return line.substr(line.find(':') + 2);
  return "unknown CPU";
}

} // namespace

circumstances observe(bool quick, std::vector<std::string> not_built) {
  circumstances result;
  result.cpu = cpu_name();
  result.cpus = static_cast<int>(std::thread::hardware_concurrency());
  utsname system{};
  uname(&system);
  result.kernel = std::string{system.sysname} + " " + system.release;
#ifdef __clang__
  result.compiler = "Clang " __clang_version__;
#else
  result.compiler = "GCC " __VERSION__;
#endif
  auto load = first_line("/proc/loadavg");
  result.load = load.substr(0, load.find(' '));
  result.quick = quick;
  result.not_built = std::move(not_built);
  return result;
}

std::string heading(const circumstances& where) {
  auto text = fmt::format("{} × {}, {}, {}, load {}{}\n", where.cpus, where.cpu,
                          where.kernel, where.compiler, where.load,
                          where.quick ? ", quick sizes" : "");
  for (const auto& peer : where.not_built)
    text += fmt::format("not built: {}\n", peer);
  return text;
}

std::string table(const row_result& result) {
  auto text = fmt::format("\n{}: {}\n  {:<{}}", result.name, result.title, "",
                          name_width);
  for (const auto& one : result.columns)
    text += fmt::format("{:>{}}", one.heading, cell_width);
  text += fmt::format("{:>12}{:>12}{:>9}\n", "/ floor", "/ troupe", "spread");
  const auto& key = result.columns.front().key;
  const auto* floor = first_with(result, role::floor);
  const auto* troupe = first_with(result, role::troupe);
  for (const auto& one : result.contestants) {
    text += fmt::format("  {:<{}}", one.name, name_width);
    if (!one.error.empty()) {
      text += fmt::format("  failed: {}\n", one.error);
      continue;
    }
    for (const auto& column : result.columns) {
      auto value = one.median(column.key);
      text += value
                  ? fmt::format("{:>{}.{}f}", *value, cell_width, column.digits)
                  : fmt::format("{:>{}}", "-", cell_width);
    }
    auto value = one.median(key);
    text += ratio_cell(value, floor, key) + ratio_cell(value, troupe, key)
            + spread_cell(one, key) + "\n";
  }
  if (result.plot)
    text += drawing(result);
  for (const auto& goal : result.targets)
    text += verdict_line(goal);
  return text;
}

std::string summary(const std::vector<row_result>& results) {
  std::string text = "\ntargets (measured of limit)\n";
  int reached = 0;
  int judged = 0;
  for (const auto& row : results)
    for (const auto& goal : row.targets) {
      judged += goal.outcome ? 1 : 0;
      reached += goal.outcome && goal.outcome->reached ? 1 : 0;
      text += fmt::format("  {:<18}{}", row.name, verdict_line(goal));
    }
  return text + fmt::format("{} of {} targets reached\n", reached, judged);
}

std::string json(const circumstances& where,
                 const std::vector<row_result>& results) {
  return fmt::format(
      "{{\"machine\":{{\"cpu\":{},\"cpus\":{},\"kernel\":{},\"compiler\":{},"
      "\"load\":{}}},\"quick\":{},\"not_built\":{},\"rows\":{}}}\n",
      text_value(where.cpu), where.cpus, text_value(where.kernel),
      text_value(where.compiler), text_value(where.load), where.quick,
      list_value(where.not_built, text_value), list_value(results, row_json));
}

} // namespace bench
