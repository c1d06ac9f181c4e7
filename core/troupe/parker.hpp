// Where a thread sleeps until somebody wakes it: what `get()` waits on. A futex
// on Linux, because a condition variable makes the woken thread fight for the
// mutex that its waker may still hold; a condition variable elsewhere.
// std::binary_semaphore would do, but libstdc++ before 12.4 can lose its
// wake-ups.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace troupe {

/// Tells the processor that the calling thread spins.
inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Sleeps on a condition variable.
class condvar_parker {
public:
  /// Wakes the sleeper, or lets its next `park` return at once.
  void unpark() noexcept {
    // Notifies under the lock: once it is free, the sleeper may be gone.
    std::lock_guard guard{mutex_};
    open_ = true;
    opened_.notify_one();
  }

  /// Blocks the calling thread until `unpark`.
  void park() noexcept {
    std::unique_lock guard{mutex_};
    opened_.wait(guard, [this] { return open_; });
    open_ = false;
  }

  /// As `park`, until `deadline` at the latest. Returns whether `unpark` came.
  bool park_until(std::chrono::steady_clock::time_point deadline) noexcept {
    std::unique_lock guard{mutex_};
    if (!opened_.wait_until(guard, deadline, [this] { return open_; }))
      return false;
    open_ = false;
    return true;
  }

private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

#if defined(__linux__)

/// Sleeps on a futex.
class futex_parker {
public:
  void unpark() noexcept;

  void park() noexcept;

  bool park_until(std::chrono::steady_clock::time_point deadline) noexcept;

private:
  static constexpr std::uint32_t empty = 0;
  static constexpr std::uint32_t asleep = 1;
  static constexpr std::uint32_t open = 2;

  std::atomic<std::uint32_t> word_{empty};
};

using parker = futex_parker;

#else

using parker = condvar_parker;

#endif

} // namespace troupe
