// Runs queries on SQLite files, read-only, one connection per file. Each
// worker owns one client, so that no connection is ever shared.
#pragma once

#include "troupe/sqlite_connection.hpp"

#include <cstdint>
#include <list>
#include <stop_token>
#include <string>

namespace targets {

/// A blocking SQLite client, for one thread.
class sqlite_client {
public:
  /// Connections kept open; beyond that, the one unused for longest is
  /// closed. A guess: most runs ask one or two databases.
  static constexpr std::size_t most_connections = 8;

  /// Runs one query to its end, or until told to stop, and returns how many
  /// rows it gave.
  ///
  /// Errors: throws `std::runtime_error`, its text fit to follow the file's
  ///         name and a colon: no regular file, no database, a corrupt one, a
  ///         bad query, more than one query, a query that would write,
  ///         a writer that locks the file for more than 5 s, or stopped.
  std::uint64_t count_rows(const std::string& file, const std::string& query,
                           const std::stop_token& stop);

private:
  // Returns the connection to a file, opened if need be, moved to the front.
  troupe::sqlite_connection& connect(const std::string& file);

  // The one used last comes first.
  std::list<troupe::sqlite_connection> connections_;
};

} // namespace targets
