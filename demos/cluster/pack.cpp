// Deflate and back, by zlib; see the header.
#include "pack.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <stdexcept>

namespace cluster {

namespace {

// The largest window, and the header and trailer of gzip instead of zlib's own.
constexpr int gzip_format = 15 + 16;
constexpr int memory_level = 8;

[[noreturn]] void fail(const char* what, const z_stream& stream, int error) {
  throw std::runtime_error{
      fmt::format("cannot {}: {}", what,
                  stream.msg != nullptr ? stream.msg : zError(error))};
}

// Has zlib work through all of `from`. `step` is deflate or inflate, `end` what
// frees the stream.
std::string work_through(const std::string& from, z_stream& stream,
                         int (*step)(z_stream*, int), int (*end)(z_stream*),
                         const char* what) {
  std::unique_ptr<z_stream, int (*)(z_stream*)> guard{&stream, end};
  std::string result;
  char buffer[64 * 1024];
  auto left = from.size();
  // zlib reads, but its interface dates from before const.
  stream.next_in =
      reinterpret_cast<Bytef*>(const_cast<char*>(from.data())); // NOLINT
  auto status = Z_OK;
  while (status != Z_STREAM_END) {
    // It counts in 32 bits.
    auto chunk =
        std::min<std::size_t>(left, std::numeric_limits<uInt>::max() / 2);
    left -= chunk;
    stream.avail_in = static_cast<uInt>(chunk);
    do {
      stream.next_out = reinterpret_cast<Bytef*>(buffer);
      stream.avail_out = sizeof(buffer);
      status = step(&stream, left == 0 ? Z_FINISH : Z_NO_FLUSH);
      auto full = stream.avail_out == 0;
      // No progress means that more room, or more input, is wanted.
      if (status != Z_OK && status != Z_STREAM_END
          && !(status == Z_BUF_ERROR && full))
        fail(what, stream, status);
      result.append(buffer, sizeof(buffer) - stream.avail_out);
    } while (status != Z_STREAM_END
             && (stream.avail_in > 0 || stream.avail_out == 0));
    if (status != Z_STREAM_END && left == 0)
      fail(what, stream, Z_BUF_ERROR);
  }
  return result;
}

packed pack_here(const std::string& bytes) {
  z_stream stream{};
  if (auto error = deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED,
                                gzip_format, memory_level, Z_DEFAULT_STRATEGY))
    fail("pack", stream, error);
  auto result = work_through(bytes, stream, deflate, deflateEnd, "pack");
  char machine[256] = {};
  gethostname(machine, sizeof(machine) - 1);
  // A worker process is a child of its node.
  return {std::move(result), fmt::format("{}:{}", machine, getppid())};
}

} // namespace

troupe::procedures known_procedures() {
  troupe::procedures result;
  result.add(pack, pack_here);
  return result;
}

std::string unpack(const std::string& bytes) {
  z_stream stream{};
  if (auto error = inflateInit2(&stream, gzip_format))
    fail("unpack", stream, error);
  return work_through(bytes, stream, inflate, inflateEnd, "unpack");
}

} // namespace cluster
