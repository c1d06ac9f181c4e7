// Two threads that do something at the same time, again and again, for promises
// that only a race can break.

#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace test {

/// A number that threads raise and wait for. Whoever waits spins for a moment,
/// so as to be close behind, and then leaves the processor to others.
class milestone {
public:
  /// Does nothing if it is there already.
  void raise_to(int n) {
    if (reached_.load() >= n)
      return;
    std::lock_guard guard{mutex_};
    if (reached_.load() < n)
      reached_.store(n);
    raised_.notify_all();
  }

  void wait_for(int n) {
    for (auto spins = 0; spins < 200; ++spins)
      if (reached_.load() >= n)
        return;
    std::unique_lock guard{mutex_};
    raised_.wait(guard, [&] { return reached_.load() >= n; });
  }

private:
  std::mutex mutex_;
  std::condition_variable raised_;
  std::atomic<int> reached_{0};
};

/// Calls `prepare(i)`, then `left(i)` and `right(i)` at the same time on two
/// threads, then `check(i)`, for each i below `rounds`. All but `right` are
/// called on this thread.
template <class Prepare, class Left, class Right, class Check>
void race(int rounds, Prepare prepare, Left left, Right right, Check check) {
  milestone begun;
  milestone ended;
  std::jthread other{[&] {
    for (int i = 0; i < rounds; ++i) {
      begun.wait_for(i + 1);
      right(i);
      ended.raise_to(i + 1);
    }
  }};
  for (int i = 0; i < rounds; ++i) {
    prepare(i);
    begun.raise_to(i + 1);
    // Now and then the other one shall be first.
    for (auto n = 0; n < i % 8 * 20; ++n)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    left(i);
    ended.wait_for(i + 1);
    check(i);
  }
}

} // namespace test
