// Everything that a run prints: a line per result or failure while they come,
// and a summary at the end. Counts what it prints and keeps none of it.
#pragma once

#include "options.hpp"
#include "parts/progress_bar.hpp"
#include "run.hpp"
#include "targets/result.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <set>
#include <string>

namespace fanout {

/// What the results of one kind add up to.
struct kind_sum {
  std::size_t requests = 0;
  std::size_t failed = 0;
  std::uint64_t bytes = 0;
  std::uint64_t rows = 0;
  /// Of the blocking calls, one after another.
  std::chrono::nanoseconds blocked{0};
};

/// What the results of one run add up to.
struct tally {
  std::array<kind_sum, 3> kinds;
  /// Results that were begun and then stopped; counted nowhere else.
  std::size_t stopped = 0;
  /// Of those that failed, how many were expected to.
  std::size_t failed_as_expected = 0;
  std::size_t succeeded_unexpectedly = 0;

  void add(const targets::result& what, const std::set<std::string>& expected);

  kind_sum total() const;
};

/// Prints one run.
///
/// Results go to standard output; failures and the summary to standard error,
/// so that what reads the results sees nothing else.
class report {
public:
  struct settings {
    format output = format::text;
    /// Whether results that succeeded are printed at all in text. If not,
    /// failures and summary are all there is, and go to standard output.
    bool results = true;
    /// Failures that are no surprise, by the text of their target.
    std::set<std::string> expected_failures;
  };

  report(settings how, parts::progress_bar& bar);

  /// Prints and counts one result.
  ///
  /// @throws std::system_error if standard output takes no more.
  void add(const targets::result& what);

  /// Prints a remark on one line, with the program's name in front.
  void remark(const std::string& text);

  void summary(const ending& end);

  const tally& counted() const noexcept { return tally_; }

private:
  settings settings_;
  parts::progress_bar& bar_;
  std::FILE* side_;
  tally tally_;
};

/// Prints `text` and the end of its last line in one call, so that it stays
/// whole.
///
/// @throws std::system_error if standard output does not take it; a standard
///         error that does not is none.
void print(std::FILE* to, std::string text);

/// Returns one result as a line without its end: in text, `DIGEST  PATH` as
/// sha256sum prints it, `STATUS  BYTES B  URL`, or `ROWS rows  TARGET`.
std::string result_line(const targets::result& what, format output);

/// Returns `TARGET: CAUSE` on one line.
std::string failure_line(const targets::result& what);

} // namespace fanout
