// A small world with nothing to prepare: an HTTP server on loopback, an SQLite
// database in a temporary folder, and real files of this machine. Lives as long
// as the object; leaves nothing behind.
#pragma once

#include "target.hpp"

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace targets {

/// Everything that a run without targets asks for.
class world {
public:
  /// Rows in the table `item` of the database.
  static constexpr int rows = 20'000;

  /// Targets of each kind. There are fewer files on a machine that has fewer.
  static constexpr std::size_t pages = 160;
  static constexpr std::size_t queries = 80;
  static constexpr std::size_t files = 160;

  /// Builds all of it and starts the server.
  ///
  /// @param connections how many clients the server answers at once.
  /// @throws std::runtime_error if it can't be built: no loopback, no room for
  ///         temporary files.
  explicit world(std::size_t connections);

  ~world();

  /// Returns the targets, the three kinds mixed.
  const std::vector<target>& targets() const noexcept { return targets_; }

  /// Returns the texts of those that have to fail: pages answered with 404 or
  /// 500, a query for a table that is not there, a missing file. All other
  /// targets have to succeed.
  const std::set<std::string>& expected_failures() const noexcept {
    return expected_failures_;
  }

private:
  class server;
  class folder;

  std::unique_ptr<folder> folder_;
  std::unique_ptr<server> server_;
  std::vector<target> targets_;
  std::set<std::string> expected_failures_;
};

} // namespace targets
