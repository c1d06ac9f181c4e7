// The part of a batch that one worker has claimed and not started yet,
// published as one atomic word so that others can take it away again: a cancel
// drops it, an idle worker steals half of it, and a worker that yields leaves
// it behind.

#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

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
/// Invariants: (1) Only advancing `next` starts a request, and only the owner
///                 advances it. Others only lower `end`.
///             (2) The owner publishes only into an empty lane.
class alignas(64) lane {
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
    word_.store(pack(range), std::memory_order_seq_cst);
  }

  /// Starts the next request, or returns nothing if none is left.
  std::optional<std::uint32_t> start() noexcept {
    // Overshoots by one when the lane is empty, which `unpack` treats as empty.
    auto range = unpack(word_.fetch_add(1, std::memory_order_acq_rel));
    if (range.empty()) {
      // Else a word that is polled for ever would carry into `end`.
      word_.store(0, std::memory_order_relaxed);
      return std::nullopt;
    }
    return range.begin;
  }

  // -- everybody's side -------------------------------------------------------

  index_range unstarted() const noexcept {
    return unpack(word_.load(std::memory_order_seq_cst));
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
  static constexpr std::uint64_t pack(index_range r) noexcept {
    return std::uint64_t{r.end} << 32 | r.begin;
  }

  static constexpr index_range unpack(std::uint64_t word) noexcept {
    return {static_cast<std::uint32_t>(word),
            static_cast<std::uint32_t>(word >> 32)};
  }

  template <class HowMany>
  index_range take(HowMany how_many) noexcept {
    auto word = word_.load(std::memory_order_seq_cst);
    for (;;) {
      auto range = unpack(word);
      if (range.empty())
        return {};
      auto split = range.end - how_many(range);
      if (word_.compare_exchange_weak(word, pack({range.begin, split}),
                                      std::memory_order_seq_cst))
        return {split, range.end};
    }
  }

  std::atomic<std::uint64_t> word_{0};
  std::atomic<bool> owned_{false};
};

} // namespace troupe
