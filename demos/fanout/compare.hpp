// The same work on pools of different sizes, side by side: how many workers do
// these targets need?
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace fanout {

/// One row of the comparison.
struct measured {
  std::size_t workers = 0;
  std::chrono::nanoseconds elapsed{0};
  /// The part of the workers' time that they spent on requests, from 0 to 1.
  double busy = 0;
  std::size_t requests = 0;
  std::size_t failed = 0;
};

/// Returns the rows as a table, each with a bar as long as its elapsed time.
std::string table(const std::vector<measured>& rows);

/// Returns one row as a JSON object.
std::string json(const measured& row);

} // namespace fanout
