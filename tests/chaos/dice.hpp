// Random numbers that are the same for a seed on every machine.

#pragma once

#include <cstdint>
#include <random>

namespace chaos {

class dice {
public:
  explicit dice(std::uint64_t seed) : engine_{seed} {}

  /// Returns a number from 0 to `n` - 1.
  std::uint64_t below(std::uint64_t n) { return engine_() % n; }

  bool one_in(std::uint64_t n) { return below(n) == 0; }

  std::uint64_t fork() { return engine_(); }

private:
  std::mt19937_64 engine_;
};

} // namespace chaos
