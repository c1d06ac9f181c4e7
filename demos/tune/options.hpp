// What users may set on the command line of tune, beside what troupe and CAF
// bring.
#pragma once

#include "command.hpp"

#include "troupe/config.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

namespace tune {

/// The configuration of tune.
class options : public troupe::config {
public:
  options();

  /// Reads what the command line had, after it was parsed.
  ///
  /// @throws std::exception with the line to print, without the program's
  ///         name, before leaving with status 2.
  void check();

  // -- properties -------------------------------------------------------------

  /// Returns whether nothing was given to work on.
  bool own_world() const { return arguments().empty() && !list(); }

  /// Returns the file of targets or lines, if one was given; `-` is standard
  /// input.
  std::optional<std::string> list() const;

  const std::optional<command>& what() const noexcept { return what_; }

  /// Returns the text of the command, as it was given.
  const std::string& command_text() const noexcept { return command_; }

  bool follow() const noexcept { return follow_; }

  bool show() const noexcept { return show_; }

  std::size_t rounds() const noexcept { return rounds_count_; }

  std::size_t most() const noexcept { return most_count_; }

  /// Returns the part of the best throughput that is given up for fewer
  /// workers, from 0 to 1.
  double within() const noexcept { return within_part_; }

  std::chrono::nanoseconds budget() const noexcept { return budget_; }

  /// Returns whether `--troupe.advise` was given. It is taken off the pools, of
  /// which there is one a round.
  bool advise_once() const noexcept { return advise_; }

  /// Returns where the report goes, if anywhere.
  std::optional<std::string> report() const;

private:
  std::string list_;
  std::string command_;
  std::string rounds_ = "3";
  std::string most_ = "64";
  std::string within_ = "10";
  std::string seconds_ = "20";
  std::string report_ = "tune.html";
  bool no_report_ = false;
  bool advise_ = false;
  bool follow_ = false;
  bool show_ = false;
  std::optional<command> what_;
  std::size_t rounds_count_ = 0;
  std::size_t most_count_ = 0;
  double within_part_ = 0;
  std::chrono::nanoseconds budget_{0};
};

} // namespace tune
