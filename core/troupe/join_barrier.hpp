// Counts replies until the last one is in. The count is one atomic number, so
// that whoever brings it to zero delivers: a worker, or whoever cancels the
// rest.

#pragma once

#include <atomic>
#include <cstdint>

namespace troupe {

/// Counts down from the number of requests.
///
/// Invariant: exactly one call of `arrive` returns true.
class join_barrier {
public:
  explicit join_barrier(std::uint32_t requests) noexcept
      : remaining_{requests} {}

  /// Sets the number of requests, before the first reply.
  void reset(std::uint32_t requests) noexcept {
    remaining_.store(requests, std::memory_order_relaxed);
  }

  /// Counts replies. Returns true for the call that completes the count; what
  /// the others did before their call is visible to that caller.
  [[nodiscard]] bool arrive(std::uint32_t replies) noexcept {
    return remaining_.fetch_sub(replies, std::memory_order_acq_rel) == replies;
  }

  /// Returns how many replies have not arrived yet.
  std::uint32_t remaining() const noexcept {
    return remaining_.load(std::memory_order_acquire);
  }

private:
  std::atomic<std::uint32_t> remaining_;
};

} // namespace troupe
