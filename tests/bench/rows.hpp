// The rows of the benchmark, one file for each group of them, and what the
// groups share: how a team is measured and how its results are checked.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "harness.hpp"
#include "team.hpp"

namespace bench {

struct row_options {
  /// Smaller sizes, for a look: a tenth of the requests or less.
  bool quick = false;
};

/// A row that can be built: what it shares is made only when it is measured.
struct row_spec {
  std::string name;
  std::string title;
  std::function<row(const row_options&)> build;
};

/// Returns the rows in the order of the design's table.
std::vector<row_spec> all_rows();

std::vector<row_spec> map_rows();
std::vector<row_spec> operation_rows();
std::vector<row_spec> round_trip_rows();
std::vector<row_spec> blocking_rows();
std::vector<row_spec> io_rows();
std::vector<row_spec> memory_rows();
std::vector<row_spec> idle_rows();
std::vector<row_spec> process_rows();
std::vector<row_spec> node_rows();
std::vector<row_spec> sizing_rows();
std::vector<row_spec> advice_rows();

// -- shared by the rows -------------------------------------------------------

/// Returns 0, 1, … count - 1.
std::vector<std::uint64_t> counting(std::size_t count);

/// Returns floor, troupe and all peers.
std::vector<contender>
field(std::function<std::unique_ptr<team>(const team_options&)> floor_maker);

/// Binds the calling thread, and all threads that it will start, to the n-th of
/// the CPUs that this process may use. Throws if there are fewer.
void use_cpu(int n);

/// Python's run_in_executor and gather, as measured by peer_asyncio.py, which
/// prints the values of the sample itself. `arguments`: the work and its sizes.
contestant python(std::size_t requests, std::vector<std::string> arguments);

/// A program that prints the values of the sample itself, a key and a number in
/// each line. `arguments`: the program, and what it is given.
contestant program(std::string name, bench::role role, std::size_t requests,
                   std::vector<std::string> arguments);

/// Returns a count with separators, for titles.
std::string grouped(std::size_t count);

} // namespace bench
