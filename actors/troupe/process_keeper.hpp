// One thread for all worker processes of a pool: it passes on what they print,
// line by line, waits for their end, so that there are no zombies, and sees to
// it that those who should end do. Leans on worker_process.hpp.

#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "troupe/worker_process.hpp"

namespace troupe {

/// A line that a worker process has printed.
struct process_line {
  /// The name of the worker, such as "io-3".
  std::string_view worker;
  pid_t pid;
  /// Whether it was printed to standard error.
  bool error;
  /// Without its end.
  std::string_view text;
};

/// Prints a line to the same output of this process, behind "[io-3 4711] ".
void pass_on(const process_line& line);

class process_keeper {
public:
  /// `on_line` is called for each line, on the keeper's thread.
  explicit process_keeper(std::function<void(const process_line&)> on_line);

  process_keeper(const process_keeper&) = delete;
  process_keeper& operator=(const process_keeper&) = delete;

  /// Ends all processes, and blocks until they have ended.
  ~process_keeper();

  /// Watches a process, and calls `on_end` when it has ended.
  void watch(const std::shared_ptr<worker_process>& process,
             std::function<void()> on_end);

  /// Lets an idle process end by itself; kills it if it takes too long.
  void retire(const std::shared_ptr<worker_process>& process);

  /// Returns the processes that have not ended.
  std::vector<std::shared_ptr<worker_process>> processes() const;

private:
  using time_point = std::chrono::steady_clock::time_point;

  struct ward {
    std::shared_ptr<worker_process> process;
    std::function<void()> on_end;
    std::string partial[2];
    time_point kill_at = time_point::max();
  };

  void run();
  void read_output(ward& of, bool error);
  void say(const ward& of, bool error, std::string_view text) const;
  int end_overdue();
  void wake() const noexcept;

  const std::function<void(const process_line&)> on_line_;
  unique_fd poll_;
  unique_fd wake_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::unique_ptr<ward>> wards_;
  std::uint64_t last_ = 0;
  bool closing_ = false;
  std::thread thread_;
};

} // namespace troupe
