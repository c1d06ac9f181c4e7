// Printing and counting; see the header.
#include "report.hpp"

#include "parts/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>

namespace fanout {

namespace {

constexpr std::array all_kinds = {targets::kind::http, targets::kind::file,
                                  targets::kind::sqlite};

std::string json_line(const targets::result& what) {
  auto ms = std::chrono::duration<double, std::milli>{what.took}.count();
  auto line = fmt::format("{{\"target\":{},\"kind\":\"{}\",\"ok\":{},\"ms\":"
                          "{:.3f}",
                          parts::json_string(what.what.text),
                          to_string(what.what.what), what.ok(), ms);
  // The exact name, for whoever has to find the file again.
  if (!parts::is_utf8(what.what.text))
    line += fmt::format(",\"target_hex\":\"{}\"", parts::hex(what.what.text));
  switch (what.what.what) {
  case targets::kind::http:
    if (what.status != 0)
      line +=
          fmt::format(",\"status\":{},\"bytes\":{}", what.status, what.bytes);
    break;
  case targets::kind::file:
    if (what.ok())
      line += fmt::format(",\"sha256\":\"{}\",\"bytes\":{}", what.sha256,
                          what.bytes);
    break;
  case targets::kind::sqlite:
    if (what.ok())
      line += fmt::format(",\"rows\":{}", what.rows);
    break;
  }
  if (!what.ok())
    line += fmt::format(",\"error\":{}", parts::json_string(what.error));
  return line + "}";
}

std::string plural(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", parts::human_count(count), noun,
                     count == 1 ? "" : "s");
}

std::string kind_line(targets::kind which, const kind_sum& sum) {
  auto line =
      fmt::format("  {:<7} {:>7} {:<8}  {:>3} failed  {:>8} of blocking calls",
                  to_string(which), parts::human_count(sum.requests),
                  sum.requests == 1 ? "request" : "requests",
                  parts::human_count(sum.failed), parts::human(sum.blocked));
  if (which == targets::kind::sqlite)
    line += fmt::format("  {}", plural(sum.rows, "row"));
  else
    line += fmt::format("  {}", parts::human_bytes(sum.bytes));
  return line;
}

} // namespace

void print(std::FILE* to, std::string text) {
  text += '\n';
  if (std::fwrite(text.data(), 1, text.size(), to) != text.size()
      || std::fflush(to) != 0)
    if (to == stdout)
      throw std::system_error{errno, std::generic_category(),
                              "cannot write to standard output"};
}

std::string result_line(const targets::result& what, format output) {
  if (output == format::json)
    return json_line(what);
  switch (what.what.what) {
  case targets::kind::http:
    return fmt::format("{}  {} B  {}", what.status, what.bytes,
                       parts::printable(what.what.text));
  case targets::kind::sqlite:
    return fmt::format("{} {}  {}", what.rows, what.rows == 1 ? "row" : "rows",
                       parts::printable(what.what.text));
  case targets::kind::file:
    break;
  }
  return parts::sha256sum_line(what.sha256, what.what.text);
}

std::string failure_line(const targets::result& what) {
  return parts::printable(what.what.text) + ": " + parts::printable(what.error);
}

// -- tally --------------------------------------------------------------------

void tally::add(const targets::result& what,
                const std::set<std::string>& expected) {
  if (what.stopped) {
    ++stopped;
    return;
  }
  auto& sum = kinds[static_cast<std::size_t>(what.what.what)];
  ++sum.requests;
  sum.bytes += what.bytes;
  sum.rows += what.rows;
  sum.blocked += what.took;
  auto is_expected = expected.contains(what.what.text);
  if (!what.ok()) {
    ++sum.failed;
    failed_as_expected += is_expected ? 1 : 0;
  } else if (is_expected) {
    ++succeeded_unexpectedly;
  }
}

kind_sum tally::total() const {
  kind_sum result;
  for (const auto& sum : kinds) {
    result.requests += sum.requests;
    result.failed += sum.failed;
    result.bytes += sum.bytes;
    result.rows += sum.rows;
    result.blocked += sum.blocked;
  }
  return result;
}

// -- report -------------------------------------------------------------------

report::report(settings how, parts::progress_bar& bar)
    : settings_{std::move(how)},
      bar_{bar},
      side_{settings_.results || settings_.output == format::json ? stderr
                                                                  : stdout} {}

void report::add(const targets::result& what) {
  tally_.add(what, settings_.expected_failures);
  auto expected = settings_.expected_failures.contains(what.what.text);
  bar_.aside([&] {
    if (settings_.output == format::json || (settings_.results && what.ok()))
      print(stdout, result_line(what, settings_.output));
    if (!what.ok())
      print(side_, (expected ? "failed as expected: " : "failed: ")
                       + failure_line(what));
    else if (expected)
      print(side_, "should have failed: " + parts::printable(what.what.text));
  });
}

void report::remark(const std::string& text) {
  bar_.aside([&] { print(stderr, "fanout: " + text); });
}

void report::summary(const ending& end) {
  auto total = tally_.total();
  std::string text;
  auto line = [&text](std::string_view words) {
    text += words;
    text += '\n';
  };
  auto expected = settings_.expected_failures.size();
  auto verdict = std::string{};
  if (expected > 0)
    verdict = fmt::format(" ({} of them expected, {} expected in all)",
                          tally_.failed_as_expected, expected);
  line(fmt::format("{}: {} succeeded, {} failed{}",
                   plural(total.requests, "request"),
                   parts::human_count(total.requests - total.failed),
                   parts::human_count(total.failed), verdict));
  for (auto which : all_kinds)
    if (const auto& sum = tally_.kinds[static_cast<std::size_t>(which)];
        sum.requests > 0)
      line(kind_line(which, sum));
  line(fmt::format("one after another this would have taken {}; it took {} on "
                   "{}, busy {:.0f} % of that time",
                   parts::human(total.blocked), parts::human(end.elapsed),
                   plural(end.workers, "worker"), end.busy * 100));
  const auto& got = end.observed.sum;
  auto counts = fmt::format(
      "{}, {} returned, {} threw, {} cancelled",
      plural(got.requests, "request"), parts::human_count(got.succeeded),
      parts::human_count(got.failed), parts::human_count(got.cancelled));
  if (end.observed.events == 1)
    line(fmt::format("completion event, as an observing actor received it: {}, "
                     "after {}",
                     counts, parts::human(got.elapsed)));
  else
    line(fmt::format("{} completion events, as an observing actor received "
                     "them: {}",
                     parts::human_count(end.observed.events), counts));
  if (end.never_started)
    line(fmt::format("interrupted: {} done, {} stopped on the way, {}{} never "
                     "started",
                     parts::human_count(total.requests),
                     parts::human_count(tally_.stopped),
                     end.at_least ? "at least " : "",
                     parts::human_count(*end.never_started)));
  text.pop_back();
  bar_.aside([&] { print(side_, text); });
}

} // namespace fanout
