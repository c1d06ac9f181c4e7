// Turns results into what people and machines read.

#pragma once

#include <string>
#include <vector>

#include "harness.hpp"

namespace bench {

/// Where and how the rows were measured.
struct circumstances {
  std::string cpu;
  int cpus = 0;
  std::string kernel;
  std::string compiler;
  std::string load; ///< of the last minute, when the run began
  bool quick = false;
  std::vector<std::string> not_built;
};

circumstances observe(bool quick, std::vector<std::string> not_built);

std::string heading(const circumstances& where);

/// Returns the table of one row: medians, ratios of the first column to the
/// floor's and to troupe's, and the verdicts.
std::string table(const row_result& result);

/// Returns a line for every target, and how many were reached.
std::string summary(const std::vector<row_result>& results);

/// Returns one JSON document with every sample.
std::string json(const circumstances& where,
                 const std::vector<row_result>& results);

} // namespace bench
