// The one place where troupe waits for time on behalf of operations: deadlines,
// retries, hedged requests and drains. One thread for the whole process,
// started with the first timer, because an operation may be waited for by a
// plain thread, which has no actor whose clock could wake it.

#pragma once

#include <cstdint>
#include <functional>

#include "troupe/clock.hpp"

namespace troupe {

/// A timer that has been started.
struct timer_id {
  clock::time_point when;
  /// 0: it cannot be stopped any more.
  std::uint64_t number = 0;
};

/// Calls `wake` once `time` has reached `when`; at once if it has. From any
/// thread. `wake` runs on the timer's thread, or on that which moves `time`;
/// must be short and not throw.
timer_id start_timer(clock& time, clock::time_point when,
                     std::function<void()> wake);

/// Starts the thread that calls timers back, if it does not run yet: from then
/// on nothing can go wrong with a timer.
///
/// Errors: throws `failure` with `ec::resource_unavailable` if the system
///         refuses the thread.
void start_timer_thread();

/// Forgets the timer, and destroys its function, unless that runs already. Does
/// not wait for it.
void stop_timer(const timer_id& which) noexcept;

} // namespace troupe
