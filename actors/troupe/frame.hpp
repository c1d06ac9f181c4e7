// What a pool and its worker processes say to each other, frame by frame, over
// a socketpair. Knows sockets, and neither processes nor procedures.
//
// Why not CAF's middleman, which could take over the socket: values go through
// CAF's serializers, so any type with an `inspect` can travel, but who sends is
// a worker that may block, and who answers makes one call at a time. Both need
// a read and a write, and no actor system with nine threads in each process;
// a lost process shows at once as the end of the stream, for which CAF's
// requests would wait in vain; and no broker's internals are relied on, which
// differ between the versions of CAF.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "troupe/caf_compat.hpp"

namespace troupe {

/// What is said. The first bytes of a frame, so that output of a stranger is
/// not taken for one.
enum class frame_kind : std::uint32_t {
  /// From the pool, once: frame_version, the largest message.
  greeting = 0x54524f01,
  /// From the process, once: frame_version.
  ready,
  /// From the pool: name and signature of a procedure; the body: arguments.
  call,
  /// From the process, one for each call: answer_status, text, type and message
  /// of an exception; the body: the result.
  answer,
  /// From the pool: name and signature of a procedure, how many calls travel
  /// together, and whether those behind one that fails shall not begin; the
  /// body: for each call, how many bytes of arguments, and these. The process
  /// takes each from the call_page before it runs it.
  calls,
  /// From the process, when no call is left to begin: their answers lie in the
  /// page. If the last one found no room there, it is this, as in `answer`;
  /// else there is nothing in here.
  answers,
};

/// What came of a call.
enum class answer_status : std::uint8_t {
  value,
  /// The function threw.
  threw,
  unknown,
  too_large,
  bad_message,
};

/// Changes whenever frames do.
inline constexpr std::uint32_t frame_version = 2;

struct frame {
  frame_kind kind{};
  compat::byte_buffer meta;
  compat::byte_buffer body;
};

enum class frame_status : std::uint8_t {
  done,
  /// The other side has closed the stream, or is gone.
  ended,
  /// The interrupt descriptor became readable.
  interrupted,
  timed_out,
  /// What came is no frame.
  garbage,
  /// The frame that came is larger than allowed.
  too_large,
};

/// Sends and receives frames on a stream socket that it does not own.
class frame_stream {
public:
  /// `interrupt`: a descriptor that ends a wait as soon as it is readable; -1:
  /// none. `largest`: the most bytes of a body that comes in.
  frame_stream(int socket, int interrupt, std::uint64_t largest) noexcept
      : socket_{socket}, interrupt_{interrupt}, largest_{largest} {}

  frame_status send(frame_kind kind, const compat::byte_buffer& meta,
                    const compat::byte_buffer& body = {}) const;

  /// Waits for `patience` at the longest until something comes, and leaves that
  /// for `receive`.
  frame_status await(std::chrono::nanoseconds patience) const;

  /// Waits for `patience` at the longest; `compat::forever` for any time.
  frame_status receive(frame& result, std::chrono::nanoseconds patience) const;

private:
  frame_status wait(short events,
                    std::chrono::steady_clock::time_point until) const;

  frame_status read(std::span<std::byte> into,
                    std::chrono::steady_clock::time_point until) const;

  int socket_;
  int interrupt_;
  std::uint64_t largest_;
};

} // namespace troupe
