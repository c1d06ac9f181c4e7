// A share in a pool's dispatcher, for headers that need not know what that is.

#pragma once

#include <cstdint>
#include <utility>

#include "troupe/ref_counted.hpp"

namespace troupe {

class clock;
class dispatcher;

/// Holds references to a dispatcher, or to nothing.
class home_share {
public:
  home_share() = default;

  explicit home_share(ref_ptr<dispatcher> home) noexcept;

  home_share(home_share&& other) noexcept
      : home_{std::exchange(other.home_, nullptr)} {}

  home_share& operator=(home_share&& other) noexcept {
    std::swap(home_, other.home_);
    return *this;
  }

  ~home_share() {
    if (home_)
      let_go(1);
  }

  dispatcher* get() const noexcept { return home_; }

  /// Gives up the pointer; the reference is the caller's.
  [[nodiscard]] dispatcher* release() noexcept {
    return std::exchange(home_, nullptr);
  }

  /// Takes over a reference that somebody had. What it held before is not
  /// dropped: of many that refer to the same dispatcher, the caller keeps
  /// count.
  void adopt(dispatcher* home) noexcept { home_ = home; }

  /// Drops `n` references besides the one that it keeps. One step for many:
  /// each would take the counter from the threads that use it.
  void drop_others(std::uint32_t n) noexcept;

  /// Returns whether calls may be added to a burst.
  bool takes_calls() const noexcept;

  /// Takes one more reference.
  home_share copy() const noexcept;

  /// Returns the clock of the pool.
  clock& time() const noexcept;

  /// Gives up the reference as what it is.
  ref_ptr<dispatcher> take() noexcept;

private:
  void let_go(std::uint32_t n) noexcept;

  dispatcher* home_ = nullptr;
};

} // namespace troupe
