// A door that tests put into requests, so that they know where a request is
// without measuring time: it says who has arrived and lets nobody through until
// the test opens it.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace test {

/// Holds back whoever passes it until it is opened. Thread-safe.
class gate {
public:
  /// Arrives, and blocks until the gate is open.
  void pass() {
    std::unique_lock guard{mutex_};
    ++arrived_;
    changed_.notify_all();
    changed_.wait(guard, [this] { return open_; });
  }

  /// Arrives without stopping.
  void touch() {
    std::lock_guard guard{mutex_};
    ++arrived_;
    changed_.notify_all();
  }

  /// Lets everybody through, from now on.
  void open() {
    std::lock_guard guard{mutex_};
    open_ = true;
    changed_.notify_all();
  }

  /// Blocks until `n` have arrived since the gate was made.
  void wait_for_arrivals(std::size_t n = 1) {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [&] { return arrived_ >= n; });
  }

  /// Returns how many have arrived.
  std::size_t arrivals() const {
    std::lock_guard guard{mutex_};
    return arrived_;
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t arrived_ = 0;
  bool open_ = false;
};

/// Opens a gate at the end of its scope, so that a failed REQUIRE shows as a
/// failure and not as a hang.
class open_at_exit {
public:
  explicit open_at_exit(gate& target) noexcept : gate_{target} {}

  open_at_exit(const open_at_exit&) = delete;
  open_at_exit& operator=(const open_at_exit&) = delete;

  ~open_at_exit() { gate_.open(); }

private:
  gate& gate_;
};

} // namespace test
