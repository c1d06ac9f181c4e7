#include "troupe/frame.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

namespace troupe {

namespace {

using time_point = std::chrono::steady_clock::time_point;

// As it is in memory: both sides run on one machine.
struct frame_header {
  frame_kind kind;
  std::uint32_t meta_size;
  std::uint64_t body_size;
};

// Names, a signature and the text of an exception: far more than these take.
constexpr std::uint32_t largest_meta = 16 * 1024 * 1024;

iovec part(const void* data, std::size_t size) {
  return {const_cast<void*>(data), size};
}

} // namespace

// Waits until the socket is ready, and for an interrupt, which goes first.
frame_status frame_stream::wait(short events, time_point until) const {
  for (;;) {
    std::array<pollfd, 2> fds{{{socket_, events, 0}, {interrupt_, POLLIN, 0}}};
    int patience = -1;
    if (until != time_point::max()) {
      auto left = std::chrono::ceil<std::chrono::milliseconds>(
          until - std::chrono::steady_clock::now());
      patience = static_cast<int>(std::clamp<std::int64_t>(
          left.count(), 0, std::numeric_limits<int>::max()));
    }
    auto ready = ::poll(fds.data(), fds.size(), patience);
    if (ready < 0 && errno != EINTR)
      return frame_status::ended;
    if (ready <= 0) {
      if (until != time_point::max()
          && std::chrono::steady_clock::now() >= until)
        return frame_status::timed_out;
      continue;
    }
    if (fds[1].revents != 0)
      return frame_status::interrupted;
    return frame_status::done;
  }
}

frame_status frame_stream::send(frame_kind kind,
                                const compat::byte_buffer& meta,
                                const compat::byte_buffer& body) const {
  frame_header header{kind, static_cast<std::uint32_t>(meta.size()),
                      body.size()};
  std::array<iovec, 3> parts{part(&header, sizeof(header)),
                             part(meta.data(), meta.size()),
                             part(body.data(), body.size())};
  std::span<iovec> left{parts};
  while (!left.empty()) {
    msghdr message{};
    message.msg_iov = left.data();
    message.msg_iovlen = left.size();
    auto sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR)
        continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK)
        return frame_status::ended;
      auto room = wait(POLLOUT, time_point::max());
      if (room != frame_status::done)
        return room;
      continue;
    }
    auto rest = static_cast<std::size_t>(sent);
    while (!left.empty() && rest >= left.front().iov_len) {
      rest -= left.front().iov_len;
      left = left.subspan(1);
    }
    if (!left.empty()) {
      auto& front = left.front();
      front.iov_base = static_cast<std::byte*>(front.iov_base) + rest;
      front.iov_len -= rest;
    }
  }
  return frame_status::done;
}

frame_status frame_stream::read(std::span<std::byte> into,
                                time_point until) const {
  while (!into.empty()) {
    auto ready = wait(POLLIN, until);
    if (ready != frame_status::done)
      return ready;
    auto got = ::recv(socket_, into.data(), into.size(), MSG_DONTWAIT);
    if (got == 0)
      return frame_status::ended;
    if (got < 0) {
      if (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)
        continue;
      return frame_status::ended;
    }
    into = into.subspan(static_cast<std::size_t>(got));
  }
  return frame_status::done;
}

frame_status frame_stream::await(std::chrono::nanoseconds patience) const {
  return wait(POLLIN, std::chrono::steady_clock::now() + patience);
}

frame_status frame_stream::receive(frame& result,
                                   std::chrono::nanoseconds patience) const {
  auto until = patience == compat::forever
                   ? time_point::max()
                   : std::chrono::steady_clock::now() + patience;
  frame_header header{};
  auto got = read(std::as_writable_bytes(std::span{&header, 1}), until);
  if (got != frame_status::done)
    return got;
  if (header.kind < frame_kind::greeting || header.kind > frame_kind::answers
      || header.meta_size > largest_meta)
    return frame_status::garbage;
  if (header.body_size > largest_)
    return frame_status::too_large;
  result.kind = header.kind;
  result.meta.resize(header.meta_size);
  result.body.resize(header.body_size);
  got = read(std::as_writable_bytes(std::span{result.meta}), until);
  if (got != frame_status::done)
    return got;
  return read(std::as_writable_bytes(std::span{result.body}), until);
}

} // namespace troupe
