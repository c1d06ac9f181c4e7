// A door that lets through so many: what a service gets done is then what the
// test says, whatever time that takes.

#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace test {

/// Holds back whoever passes it until it is his turn, in order of arrival.
/// Thread-safe.
class turnstile {
public:
  /// Blocks until it is the caller's turn.
  void pass() {
    std::unique_lock guard{mutex_};
    auto mine = arrived_++;
    changed_.wait(guard, [&] { return open_ || mine < turns_; });
  }

  /// Lets `n` more through.
  void let(std::size_t n) {
    std::lock_guard guard{mutex_};
    turns_ += n;
    changed_.notify_all();
  }

  /// Lets everybody through, from now on.
  void open() {
    std::lock_guard guard{mutex_};
    open_ = true;
    changed_.notify_all();
  }

  /// Returns how many wait for their turn.
  std::size_t waiting() const {
    std::lock_guard guard{mutex_};
    return arrived_ - std::min(arrived_, turns_);
  }

  /// Returns how many have come so far.
  std::size_t arrived() const {
    std::lock_guard guard{mutex_};
    return arrived_;
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t arrived_ = 0;
  std::size_t turns_ = 0;
  bool open_ = false;
};

} // namespace test
