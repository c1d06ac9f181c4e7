// Frames over a socketpair whose other end the test holds: what arrives whole,
// and what is noticed when it does not.

#include "troupe/frame.hpp"
#include "troupe/unique_fd.hpp"

#include <catch2/catch.hpp>

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <thread>

using namespace std::chrono_literals;

using troupe::frame;
using troupe::frame_kind;
using troupe::frame_status;
using troupe::frame_stream;
using troupe::compat::byte_buffer;
using troupe::compat::forever;

namespace {

struct wire {
  wire() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    mine = troupe::unique_fd{fds[0]};
    theirs = troupe::unique_fd{fds[1]};
    interrupt = troupe::unique_fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  }

  frame_stream here(std::uint64_t largest = 1 << 30) const {
    return {mine.get(), interrupt.get(), largest};
  }

  frame_stream there() const { return {theirs.get(), -1, 1 << 30}; }

  void write_raw(const void* data, std::size_t size) const {
    REQUIRE(::send(theirs.get(), data, size, 0) == static_cast<ssize_t>(size));
  }

  troupe::unique_fd mine;
  troupe::unique_fd theirs;
  troupe::unique_fd interrupt;
};

byte_buffer bytes(std::size_t n, unsigned char value = 7) {
  return byte_buffer(n, static_cast<byte_buffer::value_type>(value));
}

} // namespace

TEST_CASE("a frame arrives as it was sent", "[frame]") {
  wire x;
  REQUIRE(x.there().send(frame_kind::call, bytes(3), bytes(5, 9))
          == frame_status::done);
  frame got;
  REQUIRE(x.here().receive(got, forever) == frame_status::done);
  CHECK(got.kind == frame_kind::call);
  CHECK(got.meta == bytes(3));
  CHECK(got.body == bytes(5, 9));
}

TEST_CASE("a frame larger than the socket's buffer arrives whole", "[frame]") {
  wire x;
  auto large = bytes(10'000'000);
  std::thread sender{[&] { x.there().send(frame_kind::answer, {}, large); }};
  frame got;
  auto status = x.here().receive(got, forever);
  sender.join();
  CHECK(status == frame_status::done);
  CHECK(got.body == large);
}

TEST_CASE("the end of the stream is noticed, also inside of a frame",
          "[frame]") {
  wire x;
  auto cut = GENERATE(0u, 1u, 8u, 20u);
  auto raw = bytes(cut);
  if (cut >= 8) {
    auto kind = frame_kind::answer;
    std::uint32_t meta = 100;
    std::memcpy(raw.data(), &kind, 4);
    std::memcpy(raw.data() + 4, &meta, 4);
    std::fill(raw.begin() + 8, raw.end(), typename byte_buffer::value_type{});
  }
  if (cut > 0)
    x.write_raw(raw.data(), raw.size());
  x.theirs.reset();
  frame got;
  CHECK(x.here().receive(got, forever) == frame_status::ended);
}

TEST_CASE("what is no frame is not taken for one", "[frame]") {
  wire x;
  x.write_raw("GET / HTTP/1.0\r\n\r\n", 18);
  frame got;
  CHECK(x.here().receive(got, forever) == frame_status::garbage);
}

TEST_CASE("a frame that is too large is refused before its bytes are read",
          "[frame]") {
  wire x;
  REQUIRE(x.there().send(frame_kind::answer, {}, bytes(1001))
          == frame_status::done);
  frame got;
  CHECK(x.here(1000).receive(got, forever) == frame_status::too_large);
  CHECK(got.body.empty());
}

TEST_CASE("an interrupt ends a wait for a frame", "[frame]") {
  wire x;
  ::eventfd_write(x.interrupt.get(), 1);
  frame got;
  CHECK(x.here().receive(got, forever) == frame_status::interrupted);
}

TEST_CASE("an interrupt ends a wait for room to send", "[frame]") {
  wire x;
  ::eventfd_write(x.interrupt.get(), 1);
  CHECK(x.here().send(frame_kind::call, {}, bytes(10'000'000))
        == frame_status::interrupted);
}

TEST_CASE("sending to a stream that has ended is noticed", "[frame]") {
  wire x;
  x.theirs.reset();
  CHECK(x.here().send(frame_kind::call, {}) == frame_status::ended);
}

TEST_CASE("patience ends", "[frame]") {
  wire x;
  frame got;
  CHECK(x.here().receive(got, 0ns) == frame_status::timed_out);
}
