// "When everybody is here": a meeting point for a fixed number of threads,
// actors and tasks, which may be used again and again.

#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include <caf/fwd.hpp>

#include "troupe/mailbox_face.hpp"
#include "troupe/operation.hpp"
#include "troupe/wait_list.hpp"

namespace troupe {

/// Who has come to a barrier, shared by its handles and its actor. Thread-safe.
class barrier_state final : public ref_counted {
public:
  explicit barrier_state(std::size_t parties) : parties_{parties} {}

  operation<std::size_t> wait();

  void abort();

  void reset();

  std::size_t parties() const noexcept { return parties_; }

  std::size_t n_waiting() const;

  bool broken() const;

private:
  friend class barrier_wait;

  mutable std::mutex mutex_;
  const std::size_t parties_;
  bool broken_ = false;
  wait_list waiters_;
};

/// A handle to a barrier. Copies refer to the same barrier; usable from any
/// thread.
///
/// Source: asyncio.Barrier, with two differences. All leave at once, so there
///         is no state in which some have left and others can still be stopped.
///         Whoever is cancelled leaves the barrier as if it had not come.
class barrier {
public:
  /// Makes a barrier for `parties`. Starts nothing.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for 0 or a negative
  ///         number of parties.
  barrier(caf::actor_system& system, std::size_t parties);

  /// Waits until as many wait as there are parties, and lets all of them go.
  /// Those who come from then on wait for the next round.
  ///
  /// Shape:  yields how many of this round came before: 0 to `parties() - 1`,
  ///         each once. Who was cancelled does not count.
  /// Errors: `failure` with `ec::closed` if the barrier is broken, or reset
  ///         while it waits; with `ec::cancelled` if it is cancelled. When the
  ///         last handle goes before, the wait does not end.
  operation<std::size_t> wait() const { return shared_->state->wait(); }

  /// Breaks the barrier: all who wait fail, and so does whoever comes, until
  /// `reset`. For a party that cannot come any more.
  void abort() const { shared_->state->abort(); }

  /// Makes the barrier as new. Those who wait fail.
  void reset() const { shared_->state->reset(); }

  /// Returns how many must come.
  std::size_t parties() const { return shared_->state->parties(); }

  /// Returns how many have come.
  std::size_t n_waiting() const { return shared_->state->n_waiting(); }

  /// Returns whether the barrier was aborted, and not reset.
  bool broken() const { return shared_->state->broken(); }

  /// Returns the actor that takes the messages of messages.hpp for this
  /// barrier. Started on first use; ends with the last handle.
  caf::actor actor() const;

private:
  std::shared_ptr<faced<barrier_state>> shared_;
};

} // namespace troupe
