// What tune says of what it measured, in a terminal: a table, a plot, and in
// sentences how many workers to have and why. Text only; page.hpp draws the
// same for a browser.
#pragma once

#include "plan.hpp"
#include "sweep.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tune {

/// All that is known when the rounds are over.
struct summary {
  /// What was asked for, such as "sleep 1, for each of 20 lines".
  std::string what = {};
  /// What one request is called: "request" or "command".
  std::string_view noun = "request";
  /// In order of workers; all have rounds.
  std::vector<measured> rows = {};
  std::optional<knee> found = {};
  double within = 0.1;
  std::size_t rounds = 3;
  std::chrono::nanoseconds budget{0};
  std::chrono::nanoseconds elapsed{0};
  std::vector<left_out> skipped = {};
  bool interrupted = false;
  std::size_t cores = 1;
  /// The largest size that may be tried, and whether that is all that makes
  /// sense: there are no more lines.
  std::size_t most = 0;
  bool most_is_all = false;
  failures failed = {};
  /// The same work by xargs, if that can do it.
  std::string xargs = {};
};

/// Returns a rate with three digits or more: "0.125", "98.2", "1,180".
std::string rate_text(double a_second);

/// Returns a row for each number of workers; the knee is marked.
std::string table(const summary& all);

/// Returns the throughput as columns of `#`, the knee marked below.
std::string plot(const summary& all);

// -- sentences, on one line each ----------------------------------------------

/// Says where the knee is, and by which rule.
std::string knee_sentence(const summary& all);

/// Says how much a request computes, and how many workers keep the cores busy;
/// nothing if that was not measured.
std::string cpu_sentence(const summary& all);

/// Says so if rounds with the same number of workers differ much, where that
/// decides; nothing if they don't.
std::string doubt_sentence(const summary& all);

/// Says what there was no time for; nothing if there was time for all.
std::string left_out_sentence(const summary& all);

/// Says how many requests failed; the first of them follow.
std::string failure_sentence(const summary& all);

/// Returns a line for each of the first failures, with its cause, and one for
/// the rest.
std::string failure_lines(const failures& what);

/// Returns the sizes with which clearly more fails than with others, in one
/// sentence; nothing if there are none.
std::string overload_sentence(const summary& all);

/// Returns `--troupe.workers=N`.
std::string config_line(std::size_t workers);

/// Returns the same as it stands in a config file.
std::string config_file(std::size_t workers);

/// Returns all sentences that apply, but for those about failures, in the order
/// in which they are best read.
std::vector<std::string> sentences(const summary& all);

/// Returns the whole text: table, plot, failures, sentences, what to use.
std::string text(const summary& all);

} // namespace tune
