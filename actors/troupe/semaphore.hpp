// "So many at once": permits that threads, actors and tasks take and give back,
// first come, first served.

#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <caf/fwd.hpp>

#include "troupe/mailbox_face.hpp"
#include "troupe/operation.hpp"
#include "troupe/wait_list.hpp"

namespace troupe {

class permit;

/// The permits and the waiters of a semaphore, shared by its handles, its
/// permits and its actor. Thread-safe.
///
/// Invariant: while somebody waits, no permit is free. So nobody overtakes.
class semaphore_state final : public ref_counted {
public:
  /// @pre `free <= bound`
  semaphore_state(std::size_t free, std::size_t bound)
      : free_{free}, bound_{bound} {}

  operation<permit> acquire();

  bool try_acquire();

  void release(std::size_t n);

  /// As `release(1)`, but does nothing beyond the bound.
  void give_back() noexcept;

  std::size_t available() const;

  std::size_t bound() const noexcept { return bound_; }

private:
  friend class semaphore_wait;

  // Under the lock.
  void add(std::size_t n, wake_list& woken) noexcept;

  mutable std::mutex mutex_;
  std::size_t free_;
  const std::size_t bound_;
  wait_list waiters_;
};

/// A permit of a semaphore, which goes back when this goes; or none.
class [[nodiscard]] permit {
public:
  permit() = default;

  explicit permit(ref_ptr<semaphore_state> from) noexcept
      : from_{std::move(from)} {}

  permit(permit&&) noexcept = default;

  permit& operator=(permit&& other) noexcept {
    release();
    from_ = std::move(other.from_);
    return *this;
  }

  ~permit() { release(); }

  /// Gives the permit back now. If others gave back more than they had taken,
  /// so that the bound is reached, it is dropped.
  void release() noexcept {
    if (auto from = std::exchange(from_, nullptr))
      from->give_back();
  }

  /// Keeps the permit taken; `semaphore::release` is to give it back.
  void detach() noexcept { from_ = nullptr; }

  /// Returns whether there is a permit in here.
  explicit operator bool() const noexcept { return static_cast<bool>(from_); }

private:
  ref_ptr<semaphore_state> from_;
};

/// A handle to a semaphore. Copies refer to the same semaphore; usable from any
/// thread. Permits may outlive the handles.
///
/// Source: asyncio.Semaphore and BoundedSemaphore, as fair; `acquire` yields
///         the permit, in place of `async with`.
class semaphore {
public:
  /// Makes a semaphore with `permits` free ones, and no bound. Starts nothing.
  ///
  /// Units:  0 permits are fine; somebody has to `release` first.
  /// Errors: throws `failure` with `ec::invalid_option` for a negative number.
  semaphore(caf::actor_system& system, std::size_t permits);

  /// Makes a semaphore that never has more than `bound` free permits.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for a bound of 0 or
  ///         less than `permits`, and for negative numbers.
  semaphore(caf::actor_system& system, std::size_t permits, std::size_t bound);

  /// Takes a permit; waits until there is one, behind those who came before.
  ///
  /// Shape:  a permit that was got for an operation whose result nobody takes
  ///         goes back: it is never lost.
  /// Errors: `failure` with `ec::cancelled` if the wait is cancelled; then it
  ///         has no permit. When the last handle and the last permit go before,
  ///         the wait does not end.
  operation<permit> acquire() const;

  /// Takes a permit if one is free, which none is while others wait. Returns
  /// whether it did; `release` gives it back.
  [[nodiscard]] bool try_acquire() const {
    return shared_->state->try_acquire();
  }

  /// Gives `n` permits back that are in no `permit` object, or makes new ones.
  /// They go to those who wait, in the order in which they came.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` if more would be free
  ///         than the bound; then nothing has happened.
  void release(std::size_t n = 1) const { shared_->state->release(n); }

  /// Returns how many permits are free.
  std::size_t available() const { return shared_->state->available(); }

  /// Returns how many permits may be free at most.
  std::size_t bound() const { return shared_->state->bound(); }

  /// Returns the actor that takes the messages of messages.hpp for this
  /// semaphore. Started on first use; ends with the last handle.
  caf::actor actor() const;

private:
  std::shared_ptr<faced<semaphore_state>> shared_;
};

} // namespace troupe
