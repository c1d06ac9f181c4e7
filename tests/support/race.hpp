// Two threads that do something at the same time, again and again, for promises
// that only a race can break.

#pragma once

#include <atomic>
#include <thread>

namespace test {

/// Waits for `ready()` as closely as spinning can, without keeping a processor
/// from whoever brings it about.
template <class Ready>
void spin_until(Ready ready) {
  for (auto spins = 0; !ready(); ++spins)
    if (spins % 64 == 63)
      std::this_thread::yield();
}

/// Calls `prepare(i)`, then `left(i)` and `right(i)` at the same time on two
/// threads, then `check(i)`, for each i below `rounds`. All but `right` are
/// called on this thread.
template <class Prepare, class Left, class Right, class Check>
void race(int rounds, Prepare prepare, Left left, Right right, Check check) {
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  std::jthread other{[&] {
    for (int i = 0; i < rounds; ++i) {
      spin_until([&] { return begun.load() == i + 1; });
      right(i);
      ended.store(i + 1);
    }
  }};
  for (int i = 0; i < rounds; ++i) {
    prepare(i);
    begun.store(i + 1);
    // Now and then the other one shall be first.
    for (auto n = i % 8; n > 0; --n)
      static_cast<void>(ended.load());
    left(i);
    spin_until([&] { return ended.load() == i + 1; });
    check(i);
  }
}

} // namespace test
