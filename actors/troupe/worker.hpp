// A worker makes one blocking call at a time on a thread of its own, so that
// mailboxes elsewhere keep moving while the call waits for a disk or a socket.
// In a cooperative pool, which computes, workers share CAF's threads instead.
// Spawned by the coordinator and by nobody else.

#pragma once

#include <caf/event_based_actor.hpp>

#include "troupe/dispatcher.hpp"

namespace troupe {

/// The cell of a worker that is an actor.
class actor_cell final : public worker_cell {
public:
  using worker_cell::worker_cell;

  /// Where to send the wake-up. A weak reference: a handle to a detached actor
  /// that has ended would keep its thread.
  caf::actor_addr address;
};

class worker : public caf::event_based_actor {
public:
  worker(caf::actor_config& cfg, ref_ptr<dispatcher> home, actor_cell* cell);

  caf::behavior make_behavior() override;

  const char* name() const override { return "troupe.worker"; }

  void on_exit() override;

private:
  void begin_thread();
  bool run_start_hook();
  void end();
  void work();
  void serve(worker_cell::hand_off& found);

  ref_ptr<dispatcher> home_;
  actor_cell* cell_;
  // CAF 0.17 destroys an actor to which nobody holds a handle, and nobody else
  // does to a worker; let go of at exit.
  caf::strong_actor_ptr self_;
  // What a worker of a cooperative pool goes on with when it has let others use
  // the thread.
  worker_cell::hand_off later_;
  bool launched_ = false;
  bool started_ = false;
  // Whether the hook for the end is to be called.
  bool hooked_ = false;
};

/// Sees to it that threads started from now on have at least `bytes` of stack;
/// 0: whatever they have.
///
/// Errors: throws `failure` with `ec::invalid_option` if the system refuses.
void raise_stack_size(std::size_t bytes);

} // namespace troupe
