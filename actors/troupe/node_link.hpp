// One side's way to the other: cuts large messages into pieces, keeps what is
// under way below a window, since neither CAF nor the socket tells a sender to
// wait, and puts together what arrives.

#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include <caf/actor.hpp>

#include "troupe/node_wire.hpp"

namespace troupe {

/// What is sent to the other side. Thread-safe.
class node_link {
public:
  node_link(caf::actor peer, std::uint64_t session, std::uint64_t window);

  node_link(const node_link&) = delete;
  node_link& operator=(const node_link&) = delete;

  std::uint64_t session() const noexcept { return session_; }

  /// Sends a message of calls or answers, in pieces if it is large, and blocks
  /// while more than the window is under way.
  ///
  /// `transfer` tells its pieces from those of others that are sent meanwhile.
  /// Returns false if the link was closed, or `stop` was requested, before the
  /// last piece was sent: then the other side does not have it.
  bool send(const std::string& message, std::uint64_t transfer,
            const std::stop_token& stop = {});

  /// Sends the first message, and with it whom to answer.
  void greet(std::string message, const caf::actor& me);

  /// Sends a small message at once, whatever is under way.
  void post(std::string message);

  /// So many bytes have arrived.
  void acked(std::uint64_t bytes);

  /// Returns how many bytes were sent that have not arrived, as far as the
  /// other side has said.
  std::uint64_t under_way() const;

  /// Sends nothing any more, and lets go who waits.
  void close();

private:
  bool send_part(std::string part, const std::stop_token& stop);

  const std::uint64_t session_;
  const std::uint64_t window_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  // Null once it is closed.
  caf::actor peer_;
  std::uint64_t sent_ = 0;
  std::uint64_t acked_ = 0;
};

/// What arrives from the other side. For the actor that hears it.
class node_inbox {
public:
  /// `largest`: the most bytes of a message; `most`: how many in pieces may be
  /// on their way at once.
  node_inbox(std::uint64_t window, std::uint64_t largest, std::size_t most)
      : window_{window}, pieces_{largest, most} {}

  /// Takes what arrived. Returns a message that is whole now, or an empty text.
  /// Tells the other side through `link` that there is room again.
  ///
  /// Errors: returns nothing if it makes no sense, or is of another session.
  std::optional<std::string> take(std::string& arrived, node_link& link);

  /// Forgets the pieces of a message whose rest will not come.
  void drop(std::uint64_t transfer) noexcept { pieces_.drop(transfer); }

private:
  const std::uint64_t window_;
  wire::assembly pieces_;
  std::uint64_t received_ = 0;
  std::uint64_t told_ = 0;
};

/// Tells whether the other side is still there, by when it was last heard of.
/// Is asked at every beat. For the actor that hears it.
class node_pulse {
public:
  using time_point = std::chrono::steady_clock::time_point;

  node_pulse(std::chrono::nanoseconds heartbeat,
             std::chrono::nanoseconds timeout, time_point now) noexcept
      : heartbeat_{heartbeat}, timeout_{timeout}, heard_{now}, asked_{now} {}

  void heard(time_point now) noexcept { heard_ = now; }

  /// Returns whether it has been silent for too long.
  bool is_lost(time_point now) noexcept {
    // Who was away himself, stopped or asleep, has heard nobody, and what was
    // said meanwhile is still to be read.
    if (now - asked_ > heartbeat_ + timeout_ / 2)
      heard_ = now;
    asked_ = now;
    return now - heard_ > timeout_;
  }

private:
  std::chrono::nanoseconds heartbeat_;
  std::chrono::nanoseconds timeout_;
  time_point heard_;
  time_point asked_;
};

} // namespace troupe
