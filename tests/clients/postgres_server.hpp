// A PostgreSQL server of a test's own: its data in a temporary folder,
// reachable by a socket in there and by nothing else, killed when the test is
// over. A test can crash it and start it again.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace test {

class postgres_server {
public:
  /// Returns the folder with the programs of the newest PostgreSQL that is
  /// installed; nothing if there is none.
  static std::optional<std::string> find_programs();

  /// Makes an empty database and starts a server for it. PostgreSQL refuses to
  /// run as root; there it runs as the user postgres, or nobody.
  /// @throws std::runtime_error if that fails.
  postgres_server();

  ~postgres_server();

  postgres_server(const postgres_server&) = delete;
  postgres_server& operator=(const postgres_server&) = delete;

  /// Returns how to connect to it.
  std::string address() const;

  /// Starts it again, on the data that are there, and blocks until it accepts
  /// connections.
  void start();

  /// Ends it as a crash does, with whatever it is doing, and blocks until it is
  /// gone.
  void crash();

private:
  pid_t spawn(const std::vector<std::string>& command, int output) const;
  void run(const std::vector<std::string>& command) const;

  std::string programs_;
  std::string folder_;
  // Whom it runs as; none: as whoever runs the test.
  std::optional<uid_t> user_;
  gid_t group_ = 0;
  pid_t pid_ = -1;
  // What the server writes about itself.
  int log_ = -1;
};

/// Returns the server of all tests of this process: to make a database takes a
/// second or so. Null, with a warning, if there is no PostgreSQL.
postgres_server* the_server();

} // namespace test
