// "It is done": a flag that threads, actors and tasks can wait for. Level
// triggered: whoever waits while it is set is answered at once.

#pragma once

#include <memory>
#include <mutex>

#include <caf/fwd.hpp>

#include "troupe/mailbox_face.hpp"
#include "troupe/operation.hpp"
#include "troupe/wait_list.hpp"

namespace troupe {

/// The state and the waiters of an event, shared by its handles and its actor.
/// Thread-safe.
class event_state final : public completion_sink {
public:
  void set();

  void clear();

  bool is_set() const;

  operation<void> wait();

  void on_operation_complete() noexcept override { set(); }

private:
  friend class event_wait;

  mutable std::mutex mutex_;
  bool set_ = false;
  wait_list waiters_;
};

/// A handle to an event. Copies refer to the same event; usable from any
/// thread.
///
/// Source: asyncio.Event, but safe to use from everywhere.
class event {
public:
  /// Makes an event that is not set. Starts nothing.
  explicit event(caf::actor_system& system);

  /// Sets the event and wakes all who wait, in the order in which they came.
  /// Holds when it returns.
  void set() const { shared_->state->set(); }

  /// Clears the event; whoever waits from now on waits for the next `set`.
  void clear() const { shared_->state->clear(); }

  bool is_set() const { return shared_->state->is_set(); }

  /// Waits until the event is set; at once if it is.
  ///
  /// Errors: `failure` with `ec::cancelled` if the wait is cancelled. When the
  ///         last handle goes before the event is set, the wait does not end.
  operation<void> wait() const { return shared_->state->wait(); }

  /// Returns the actor that takes the messages of messages.hpp for this event.
  /// Started on first use; ends with the last handle.
  caf::actor actor() const;

  /// Returns what `operation::notify` sets.
  ref_ptr<completion_sink> sink() const { return shared_->state; }

private:
  std::shared_ptr<faced<event_state>> shared_;
};

} // namespace troupe
