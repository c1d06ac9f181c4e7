// Runs a program as a user would: a process of its own, with what it prints on
// both outputs, and its exit status. Lets a test stand between its steps.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace test {

/// What a program left behind.
struct exited {
  /// The exit status, or 128 + the number of the signal that ended it.
  int status = -1;
  std::string out;
  std::string err;
  /// The most memory that it had in use at once.
  long peak_kib = 0;
};

/// A running program. All that it prints is read while it runs.
class child {
public:
  struct settings {
    /// What it finds on standard input, which then ends.
    std::string input = {};
    /// Keeps its standard input open until `close_input`.
    bool hold_input = false;
    /// Connects its outputs to a terminal instead of two pipes; both are then
    /// found in `out`.
    bool terminal = false;
  };

  /// @throws std::runtime_error if it can't be started.
  child(const std::vector<std::string>& command, settings how);

  explicit child(const std::vector<std::string>& command)
      : child{command, settings{}} {}

  /// Kills what still runs.
  ~child();

  child(const child&) = delete;
  child& operator=(const child&) = delete;

  pid_t pid() const noexcept { return pid_; }

  void signal(int number) const;

  /// Writes to the standard input that was held open.
  void write_input(std::string_view text) const;

  void close_input();

  /// Blocks until its standard output, or its terminal, has shown `text`.
  /// @throws std::runtime_error if it ends without.
  void wait_for_output(std::string_view text);

  /// Returns what that has shown so far.
  std::string shown();

  /// Blocks until it has ended.
  exited wait();

private:
  // Reads until everybody who writes is gone.
  void drain(int from, std::string& into);

  pid_t pid_ = -1;
  int input_ = -1;
  exited result_;
  // Guards what the readers write.
  std::mutex mutex_;
  std::condition_variable changed_;
  bool out_ended_ = false;
  std::vector<std::thread> readers_;
};

/// Runs a program to its end.
exited run(const std::vector<std::string>& command, child::settings how);

inline exited run(const std::vector<std::string>& command) {
  return run(command, child::settings{});
}

/// Runs fanout, as built, with these arguments.
exited fanout(std::vector<std::string> arguments, child::settings how);

inline exited fanout(std::vector<std::string> arguments) {
  return fanout(std::move(arguments), child::settings{});
}

/// Returns the command that runs fanout with these arguments.
std::vector<std::string> fanout_command(std::vector<std::string> arguments);

/// Splits `text` into its lines, without their ends.
std::vector<std::string> lines(const std::string& text);

} // namespace test
