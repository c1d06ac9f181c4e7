// A door that lets through so many: what a service gets done is then what the
// test says, whatever time that takes.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace test {

/// Holds back whoever passes it until there is a turn left. Thread-safe.
class turnstile {
public:
  /// Blocks until there is a turn, and takes it.
  void pass() {
    std::unique_lock guard{mutex_};
    ++waiting_;
    changed_.wait(guard, [this] { return open_ || turns_ > 0; });
    --waiting_;
    if (!open_)
      --turns_;
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

  /// Returns how many wait, and whether all turns are taken.
  std::size_t waiting() const {
    std::lock_guard guard{mutex_};
    return turns_ > 0 ? 0 : waiting_;
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t turns_ = 0;
  std::size_t waiting_ = 0;
  bool open_ = false;
};

} // namespace test
