// Runs the rows of the benchmark: every sample in a child process of its own,
// so that no contestant inherits another's threads, heap or page tables, and
// all contestants of a row in each round, so that a drifting machine hits them
// alike. Knows nothing of what is measured.

#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

// -- what a row is made of ----------------------------------------------------

/// What one run of one contestant measured, by the keys of the row's columns.
/// Values without a column are kept for `--json`. An error replaces all values.
struct sample {
  std::map<std::string, double> values;
  std::string error;
};

/// What a contestant is to the verdicts: a floor bounds what is possible, a
/// peer competes, an extra is shown and takes part in no "best peer".
enum class role { floor, troupe, peer, extra };

/// One way to do the work of a row. `measure` runs in a fresh child process and
/// checks every result; it throws, or fills `sample::error`, if one is wrong.
struct contestant {
  std::string name;
  bench::role role = bench::role::peer;
  std::size_t requests = 0; ///< in each sample
  std::function<sample()> measure;
};

/// One measured value as a column of the table.
struct column {
  std::string key;
  std::string heading; ///< with its unit
  int digits = 1;      ///< behind the point
  bool less_is_better = true;
};

/// What a target came to: `measured` stands against `limit`, both ratios or
/// both in the unit that the text names.
struct verdict {
  double measured = 0;
  double limit = 0;
  bool reached = false;
  std::string against; ///< what it was compared with, empty for absolute ones
};

struct row_result;

/// A figure to reach. `judge` gives nothing where a contestant it needs was not
/// built, or failed.
struct target {
  std::string text;
  std::function<std::optional<verdict>(const row_result&)> judge;
};

/// Values of one contestant that were measured one after the other, shown as a
/// curve: those whose keys begin with `prefix`, in the order of these.
struct plot {
  std::string prefix;
  std::string heading;
  std::string contestant;
};

/// One line of the design's table.
struct row {
  std::string name;
  std::string title;
  std::vector<column> columns;
  std::vector<contestant> contestants;
  std::vector<target> targets;
  std::optional<bench::plot> plot = {};
  /// Whatever the contestants share: a folder of files, a server.
  std::shared_ptr<void> world;
  /// Runs the contestants of a round at the same time: for those that sleep.
  bool side_by_side = false;
};

// -- what came of it ----------------------------------------------------------

/// The samples of one contestant, in the order of the rounds.
struct contestant_result {
  std::string name;
  bench::role role = bench::role::peer;
  std::size_t requests = 0;
  std::map<std::string, std::vector<double>> samples;
  std::string error; ///< of the first round that failed

  /// Returns the median over the rounds; nothing if that was not measured.
  [[nodiscard]] std::optional<double> median(const std::string& key) const;
};

struct judged_target {
  std::string text;
  std::optional<verdict> outcome;
};

struct row_result {
  std::string name;
  std::string title;
  std::vector<column> columns;
  std::vector<contestant_result> contestants;
  std::vector<judged_target> targets;
  std::optional<bench::plot> plot = {};
  int rounds = 0;

  [[nodiscard]] const contestant_result* find(const std::string& who) const;

  /// Returns the peer with the best median of `key`; null if there is none.
  [[nodiscard]] const contestant_result*
  best_peer(const std::string& key, bool less_is_better = true) const;
};

/// The user pressed Ctrl-C; children have ended, shared folders will be
/// removed.
struct interrupted : std::runtime_error {
  interrupted() : std::runtime_error{"interrupted"} {}
};

/// Lets Ctrl-C end the run through `interrupted` from here on.
void watch_for_interrupt();

/// Measures all contestants of `what`, `rounds` times each, and judges its
/// targets. A contestant that fails once is left out of the later rounds.
row_result measure(const row& what, int rounds);

// -- targets ------------------------------------------------------------------

/// Picks what a contestant is compared with.
using reference = std::function<const contestant_result*(const row_result&)>;

reference named(std::string who);
reference best_peer(std::string key, bool less_is_better = true);

/// `who` is at most, or at least, `limit` times the reference in column `key`.
target at_most(std::string text, std::string who, std::string key, double limit,
               reference other);
target at_least(std::string text, std::string who, std::string key,
                double limit, reference other);

} // namespace bench
