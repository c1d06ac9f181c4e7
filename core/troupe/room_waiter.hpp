// Somebody who waits until the queue of a pool has room, as the dispatcher
// knows it.

#pragma once

#include <cstdint>

namespace troupe {

/// Waits for its turn to submit more. Linked through its own members, so that
/// waiting costs no memory.
class room_waiter {
public:
  /// There is room. Is called once, on any thread, without locks held.
  virtual void on_room() noexcept = 0;

protected:
  ~room_waiter() = default;

private:
  friend class dispatcher;

  // Guarded by the dispatcher's mutex.
  room_waiter* prev_ = nullptr;
  room_waiter* next_ = nullptr;
  // How many submissions had been queued when it came.
  std::uint64_t ticket_ = 0;
  bool listed_ = false;
};

} // namespace troupe
