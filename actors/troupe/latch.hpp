// "All of you are done": a count that falls to zero once, and stays there.
// Threads, actors and tasks count it down and wait for it.

#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include <caf/fwd.hpp>

#include "troupe/mailbox_face.hpp"
#include "troupe/operation.hpp"
#include "troupe/wait_list.hpp"

namespace troupe {

/// The count and the waiters of a latch, shared by its handles and its actor.
/// Thread-safe.
class latch_state final : public completion_sink {
public:
  explicit latch_state(std::size_t count) : missing_{count} {}

  void count_down(std::size_t n);

  std::size_t missing() const;

  operation<void> wait();

  operation<void> arrive_and_wait(std::size_t n);

  /// Counts 1, unless none is missing.
  void on_operation_complete() noexcept override;

private:
  friend class latch_wait;

  // Under the lock.
  void take_off(std::size_t n, wake_list& woken) noexcept;

  mutable std::mutex mutex_;
  std::size_t missing_;
  wait_list waiters_;
};

/// A handle to a latch. Copies refer to the same latch; usable from any thread.
///
/// Source: std::latch and Java's CountDownLatch, but also for actors and tasks;
///         asyncio has none.
class latch {
public:
  /// Makes a latch from which `count` are missing. With 0 it is open from the
  /// start. Starts nothing.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for a negative number.
  latch(caf::actor_system& system, std::size_t count);

  /// Counts `n` off. With the last one, all who wait are woken, in the order in
  /// which they came. Holds when it returns.
  ///
  /// Errors: `failure` with `ec::invalid_option` for more than are missing;
  ///         then none of them counts.
  void count_down(std::size_t n = 1) const { shared_->state->count_down(n); }

  /// Returns whether none is missing.
  bool try_wait() const { return missing() == 0; }

  /// Returns how many are missing.
  std::size_t missing() const { return shared_->state->missing(); }

  /// Waits until none is missing; not at all if that is so already.
  ///
  /// Errors: `failure` with `ec::cancelled` if the wait is cancelled. When the
  ///         last handle goes before, the wait does not end.
  operation<void> wait() const { return shared_->state->wait(); }

  /// Counts `n` off when the operation starts, and waits for the rest. What it
  /// counted stays counted if the wait is cancelled.
  ///
  /// Errors: as for `count_down` and `wait`.
  operation<void> arrive_and_wait(std::size_t n = 1) const {
    return shared_->state->arrive_and_wait(n);
  }

  /// Returns the actor that takes the messages of messages.hpp for this latch.
  /// Started on first use; ends with the last handle.
  caf::actor actor() const;

  /// Returns what counts 1 off when an operation is complete, by
  /// `operation::notify`.
  ref_ptr<completion_sink> sink() const { return shared_->state; }

private:
  std::shared_ptr<faced<latch_state>> shared_;
};

} // namespace troupe
