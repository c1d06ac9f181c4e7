// The one place where troupe asks what time it is. Idle rules, drain timeouts
// and deadlines read time through a `clock`, so that a test can hand in one
// that it moves by hand.

#pragma once

#include <chrono>
#include <functional>

namespace troupe {

/// A source of time. The default one is `std::chrono::steady_clock`.
/// Thread-safe.
class clock {
public:
  using time_point = std::chrono::steady_clock::time_point;

  virtual ~clock() = default;

  virtual time_point now() const noexcept = 0;

  /// Arranges that `wake` is called once the clock has reached `when`, from any
  /// thread. Returns false if this clock has no timers of its own, as the
  /// steady one has not: then the caller uses those of its actor system.
  virtual bool call_at(time_point when, std::function<void()> wake) = 0;
};

/// Returns the clock that follows `std::chrono::steady_clock`.
clock& steady_clock() noexcept;

} // namespace troupe
