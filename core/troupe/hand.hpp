// The submissions of one request each that a worker has taken from the queue
// together. With one visit to the queue for each, workers that make tiny calls
// would spend most of their time waiting for its lock.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace troupe {

class batch;

/// Batches of one request each that one worker is to run in their order.
///
/// Invariants: (1) The worker goes on without a lock, until it has been told to
///                 come back; all else is guarded by that of the dispatcher.
///             (2) Holds a reference to each batch until the worker ends its
///                 part in all of them.
///             (3) What is not begun when the worker is called back is in the
///                 queue again.
class hand {
public:
  /// The most that are taken together.
  static constexpr std::uint32_t max_size = 32;

  /// How long they should take together: as long as requests of a map that are
  /// claimed together.
  static constexpr auto time = std::chrono::microseconds{10};

  bool empty() const noexcept { return size == 0; }

  /// Returns the position of the batch that the worker is at.
  std::uint32_t position() const noexcept {
    return at_.load(std::memory_order_acquire) & ~called_back;
  }

  /// Goes on to the next one. Returns false if there is none, or none any more.
  bool go_on() noexcept {
    auto at = at_.load(std::memory_order_relaxed);
    return (at & called_back) == 0 && at + 1 < size
           && at_.compare_exchange_strong(at, at + 1,
                                          std::memory_order_acq_rel);
  }

  /// Has the worker not go on.
  void call_back() noexcept {
    at_.fetch_or(called_back, std::memory_order_acq_rel);
  }

  void reset(std::uint32_t n) noexcept {
    size = n;
    at_.store(0, std::memory_order_release);
  }

  std::array<batch*, max_size> batches{};
  std::uint32_t size = 0;
  /// When the worker began with the first one.
  std::chrono::steady_clock::time_point since;
  /// How many would have taken `time`, going by those before.
  std::uint32_t fit = 1;

private:
  static constexpr std::uint32_t called_back = 1u << 31;

  std::atomic<std::uint32_t> at_{0};
};

} // namespace troupe
