// A server that somebody else wrote, started by a test for itself and killed
// when the test is over, however it ends.

#pragma once

#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/types.h>

namespace test {

class server_process {
public:
  /// Starts a program, with the path of its binary and its arguments.
  /// @throws std::runtime_error if there can't be a process.
  explicit server_process(const std::vector<std::string>& command);

  server_process(const server_process&) = delete;

  server_process& operator=(const server_process&) = delete;

  /// Kills it, and all in its process group, and blocks until it is gone.
  ~server_process();

  /// Blocks until it has printed `text` and a word behind it, on either output;
  /// returns the word. What it prints from then on is thrown away. May be
  /// called once.
  /// @throws std::runtime_error if it ends without; says what it printed.
  std::string word_behind(std::string_view text);

private:
  void stop();

  pid_t pid_ = -1;
  int output_ = -1;
  // Reads on, so that the server never waits for somebody to listen.
  std::thread drain_;
};

} // namespace test
