// Where an actor puts single calls that it makes one after another: the calls
// themselves, one behind the other in one piece of memory, and word of those
// that are over. A million calls that are outstanding cost little more than the
// memory that they pass through.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>

#include "troupe/error.hpp"
#include "troupe/fetch_early.hpp"
#include "troupe/op_memory.hpp"
#include "troupe/ref_counted.hpp"

namespace troupe {

class context;
enum class run_result : std::uint8_t;

/// A call, and who waits for it. Lives in a page.
class burst_call {
public:
  /// Makes the call and keeps what comes of it. On a worker.
  virtual run_result run(context& ctx) noexcept = 0;

  /// Keeps `why` it never runs.
  virtual void drop(const failure_ptr& why) noexcept = 0;

  /// Hands over what came of it, and destroys itself, also if that throws.
  virtual void deliver() = 0;

  /// Destroys itself; nobody waits any more. Returns the failure that came of
  /// it, or null.
  virtual failure_ptr discard() noexcept = 0;

protected:
  ~burst_call() = default;
};

/// Calls that one thread adds, workers run, and that thread collects.
///
/// Invariants: (1) A call that is added belongs to the burst that is open, or
///                 is the first of the next one.
///             (2) A call belongs to the burst until that has said that it is
///                 over, and then to who collects.
class burst_page : public ref_counted, public in_op_memory {
public:
  /// As many as have a bit in a word.
  static constexpr std::uint32_t capacity = 64;

  /// The largest call that fits, so that a page has ten at least; and how it is
  /// aligned.
  static constexpr std::size_t largest_call = 464;
  static constexpr std::size_t alignment = alignof(void*);

  burst_page() = default;

  static constexpr bool fits(std::size_t bytes,
                             std::size_t aligned_to) noexcept {
    return bytes <= largest_call && aligned_to <= alignment;
  }

  // -- for who adds -----------------------------------------------------------

  /// Returns where to make a call of so many bytes; null if the page is full.
  void* room_for(std::size_t bytes) noexcept {
    return count() < capacity && bytes <= room - used_ ? &memory_[used_]
                                                       : nullptr;
  }

  /// Adds the call that was made there. Returns false if no burst has it.
  bool append(burst_call& made, std::size_t bytes) noexcept {
    used_ += (bytes + alignment - 1) / alignment * alignment;
    offsets_[count()] = static_cast<std::uint16_t>(
        reinterpret_cast<std::byte*>(&made) - memory_.data());
    return (word_.fetch_add(1, std::memory_order_acq_rel) & open_bit) != 0;
  }

  /// Takes back the last one, which no burst has.
  void take_back(std::size_t bytes) noexcept {
    used_ -= (bytes + alignment - 1) / alignment * alignment;
    word_.fetch_sub(1, std::memory_order_relaxed);
  }

  /// Returns how many calls were added.
  std::uint32_t count() const noexcept {
    return word_.load(std::memory_order_relaxed) & ~open_bit;
  }

  /// Says that nobody waits any more: what has not begun shall not run.
  void give_up() noexcept { unwanted_.store(true, std::memory_order_relaxed); }

  // -- for the burst ----------------------------------------------------------

  /// Has those that are added from now on belong to the burst.
  void open() noexcept { word_.fetch_or(open_bit, std::memory_order_acq_rel); }

  /// Ends that. Returns how many calls were added.
  std::uint32_t close() noexcept {
    return word_.fetch_and(~open_bit, std::memory_order_acq_rel) & ~open_bit;
  }

  bool unwanted() const noexcept {
    return unwanted_.load(std::memory_order_relaxed);
  }

  burst_call& at(std::uint32_t index) noexcept {
    return *std::launder(
        reinterpret_cast<burst_call*>(&memory_[offsets_[index]]));
  }

  /// Has the processor fetch a call that may be wanted soon. `end`: how many
  /// calls of the page the caller may look at.
  void fetch(std::uint32_t index, std::uint32_t end) const noexcept {
    if (index < end)
      fetch_early(&memory_[offsets_[index]], call_bytes);
  }

  /// Says that these calls are over.
  void end(std::uint64_t calls) noexcept {
    if (ended_.fetch_or(calls, std::memory_order_acq_rel) == 0)
      signal();
  }

  // -- for who collects -------------------------------------------------------

  /// Returns the calls that are over, each once. After a signal.
  std::uint64_t take_ended() noexcept {
    return ended_.exchange(0, std::memory_order_acq_rel);
  }

protected:
  /// There is something to collect. Is called again only after that was done.
  virtual void signal() noexcept = 0;

private:
  static constexpr std::uint32_t open_bit = 1u << 31;

  // How much of a call to fetch: one with small functions.
  static constexpr std::size_t call_bytes = 72;

  // What is left of a page of memory, without what derived classes add.
  static constexpr std::size_t room = op_memory::page_bytes - 448;

  static_assert(room <= std::numeric_limits<std::uint16_t>::max());
  static_assert(room >= 10 * largest_call);

  std::atomic<std::uint32_t> word_{0};
  std::uint32_t used_ = 0;
  std::atomic<bool> unwanted_{false};
  // Where the calls are.
  std::array<std::uint16_t, capacity> offsets_;
  // Written by workers, and in a cache line of its own.
  std::array<std::byte, 64> before_;
  std::atomic<std::uint64_t> ended_{0};
  std::array<std::byte, 64> behind_;
  alignas(alignment) std::array<std::byte, room> memory_;
};

} // namespace troupe
