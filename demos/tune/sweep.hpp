// The course of tuning: a round with each power of two until more brings
// nothing, more rounds with the same, then rounds around the knee. Knows
// neither troupe's pools nor a clock of its own: both are handed in.
#pragma once

#include "plan.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

namespace tune {

/// Rounds that were planned and not run.
struct left_out {
  std::size_t workers = 0;
  std::size_t rounds = 0;
};

/// Runs the rounds of one tuning, within a budget of time.
class sweep {
public:
  struct settings {
    std::size_t rounds = 3;
    /// The largest number of workers to try: from 1.
    std::size_t most = 64;
    /// No round begins when it would probably end later than this.
    std::chrono::nanoseconds budget = std::chrono::seconds{20};
    /// See `find_knee`.
    double within = 0.1;
  };

  /// Runs a round of about the given length: each worker that got a request
  /// ends it, however long that takes. Nothing: the user has interrupted it.
  using measure = std::function<std::optional<round>(std::size_t workers,
                                                     std::chrono::nanoseconds)>;

  /// Tells how much of the budget is used up.
  using elapsed = std::function<std::chrono::nanoseconds()>;

  sweep(settings how, measure run_round, elapsed now);

  /// Runs all rounds; returns early when the time is up or the user interrupts.
  void run();

  // -- properties -------------------------------------------------------------

  /// Returns what was measured so far, in order of workers.
  const std::vector<measured>& rows() const noexcept { return rows_; }

  std::optional<knee> found() const { return find_knee(rows_, how_.within); }

  /// Returns what there was no time for, in order of workers.
  const std::vector<left_out>& left_out_rounds() const noexcept {
    return left_out_;
  }

  bool interrupted() const noexcept { return interrupted_; }

private:
  // Runs one round and adds it to its row. False: no more rounds.
  bool add_round(std::size_t workers, std::chrono::nanoseconds length,
                 std::chrono::nanoseconds until);

  void double_up();
  void look_around();

  // Runs rounds number `from` and on with all of `sizes`, until then.
  void repeat(const std::vector<std::size_t>& sizes, std::size_t from,
              std::chrono::nanoseconds length, std::chrono::nanoseconds until);

  void leave_out(std::size_t workers);

  measured& row(std::size_t workers);
  std::vector<std::size_t> tried() const;

  settings how_;
  measure run_round_;
  elapsed now_;
  std::vector<measured> rows_;
  std::vector<left_out> left_out_;
  bool interrupted_ = false;
};

} // namespace tune
