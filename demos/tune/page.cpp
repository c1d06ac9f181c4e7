// Drawing the page; see the header.
#include "page.hpp"

#include "report_file.hpp"

#include "parts/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <optional>

namespace tune {

namespace {

constexpr std::string_view style = R"css(
:root { color-scheme: light dark; --back: #fff; --fore: #1b1f24;
  --faint: #5b6573; --line: #d8dce2; --card: #f6f7f9; --rate: #1668c5;
  --time: #c25a00; --knee: #2d8a4e; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171b; --fore: #e4e7eb; --faint: #99a3b0;
    --line: #333a43; --card: #1c2127; --rate: #6cb0ff; --time: #ffa860;
    --knee: #4fc07a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem;
  background: var(--back); color: var(--fore);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0; }
h2 { font-size: 1.05rem; margin: 1.5rem 0 .35rem; }
p { margin: .35rem 0; overflow-wrap: anywhere; }
.what { font-size: 1.05rem; margin: 0; }
.faint { color: var(--faint); }
.answer { font-size: 1.1rem; margin: .9rem 0; padding: .6rem .9rem;
  background: var(--card); border-left: .3rem solid var(--knee);
  border-radius: .25rem; }
.charts { display: grid; gap: .75rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
figure { margin: 0; padding: .6rem .6rem .3rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .4rem; }
figcaption { font-size: .9rem; padding-left: .2rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--faint); }
svg .enough-text { fill: var(--knee); font-size: 10px; }
svg .knee-text { fill: var(--knee); font-weight: 600; }
.axis { stroke: var(--line); stroke-width: 1; }
.enough { stroke: var(--knee); stroke-width: 1; stroke-dasharray: 2 3; }
.knee-line { stroke: var(--knee); stroke-width: 1.25;
  stroke-dasharray: 4 3; }
.curve { fill: none; stroke-width: 1.75; stroke-linejoin: round; }
.range { stroke-width: 1.25; opacity: .55; }
.rate .curve, .rate .range { stroke: var(--rate); }
.time .curve, .time .range { stroke: var(--time); }
.rate circle { fill: var(--rate); }
.time circle { fill: var(--time); }
svg circle.knee { fill: var(--knee); stroke: var(--card); stroke-width: 1.5; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .4rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 500; }
tr.knee td { font-weight: 600; color: var(--knee); }
pre { margin: .35rem 0; padding: .5rem .75rem; overflow-x: auto;
  background: var(--card); border: 1px solid var(--line);
  border-radius: .3rem; font: .9rem/1.4 ui-monospace, monospace; }
)css";

// -- charts -------------------------------------------------------------------

// In units of the picture, which is as wide as a small screen, so that text
// keeps its size there.
constexpr double width = 360;
constexpr double height = 220;
constexpr double left = 52;
constexpr double right = width - 16;
constexpr double top = 22;
constexpr double bottom = height - 36;

// The least room between the middles of two labels.
constexpr double label_room = 23;

struct point {
  std::size_t workers = 0;
  double value = 0;
  // What single rounds had; the same if there is nothing to tell.
  double least = 0;
  double most = 0;
};

struct chart {
  std::string_view kind;
  std::string title;
  std::vector<point> points;
  std::function<std::string(double)> number;
  // The knee, as a position in the points, and the value that is enough.
  std::optional<std::size_t> knee = {};
  std::optional<double> enough = {};
  std::string rule = {};
};

class drawing {
public:
  explicit drawing(const chart& what) : chart_{what} {
    auto most = what.enough.value_or(0);
    for (const auto& x : what.points)
      most = std::max({most, x.value, x.most});
    marks_ = axis_marks(most);
    widest_ = std::log2(static_cast<double>(what.points.back().workers));
    lowest_ = std::log2(static_cast<double>(what.points.front().workers));
  }

  std::string svg() {
    put(R"(<svg viewBox="0 0 {} {}" class="{}" role="img" aria-label="{}">)",
        width, height, chart_.kind, escaped(chart_.title));
    axes();
    knee_line();
    curve();
    text_ += "</svg>";
    return std::move(text_);
  }

private:
  template <class... Ts>
  void put(fmt::format_string<Ts...> how, Ts&&... values) {
    fmt::format_to(std::back_inserter(text_), how, std::forward<Ts>(values)...);
    text_ += '\n';
  }

  void line(std::string_view kind, double x1, double y1, double x2, double y2) {
    put(R"(<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>)",
        kind, x1, y1, x2, y2);
  }

  double x(std::size_t workers) const {
    auto room = widest_ - lowest_;
    if (room <= 0)
      return (left + right) / 2;
    // The first and the last point keep away from the edges.
    auto part = (std::log2(static_cast<double>(workers)) - lowest_) / room;
    return left + 10 + part * (right - left - 20);
  }

  double y(double value) const {
    return bottom - value / marks_.back() * (bottom - top);
  }

  bool is_knee(std::size_t at) const { return chart_.knee == at; }

  void axes() {
    for (auto mark : marks_) {
      line("axis", left, y(mark), right, y(mark));
      put(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="end">{}</text>)",
          left - 5, y(mark) + 4, escaped(chart_.number(mark)));
    }
    // The knee is labelled in any case, then whoever comes first and has room.
    std::vector<double> taken;
    auto label = [&](const point& what) {
      auto at = x(what.workers);
      for (auto other : taken)
        if (std::abs(other - at) < label_room)
          return;
      taken.push_back(at);
      line("axis", at, bottom, at, bottom + 4);
      put(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)", at,
          bottom + 15, what.workers);
    };
    const auto& points = chart_.points;
    if (chart_.knee)
      label(points[*chart_.knee]);
    label(points.back());
    for (const auto& what : points)
      label(what);
    put(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle">workers</text>)",
        (left + right) / 2, height - 5);
  }

  void knee_line() {
    if (chart_.enough) {
      line("enough", left, y(*chart_.enough), right, y(*chart_.enough));
      put(R"(<text class="enough-text" x="{:.1f}" y="{:.1f}">{}</text>)",
          left + 4, y(*chart_.enough) - 4, escaped(chart_.rule));
    }
    if (!chart_.knee)
      return;
    const auto& what = chart_.points[*chart_.knee];
    auto at = x(what.workers);
    line("knee-line", at, top - 6, at, bottom);
    auto to_left = at > (left + right) / 2;
    put(R"(<text class="knee-text" x="{:.1f}" y="{:.1f}" text-anchor="{}">)"
        "knee: {}</text>",
        at + (to_left ? -5 : 5), top - 9, to_left ? "end" : "start",
        what.workers);
  }

  void curve() {
    std::string path;
    for (const auto& what : chart_.points)
      path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ",
                          x(what.workers), y(what.value));
    put(R"(<polyline class="curve" points="{}"/>)", path);
    for (const auto& what : chart_.points)
      if (what.most > what.least)
        line("range", x(what.workers), y(what.least), x(what.workers),
             y(what.most));
    for (std::size_t i = 0; i < chart_.points.size(); ++i) {
      const auto& what = chart_.points[i];
      put(R"(<circle{} cx="{:.1f}" cy="{:.1f}" r="{}"><title>{} workers: {})"
          "</title></circle>",
          is_knee(i) ? R"( class="knee")" : "", x(what.workers), y(what.value),
          is_knee(i) ? 5 : 3.2, what.workers,
          escaped(chart_.number(what.value)));
    }
  }

  const chart& chart_;
  std::vector<double> marks_;
  double widest_ = 0;
  double lowest_ = 0;
  std::string text_;
};

void add_chart(std::string& to, const chart& what) {
  to += "<figure><figcaption>" + escaped(what.title) + "</figcaption>\n";
  to += drawing{what}.svg();
  to += "</figure>\n";
}

std::string charts(const summary& all) {
  chart rates{.kind = "rate",
              .title = fmt::format("{}s a second: median and range of rounds",
                                   all.noun),
              .points = {},
              .number = rate_text};
  chart times{.kind = "time",
              .title = fmt::format("p99 of the time that a {} runs", all.noun),
              .points = {},
              .number = [](double seconds) {
                return seconds <= 0 ? std::string{"0"}
                                    : parts::human(std::chrono::nanoseconds{
                                        std::llround(seconds * 1e9)});
              }};
  for (const auto& row : all.rows) {
    auto [least, most] =
        std::minmax_element(row.rates.begin(), row.rates.end());
    rates.points.push_back({row.workers, row.rate(), *least, *most});
    auto p99 =
        std::chrono::duration<double>{row.times.ran.quantile(0.99)}.count();
    times.points.push_back({row.workers, p99, p99, p99});
  }
  if (all.found) {
    rates.knee = times.knee = all.found->at;
    rates.enough = all.rows[all.found->best].rate() * (1 - all.within);
    rates.rule = fmt::format("{:.0f} % of the best", 100 * (1 - all.within));
  }
  std::string result = "<div class=\"charts\">\n";
  add_chart(result, rates);
  add_chart(result, times);
  return result + "</div>\n";
}

// -- the rest -----------------------------------------------------------------

std::string rows(const summary& all) {
  auto result =
      fmt::format("<div class=\"scroll\"><table>\n<thead><tr><th>workers</th>"
                  "<th>{}s/s</th><th>of best</th><th>p99</th><th>failed</th>"
                  "<th>p50</th><th>lowest</th><th>highest</th><th>rounds</th></"
                  "tr></thead>\n"
                  "<tbody>\n",
                  all.noun);
  auto best = all.found ? all.rows[all.found->best].rate() : 0;
  for (std::size_t i = 0; i < all.rows.size(); ++i) {
    const auto& row = all.rows[i];
    auto [least, most] =
        std::minmax_element(row.rates.begin(), row.rates.end());
    result += all.found && all.found->at == i ? R"(<tr class="knee">)" : "<tr>";
    auto share = best > 0 ? fmt::format("{:.0f} %", row.rate() / best * 100)
                          : std::string{"-"};
    for (const auto& cell :
         {std::to_string(row.workers), rate_text(row.rate()), share,
          parts::human(row.times.ran.quantile(0.99)),
          parts::human_count(row.failed),
          parts::human(row.times.ran.quantile(0.5)), rate_text(*least),
          rate_text(*most), std::to_string(row.rates.size())})
      result += "<td>" + escaped(cell) + "</td>";
    result += "</tr>\n";
  }
  return result + "</tbody>\n</table></div>\n";
}

// Sentences of a terminal begin like the lines of any tool, those of a page do
// not.
std::string capitalized(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z')
    text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

std::string paragraphs(const summary& all) {
  std::string result;
  auto first = true;
  for (const auto& line : sentences(all)) {
    result += fmt::format("<p{}>{}</p>\n", first ? " class=\"answer\"" : "",
                          escaped(capitalized(line)));
    first = false;
  }
  return result;
}

std::string pre(std::string_view content) {
  std::string result = "<pre>";
  while (!content.empty()) {
    auto end = std::min(content.find('\n'), content.size());
    result += escaped(content.substr(0, end));
    content.remove_prefix(std::min(end + 1, content.size()));
    if (!content.empty())
      result += '\n';
  }
  return result + "</pre>\n";
}

std::string use(const summary& all) {
  if (!all.found)
    return {};
  auto workers = all.rows[all.found->at].workers;
  auto result = "<h2>To use it</h2>\n<p>on the command line</p>\n"
                + pre(config_line(workers)) + "<p>in a config file</p>\n"
                + pre(config_file(workers));
  if (!all.xargs.empty())
    result += "<p>the same without tune, with the lines on standard input</p>\n"
              + pre(all.xargs);
  return result;
}

std::string failed(const summary& all) {
  if (all.failed.requests == 0)
    return {};
  return "<h2>Failures</h2>\n<p>" + escaped(failure_sentence(all)) + "</p>\n"
         + pre(failure_lines(all.failed));
}

} // namespace

std::string escaped(std::string_view text) {
  std::string result;
  for (auto byte : parts::printable(text))
    switch (byte) {
    case '&':
      result += "&amp;";
      break;
    case '<':
      result += "&lt;";
      break;
    case '>':
      result += "&gt;";
      break;
    case '"':
      result += "&quot;";
      break;
    default:
      result += byte;
    }
  return result;
}

std::vector<double> axis_marks(double most) {
  if (most <= 0)
    return {0, 1};
  // Three to five steps of 1, 2 or 5 times a power of ten.
  auto rough = most / 4;
  auto power = std::pow(10, std::floor(std::log10(rough)));
  auto step = 10 * power;
  for (auto factor : {1.0, 2.0, 5.0})
    if (rough <= factor * power) {
      step = factor * power;
      break;
    }
  std::vector<double> result{0};
  while (result.back() < most)
    result.push_back(step * static_cast<double>(result.size()));
  return result;
}

std::string page(const summary& all, std::string_view when) {
  std::string result = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
                       "<meta charset=\"utf-8\"/>\n<meta ";
  result += report_mark;
  result += "/>\n<meta name=\"viewport\" content=\"width=device-width, "
            "initial-scale=1\"/>\n<link rel=\"icon\" href=\"data:,\"/>\n";
  auto title = all.found
                   ? fmt::format("{} workers", all.rows[all.found->at].workers)
                   : std::string{"how many workers?"};
  result += fmt::format("<title>{}: {}</title>\n<style>{}</style>\n</head>\n",
                        title, escaped(all.what), style);
  result += fmt::format("<body>\n<h1>How many workers?</h1>\n"
                        "<p class=\"what\">{}</p>\n",
                        escaped(all.what));
  result += fmt::format(
      "<p class=\"faint\">{}; {} rounds with each number of workers, {} in "
      "all, on {} {}{}</p>\n",
      escaped(when), all.rounds, escaped(parts::human(all.elapsed)), all.cores,
      all.cores == 1 ? "core" : "cores",
      all.interrupted ? "; interrupted before the end" : "");
  result += paragraphs(all);
  if (!all.rows.empty())
    result += charts(all) + rows(all);
  return result + use(all) + failed(all) + "</body>\n</html>\n";
}

} // namespace tune
