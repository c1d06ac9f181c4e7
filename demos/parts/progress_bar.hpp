// One line at the bottom of a terminal that shows how far a run is. It moves
// also while nothing comes in, so it has a thread of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace parts {

/// How far a run is.
struct progress {
  std::size_t done = 0;
  std::size_t failed = 0;
  /// The part of all input that is done, from 0 to 1; nothing if unknown.
  std::optional<double> part;
};

/// Returns the line for `now`, at most `columns` wide.
std::string draw(const progress& now, std::chrono::nanoseconds elapsed,
                 std::size_t columns);

/// Draws on standard error, ten times a second, if `wanted`; otherwise it does
/// nothing and has no thread.
class progress_bar {
public:
  /// @param look tells how far the run is; called on the bar's own thread.
  progress_bar(bool wanted, std::function<progress()> look);

  /// Takes the bar off the screen.
  ~progress_bar();

  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;

  /// Returns whether a bar belongs on standard error: it is a terminal, and
  /// standard output is no pipe, whose reader may write to the same terminal.
  static bool fits();

  /// Calls `print` while the bar is off the screen. `print` leaves nothing in
  /// a buffer.
  template <class F>
  void aside(F print) {
    std::lock_guard guard{mutex_};
    put(clear);
    print();
    put(line_.c_str());
  }

private:
  // Back to the first column, and clear to the end of the line.
  static constexpr auto clear = "\r\x1b[K";

  // Prints `text` if there is a bar.
  void put(const char* text);

  void show();

  std::function<progress()> look_;
  std::chrono::steady_clock::time_point begin_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // What the screen shows; empty: nothing.
  std::string line_;
  bool done_ = false;
  std::thread ticker_;
};

} // namespace parts
