// The options of tune; see the header.
#include "options.hpp"

#include "targets/target_source.hpp"

#include "troupe/advisor.hpp"
#include "troupe/options.hpp"

#include <stdexcept>

namespace tune {

namespace {

// Guesses; whoever wants more has a typing error. More workers than 4,096 are
// more than a machine of today starts in a round.
constexpr std::size_t most_workers = 4'096;
constexpr std::size_t most_rounds = 1'000;
constexpr std::size_t most_seconds = 86'400;
constexpr std::size_t most_percent = 90;

} // namespace

options::options() {
  describe_arguments(
      "[TARGET ...]",
      targets::in_words("without any, tune measures a small world of its own")
          + "\nWith --command, arguments are lines for it, and "
            "- reads lines from standard input.");
  opt_group{custom_options_, "global"}
      .add(command_, "command",
           "run this for each line of the input, and MANY TIMES for each, so "
           "it must bear that; '{}' is the line; no shell; quotes as in xargs")
      .add(list_, "list",
           "read targets, or lines for --command, from this file, one a line; "
           "- is standard input")
      .add(rounds_, "rounds", "rounds with each number of workers (default: 3)")
      .add(seconds_, "seconds",
           "start no round that would end later than this (default: 20)")
      .add(most_, "most",
           "the largest number of workers to try (default: 64); no more than "
           "there are lines for --command")
      .add(within_, "within",
           "the knee is the smallest number of workers whose throughput is "
           "within so many percent of the best (default: 10)")
      .add(report_, "report",
           "where the report goes, a page on its own (default: tune.html)")
      .add(no_report_, "no-report", "write no report")
      .add(follow_, "follow", "follow symbolic links inside folders")
      .add(show_, "show",
           "show what commands print, on standard error (default: only the "
           "errors of those that fail, in one line)");
}

void options::check() {
  using troupe::parse_count;
  advise_ = troupe::advises_at_end();
  troupe::advise_at_end(false);
  rounds_count_ = parse_count("rounds", rounds_, 1, most_rounds);
  most_count_ = parse_count("most", most_, 1, most_workers);
  within_part_ =
      static_cast<double>(parse_count("within", within_, 0, most_percent))
      / 100;
  budget_ =
      std::chrono::seconds{parse_count("seconds", seconds_, 1, most_seconds)};
  if (auto problem = targets::why_not_readable(arguments(), list()))
    throw std::runtime_error{*problem};
  if (report_.empty())
    throw std::runtime_error{"report = '': no file (accepted: a path; "
                             "--no-report for none)"};
  if (command_.empty()) {
    if (show_)
      throw std::runtime_error{"--show is for commands (accepted: together "
                               "with --command)"};
    return;
  }
  try {
    what_.emplace(command_);
  } catch (const std::invalid_argument& problem) {
    throw std::runtime_error{"command = " + troupe::in_quotes(command_) + ": "
                             + problem.what()};
  }
  if (own_world())
    throw std::runtime_error{"no lines to run the command for (accepted: "
                             "arguments, --list=FILE with one a line, or "
                             "--list=-)"};
}

std::optional<std::string> options::list() const {
  // Given as '', it is not taken for not given: a script whose variable is
  // empty by mistake did not ask for another work.
  if (caf::get_if(&content, "list") == nullptr)
    return std::nullopt;
  return list_;
}

std::optional<std::string> options::report() const {
  if (no_report_)
    return std::nullopt;
  return report_;
}

} // namespace tune
