// What CAF's OpenSSL module leaves undone on its thread. It takes the error of
// one connection for one of another; it waits for ever for those who connect
// and do not shake hands, and says nothing of those who fail at it.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include <caf/fwd.hpp>

namespace troupe {

/// Those who connected and came to nothing.
struct strangers {
  std::uint64_t count = 0;
  /// The last one: where it came from, and what went wrong.
  std::string last = {};
};

/// Watches the system's connections over TLS from now on. To be called before
/// the first one.
void guard_connections(caf::actor_system& system);

/// Cuts off those who connected to `port` longer than `patience` ago and have
/// not shaken hands. Calls `tell` for those who were cut off or failed by
/// themselves since the last call, if there were any.
///
/// Time: returns at once; `tell` is called on the thread of CAF's multiplexer.
void expel_strangers(caf::actor_system& system, std::uint16_t port,
                     std::chrono::nanoseconds patience,
                     std::function<void(const strangers&)> tell);

} // namespace troupe
