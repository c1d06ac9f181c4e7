// A process that makes calls for a pool: how it is started, signalled, and what
// is known of its end. Passive; the process_keeper waits for its end, and a
// process_link talks to it.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "troupe/call_page.hpp"
#include "troupe/unique_fd.hpp"

namespace troupe {

/// What is started.
struct process_plan {
  /// Whose it is, in texts: such as "the pool 'x'".
  std::string owner;
  /// A path, or a name that is looked for in PATH.
  std::string program;
  /// What texts call it.
  std::string title;
  /// What the program is given behind the argument that makes it a worker.
  std::vector<std::string> arguments;
};

/// The first argument of a worker process, up to the name of the worker.
inline constexpr const char* worker_argument = "--troupe-worker=";

/// The descriptor on which a worker process finds its socket.
inline constexpr int worker_socket = 3;

/// The descriptor on which it finds the memory of its `call_page`.
inline constexpr int worker_page = 4;

/// One process. Thread-safe.
class worker_process {
public:
  /// Starts a process. Nothing else of this program is open there: standard
  /// input is empty, the outputs go to pipes. It has a process group of its
  /// own, so that Ctrl-C does not reach it, and what it starts ends with it,
  /// unless that leaves the group.
  ///
  /// Errors: throws `failure` with `ec::resource_unavailable`.
  static std::shared_ptr<worker_process> start(const process_plan& plan,
                                               std::string worker);

  worker_process(const worker_process&) = delete;
  worker_process& operator=(const worker_process&) = delete;

  // -- properties -------------------------------------------------------------

  pid_t pid() const noexcept { return pid_; }

  /// Returns the name of the worker it belongs to, such as "io-3".
  const std::string& worker() const noexcept { return worker_; }

  std::chrono::steady_clock::time_point started_at() const noexcept {
    return started_at_;
  }

  /// Returns this side's end of the socketpair.
  int socket() const noexcept { return socket_.get(); }

  /// Returns the memory that it shares with its worker, which alone may use it.
  call_page& page() noexcept { return page_; }

  /// Becomes readable when the process has ended.
  int end_signal() const noexcept { return end_signal_.get(); }

  /// Returns the pipe of its standard output, or of its standard error.
  int output(bool error) const noexcept {
    return (error ? error_ : output_).get();
  }

  // -- operations -------------------------------------------------------------

  /// Sends a signal to the process and to all of its process group. Does
  /// nothing if it has ended.
  void signal(int number) noexcept;

  /// Lets the process end by itself: nobody will ask it for anything any more.
  void hang_up() noexcept;

  /// Ends it: SIGTERM, and after `grace` SIGKILL. Blocks until it has ended.
  void end(std::chrono::nanoseconds grace);

  bool ended() const;

  /// Blocks until it has ended, for `patience` at the longest. Returns whether
  /// it has.
  bool wait_for_end(std::chrono::nanoseconds patience) const;

  /// Says how it ended, such as "SIGSEGV" or "exit status 3".
  std::string end_text() const;

  /// Takes note of its end. For the keeper, when `end_signal` is readable.
  void reap() noexcept;

  // -- state that its link keeps here -----------------------------------------

  /// Whether it has said that it takes calls.
  std::atomic<bool> ready{false};

  /// How many calls it has answered.
  std::atomic<std::uint64_t> answered{0};

private:
  worker_process() = default;

  std::string worker_;
  pid_t pid_ = -1;
  unique_fd socket_;
  call_page page_;
  unique_fd end_signal_;
  unique_fd output_;
  unique_fd error_;
  std::chrono::steady_clock::time_point started_at_;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool ended_ = false;
  bool killed_by_us_ = false;
  // CLD_EXITED and the like; 0: nobody knows.
  int end_code_ = 0;
  int end_status_ = 0;
};

/// Returns a descriptor that becomes readable when the process has ended, or -1
/// with `errno`.
int open_end_signal(pid_t process) noexcept;

/// Returns what is wrong with `program` as a program to start, or an empty
/// text.
std::string why_not_executable(const std::string& program);

} // namespace troupe
