// The part of a batch that one worker has claimed and not started yet,
// published as one atomic word so that others can take it away again: a cancel
// drops it, an idle worker steals half of it, and a worker that yields leaves
// it behind.

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "troupe/asymmetric_fence.hpp"

namespace troupe {

/// Some consecutive requests of a batch, from `begin` up to and without `end`.
struct index_range {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;

  std::uint32_t size() const noexcept { return end - begin; }

  bool empty() const noexcept { return begin >= end; }
};

/// Holds the unstarted requests of one worker.
///
/// Invariants: (1) Only advancing `next_` starts a request, and only the owner
///                 advances it, or takes that back. Others lower `end_`, one at
///                 a time.
///             (2) The owner announces what it starts before it looks at
///             `end_`;
///                 others announce what they take before they look at `next_`.
///                 A request that both have announced belongs to the owner.
///             (3) The owner publishes only into an empty lane.
///
/// Source: the protocol of Cilk's deques (Frigo, Leiserson, Randall 1998).
class alignas(16) lane {
public:
  // -- the owner's side -------------------------------------------------------

  /// Makes this thread the owner, unless the lane has one. A former owner may
  /// have left requests behind.
  bool try_own() noexcept {
    return !owned_.load(std::memory_order_relaxed)
           && !owned_.exchange(true, std::memory_order_acquire);
  }

  /// Ends the ownership; what is unstarted stays for others.
  void disown() noexcept { owned_.store(false, std::memory_order_release); }

  /// @pre the lane is empty
  void publish(index_range range) noexcept {
    lock guard{*this};
    next_.store(range.begin, std::memory_order_seq_cst);
    end_.store(range.end, std::memory_order_seq_cst);
  }

  /// What `start` returns when nothing is left.
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  /// Starts the next request, or returns `none` if none is left. A plain
  /// number, since an optional comes back through memory, in two parts that the
  /// processor cannot forward to one load: 8 ns a request.
  std::uint32_t start() noexcept {
    auto index = next_.load(std::memory_order_relaxed);
    store_with_light_fence(next_, index + 1, asymmetric_);
    if (index < end_.load(std::memory_order_seq_cst)) [[likely]]
      return index;
    return start_last(index);
  }

  /// Makes the requests from `first` on, which `start` returned last and which
  /// have not begun, unstarted again.
  void give_back(std::uint32_t first) noexcept {
    lock guard{*this};
    next_.store(first, std::memory_order_seq_cst);
  }

  // -- everybody's side -------------------------------------------------------

  index_range unstarted() const noexcept {
    auto next = next_.load(std::memory_order_seq_cst);
    return {next, end_.load(std::memory_order_seq_cst)};
  }

  /// Takes the later half of what is unstarted, rounded up.
  index_range steal_half() noexcept {
    return take([](index_range r) { return (r.size() + 1) / 2; });
  }

  /// Takes the last unstarted request.
  index_range steal_one() noexcept {
    return take([](index_range) { return 1u; });
  }

  /// Takes all that is unstarted.
  index_range drop() noexcept {
    return take([](index_range r) { return r.size(); });
  }

private:
  /// Keeps those who take from a lane, and an owner that has run out, apart.
  class lock {
  public:
    explicit lock(lane& target) noexcept : lane_{target} {
      while (lane_.locked_.exchange(true, std::memory_order_acquire))
        std::this_thread::yield();
    }
    lock(const lock&) = delete;
    lock& operator=(const lock&) = delete;
    ~lock() { lane_.locked_.store(false, std::memory_order_release); }

  private:
    lane& lane_;
  };

  // Apart, so that `start` is small enough to be inlined.
  [[gnu::noinline]] std::uint32_t start_last(std::uint32_t index) noexcept {
    // Somebody may be about to give back what it could not take.
    lock guard{*this};
    if (index < end_.load(std::memory_order_relaxed))
      return index;
    next_.store(index, std::memory_order_seq_cst);
    return none;
  }

  template <class HowMany>
  index_range take(HowMany how_many) noexcept {
    if (unstarted().empty())
      return {};
    lock guard{*this};
    auto range = unstarted();
    if (range.empty())
      return {};
    auto split = range.end - how_many(range);
    end_.store(split, std::memory_order_seq_cst);
    heavy_fence();
    auto next = next_.load(std::memory_order_seq_cst);
    if (next > split) {
      split = std::min(next, range.end);
      end_.store(split, std::memory_order_seq_cst);
    }
    return {split, range.end};
  }

  std::atomic<std::uint32_t> next_{0};
  std::atomic<std::uint32_t> end_{0};
  std::atomic<bool> owned_{false};
  std::atomic<bool> locked_{false};
  const bool asymmetric_ = has_asymmetric_fence();
  // So that the next one begins in another cache line; what is before it in
  // this one fits into 16 bytes.
  std::array<std::byte, 48> apart_;
};

static_assert(sizeof(lane) >= 64);

} // namespace troupe
