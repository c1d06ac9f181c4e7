// The resource of one worker: whether it is there, how long it has been, and
// whether it is still good. Knows neither pool nor thread; whoever owns the
// worker's cell calls it, on the worker's thread.

#pragma once

#include <cstdint>
#include <memory>
#include <typeindex>

#include "troupe/clock.hpp"
#include "troupe/resource.hpp"

namespace troupe {

/// Holds one resource, or none.
///
/// Invariants: (1) There is one whenever the slot is not stale, if the spec has
///                 an `open` at all.
///             (2) A stale one is not handed out any more; it waits to be
///                 closed.
class resource_slot {
public:
  /// `spec` must outlive the slot.
  explicit resource_slot(const resource_spec& spec) noexcept
      : spec_{spec}, stale_{static_cast<bool>(spec.open)} {}

  // -- properties -------------------------------------------------------------

  bool holds(std::type_index type) const noexcept {
    return spec_.open && spec_.type == type;
  }

  /// Returns whether a resource must be opened before a request may use one.
  bool stale() const noexcept { return stale_; }

  /// Returns whether the running request has asked for the resource.
  bool in_use() const noexcept { return in_use_; }

  // -- operations -------------------------------------------------------------

  /// Opens a resource. Throws what `open` throws.
  /// @pre there is none
  void open(clock::time_point now);

  /// Closes the resource. Returns false if there is none.
  bool close() noexcept;

  /// What a check has shown.
  enum class fitness : std::uint8_t {
    good,
    /// It is due to be replaced.
    old,
    /// `check` says that it is of no more use.
    bad,
  };

  /// Checks a resource that has been idle, and makes it stale if it is not good
  /// any more.
  fitness examine(clock& time) noexcept;

  /// Hands out the resource, until `end_use`.
  /// @pre `!stale()`
  void* use() noexcept {
    in_use_ = true;
    return value_.get();
  }

  /// Makes the resource stale: it is of no more use.
  void discard() noexcept { stale_ = static_cast<bool>(spec_.open); }

  /// The request that used the resource has returned.
  void end_use(clock& time) noexcept;

private:
  bool old(clock::time_point now) const noexcept {
    auto age = spec_.rules.recycle_every;
    return age > std::chrono::nanoseconds{0} && now - opened_at_ >= age;
  }

  bool depends_on_time() const noexcept {
    return spec_.check || spec_.rules.recycle_every.count() > 0;
  }

  bool broken() noexcept;

  const resource_spec& spec_;
  std::shared_ptr<void> value_;
  clock::time_point opened_at_;
  clock::time_point used_at_;
  std::uint64_t uses_ = 0;
  bool in_use_ = false;
  bool stale_;
};

} // namespace troupe
