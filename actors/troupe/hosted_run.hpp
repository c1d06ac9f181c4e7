// What a worker waits for that blocks in `troupe::run`: the task which it hosts
// in an actor. Hears from that actor what its tasks wait for, so that the
// worker can do it itself, and so that a ring of waits is seen through it.

#pragma once

#include <mutex>
#include <unordered_map>

#include "troupe/port.hpp"

namespace troupe {

/// The run of a task, as the worker sees it that waits for it. Complete when
/// `over` is called; has no result of its own.
class hosted_run final : public port_patron {
public:
  /// Returns one that has started if the calling thread is a worker's; else
  /// null.
  static ref_ptr<hosted_run> on_worker();

  /// Says which task, or other operation, the run consists of. On the actor's
  /// thread, before it starts.
  void set_root(port& home, op_state& root);

  /// The task is over, or its actor has ended.
  void over() noexcept;

  void awaits(const op_state& task, op_state* op) noexcept override;

  bool task_hangs(const op_state& task, hang_check& check) noexcept override;

  void help() noexcept override;

  bool hangs(hang_check& check) noexcept override;

protected:
  void begin() override {}

  // The task knows nothing of who waits for it.
  void stop(ec) noexcept override {}

private:
  // Taken again where one task waits for another.
  std::recursive_mutex mutex_;
  ref_ptr<op_state> root_;
  std::unordered_map<const op_state*, ref_ptr<op_state>> awaited_;
};

} // namespace troupe
