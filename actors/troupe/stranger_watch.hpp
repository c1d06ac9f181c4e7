// Those who have connected to a port and have not shaken hands yet: since when
// they are here, and how those who came to nothing did. All of it is on the
// thread of CAF's multiplexer, which is the only one that hears of them.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <caf/fwd.hpp>

namespace troupe {

/// Those who connected and came to nothing.
struct strangers {
  std::uint64_t count = 0;
  /// The last one: where it came from, and what went wrong.
  std::string last = {};
};

/// The strangers of one thread. A connection is told from others by the address
/// of whatever stands for it.
class stranger_watch {
public:
  stranger_watch(const stranger_watch&) = delete;
  stranger_watch& operator=(const stranger_watch&) = delete;

  ~stranger_watch();

  /// Returns that of this thread, and makes it if there is none.
  static stranger_watch& start();

  /// Returns that of this thread, if it has one.
  static stranger_watch* of_this_thread() noexcept;

  /// Somebody has connected. `handshake` is what is expected of it, and must
  /// outlive the connection; `cut_off` ends the connection.
  void begin(const void* who, int fd, std::string_view handshake,
             std::function<void()> cut_off);

  /// Says why it will have come to nothing.
  void blame(const void* who, std::string why);

  /// It has shaken hands.
  void succeed(const void* who);

  /// It is gone, and counts if there was something to blame it for.
  void end(const void* who);

  /// It is turned away, and counts; also after it has shaken hands.
  void turn_away(const void* who, int fd, std::string why);

  /// See `expel_strangers`.
  strangers expel(std::uint16_t port, std::chrono::nanoseconds patience);

private:
  struct arrival {
    std::uint16_t port;
    std::string peer;
    std::string_view handshake;
    std::function<void()> cut_off;
    std::chrono::steady_clock::time_point since;
    std::string why;
    bool is_cut_off = false;
  };

  stranger_watch() noexcept;

  std::map<const void*, arrival> under_way_;
  std::map<std::uint16_t, strangers> gone_;
};

/// Cuts off those who connected to `port` longer than `patience` ago and have
/// not shaken hands. Calls `tell` for those who were cut off or turned away, or
/// failed by themselves, since the last call, if there were any.
///
/// Time: returns at once; `tell` is called on the thread of CAF's multiplexer.
void expel_strangers(caf::actor_system& system, std::uint16_t port,
                     std::chrono::nanoseconds patience,
                     std::function<void(const strangers&)> tell);

} // namespace troupe
