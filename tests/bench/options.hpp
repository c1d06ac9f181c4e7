// The command line of the benchmark.

#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace bench {

struct options {
  std::vector<std::string> rows;        ///< empty: all
  std::vector<std::string> contestants; ///< empty: all
  int rounds = 5;
  bool json = false;
  bool list = false;
  bool quick = false;
};

/// Returns the text of `--help`.
std::string usage();

/// Returns the options, or the exit status to leave with: 0 after `--help`, 2
/// after one line on stderr that names what is wrong.
std::variant<options, int> parse_options(int argc, char** argv);

} // namespace bench
