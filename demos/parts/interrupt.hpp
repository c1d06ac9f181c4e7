// Turns SIGINT and SIGTERM into a stop token, so that a run ends between
// requests and not inside one. Leans on nothing but the kernel.
#pragma once

#include "unique_fd.hpp"

#include <atomic>
#include <optional>
#include <stop_token>
#include <thread>

namespace parts {

/// Watches for SIGINT and SIGTERM on a thread of its own while it lives.
///
/// Make it before any other thread: it blocks both signals for all threads
/// that are started later. They stay blocked when it is gone. A second signal
/// ends the process at once, with status 128 + its number.
class interrupt {
public:
  /// @throws std::system_error if the kernel refuses what it needs.
  interrupt();

  ~interrupt();

  interrupt(const interrupt&) = delete;
  interrupt& operator=(const interrupt&) = delete;

  /// Returns the token that the first signal asks to stop.
  std::stop_token token() const noexcept { return source_.get_token(); }

  /// Returns the first signal; nothing if none came.
  std::optional<int> signal() const noexcept {
    auto number = signal_.load();
    return number == 0 ? std::nullopt : std::optional{number};
  }

private:
  void watch();

  std::stop_source source_;
  std::atomic<int> signal_ = 0;
  // An event that ends the watch, and where signals are read.
  unique_fd done_;
  unique_fd signals_;
  std::thread watcher_;
};

} // namespace parts
