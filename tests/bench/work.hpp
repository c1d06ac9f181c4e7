// What the requests of the benchmark do, the same for every contestant: each
// call takes one number and returns one that depends on it, so that every
// result can be checked. The calls are small values that contestants copy as
// they like.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace bench {

/// Returns at once.
struct noop {
  std::uint64_t operator()(std::uint64_t x) const noexcept { return x + 1; }
};

/// Blocks its thread, as a call to a slow service would.
struct nap {
  std::chrono::nanoseconds length;

  std::uint64_t operator()(std::uint64_t x) const {
    std::this_thread::sleep_for(length);
    return x + 1;
  }
};

/// Small files with known checksums, in a folder that goes with the object.
class file_set {
public:
  explicit file_set(std::size_t count);
  ~file_set();

  file_set(const file_set&) = delete;
  file_set& operator=(const file_set&) = delete;

  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }

  std::vector<std::string> paths;
  std::vector<std::uint32_t> checksums; ///< CRC-32, as zlib computes it

private:
  std::string folder_;
};

/// Reads file number x and returns its CRC-32; a value that no CRC-32 has if
/// the file cannot be read.
struct read_file {
  const file_set* files;

  std::uint64_t operator()(std::uint64_t x) const;
};

/// GETs /item/x over this thread's own keep-alive connection and returns the
/// number that the page repeats; `page_number(x) + 1` on any error.
struct http_get {
  std::uint16_t port;

  std::uint64_t operator()(std::uint64_t x) const;
};

/// Waits at a gate that the measuring side opens when all requests are queued.
struct gated {
  /// Opens the gate of this process, for good.
  static void open();

  std::uint64_t operator()(std::uint64_t x) const;
};

using work = std::variant<noop, nap, read_file, http_get, gated>;

/// Returns what the call has to return for `x`.
std::uint64_t expected(const work& what, std::uint64_t x);

/// Throws, naming the first wrong index, unless every result is as expected.
void check_results(const std::vector<std::uint64_t>& results, std::size_t count,
                   const std::function<std::uint64_t(std::uint64_t)>& expected);

/// Returns the number that page /item/x consists of: 64 times 16 hex digits.
constexpr std::uint64_t page_number(std::uint64_t x) noexcept {
  // The finalizer of splitmix64: neighbours get unlike pages.
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// -- calls that differ --------------------------------------------------------

/// Passes the i-th of a series of different closures to `use`: three types of
/// one, two and three captured numbers.
template <class Use>
decltype(auto) with_different_call(std::uint64_t i, Use&& use) {
  switch (i % 3) {
  case 0:
    return use([i] { return i + 1; });
  case 1:
    return use([a = i, b = i ^ 0x5555] { return a * 31 + b; });
  default:
    return use([a = i, b = i << 3, c = i >> 1] { return (a ^ b) + c; });
  }
}

/// Returns what the i-th different closure has to return.
constexpr std::uint64_t expected_different(std::uint64_t i) noexcept {
  switch (i % 3) {
  case 0:
    return i + 1;
  case 1:
    return i * 31 + (i ^ 0x5555);
  default:
    return (i ^ (i << 3)) + (i >> 1);
  }
}

} // namespace bench
