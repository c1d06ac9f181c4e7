// Where operations live: blocks that one thread takes and another gives back,
// slabs that serve burst after burst, and what goes back to the system.

#include "troupe/op_memory.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <sys/resource.h>

using troupe::op_memory;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#  define TROUPE_INSTRUMENTED 1
#else
#  define TROUPE_INSTRUMENTED 0
#endif

namespace {

/// A block, and what was written into all of it.
struct filled {
  explicit filled(std::size_t n, unsigned char pattern)
      : bytes{n}, mark{pattern}, memory{op_memory::allocate(n)} {
    std::memset(memory, mark, bytes);
  }

  bool intact() const {
    auto first = static_cast<const unsigned char*>(memory);
    for (std::size_t i = 0; i < bytes; ++i)
      if (first[i] != mark)
        return false;
    return true;
  }

  void free() const { op_memory::free(memory, bytes); }

  std::size_t bytes;
  unsigned char mark;
  void* memory;
};

std::vector<filled> burst(std::size_t n, std::size_t bytes) {
  std::vector<filled> result;
  result.reserve(n);
  for (std::size_t i = 0; i < n; ++i)
    result.emplace_back(bytes, static_cast<unsigned char>(i));
  return result;
}

std::size_t free_all(const std::vector<filled>& all) {
  std::size_t broken = 0;
  for (auto& x : all) {
    broken += !x.intact();
    x.free();
  }
  return broken;
}

/// More than stays when slabs are given back.
constexpr std::size_t large_burst = 4 * op_memory::kept_bytes / 256;

} // namespace

TEST_CASE("blocks in use do not overlap, and are aligned to 16 bytes",
          "[op_memory]") {
  std::minstd_rand random{7};
  std::vector<filled> all;
  std::size_t broken = 0;
  std::size_t skewed = 0;
  for (auto i = 0; i < 100'000; ++i) {
    if (all.size() < 1'000 || random() % 2 == 0) {
      // A page, now and then, and what is larger.
      auto bytes = random() % 50 == 0
                       ? op_memory::page_bytes - random() % 1'000 + 100
                       : random() % (op_memory::largest_block + 50);
      all.emplace_back(bytes, static_cast<unsigned char>(i));
      skewed += reinterpret_cast<std::uintptr_t>(all.back().memory) % 16 != 0;
    } else {
      std::swap(all[random() % all.size()], all.back());
      broken += !all.back().intact();
      all.back().free();
      all.pop_back();
    }
  }
  broken += free_all(all);
  CHECK(broken == 0);
  CHECK(skewed == 0);
}

TEST_CASE("blocks may be given back by another thread than took them",
          "[op_memory]") {
  constexpr auto threads = 4;
  std::vector<std::vector<filled>> taken(threads);
  std::vector<std::size_t> broken(threads);
  for (auto round = 0; round < 20; ++round) {
    std::vector<std::thread> crew;
    for (std::size_t i = 0; i < threads; ++i)
      crew.emplace_back([&, i] {
        // What its neighbour took in the round before.
        broken[i] += free_all(taken[i]);
        taken[i] = burst(1'000, 96 + 16 * (i % 2));
      });
    for (auto& x : crew)
      x.join();
    std::rotate(taken.begin(), taken.begin() + 1, taken.end());
  }
  for (auto& x : taken)
    broken[0] += free_all(x);
  CHECK(broken == std::vector<std::size_t>(threads));
}

TEST_CASE("the memory of a burst serves the next one, of any size",
          "[op_memory]") {
  CHECK(free_all(burst(large_burst, 256)) == 0);
  auto mapped = op_memory::mapped_bytes();
  CHECK(free_all(burst(large_burst, 256)) == 0);
  CHECK(free_all(burst(large_burst, 128)) == 0);
  CHECK(op_memory::mapped_bytes() == mapped);
}

TEST_CASE("trim gives back what is free but for the part that is kept",
          "[op_memory]") {
  auto all = burst(large_burst, 256);
  auto mapped = op_memory::mapped_bytes();
  CHECK(mapped >= 4 * op_memory::kept_bytes);
  CHECK(free_all(all) == 0);
  op_memory::trim();
  CHECK(op_memory::mapped_bytes() < mapped - 2 * op_memory::kept_bytes);
}

TEST_CASE("trim gives back nothing that is in use", "[op_memory]") {
  op_memory::trim();
  auto all = burst(large_burst, 256);
  auto mapped = op_memory::mapped_bytes();
  op_memory::trim();
  CHECK(mapped - op_memory::mapped_bytes() <= op_memory::kept_bytes);
  CHECK(free_all(all) == 0);
}

TEST_CASE("what a thread kept at hand is there for others when it has ended",
          "[op_memory]") {
  auto use = [] {
    for (std::size_t bytes = 16; bytes <= op_memory::largest_block; bytes += 16)
      free_all(burst(64, bytes));
  };
  std::thread{use}.join();
  auto mapped = op_memory::mapped_bytes();
  for (auto i = 0; i < 100; ++i)
    std::thread{use}.join();
  CHECK(op_memory::mapped_bytes() == mapped);
}

TEST_CASE("what a thread was given to free is there for others when it has "
          "ended",
          "[op_memory]") {
  auto round = [] {
    auto all = burst(32, op_memory::largest_block);
    std::thread{[&] { free_all(all); }}.join();
  };
  round();
  auto mapped = op_memory::mapped_bytes();
  for (auto i = 0; i < 200; ++i)
    round();
  CHECK(op_memory::mapped_bytes() == mapped);
}

TEST_CASE("pages come and go like smaller blocks", "[op_memory]") {
  constexpr auto pages = large_burst * 256 / op_memory::page_bytes;
  CHECK(free_all(burst(pages, op_memory::page_bytes)) == 0);
  auto mapped = op_memory::mapped_bytes();
  CHECK(mapped >= pages * op_memory::page_bytes);
  CHECK(free_all(burst(pages, op_memory::page_bytes)) == 0);
  CHECK(free_all(burst(large_burst / 2, 256)) == 0);
  CHECK(op_memory::mapped_bytes() == mapped);
}

TEST_CASE("a large block comes from the heap", "[op_memory]") {
  auto bytes =
      GENERATE(op_memory::largest_block + 1, op_memory::page_bytes + 1);
  auto mapped = op_memory::mapped_bytes();
  auto all = burst(1'000, bytes);
  CHECK(op_memory::mapped_bytes() == mapped);
  CHECK(free_all(all) == 0);
}

#if !TROUPE_INSTRUMENTED
TEST_CASE("memory that the system refuses is std::bad_alloc, and what there "
          "was is still good",
          "[op_memory]") {
  auto all = burst(1'000, 256);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  auto none = before;
  // Less than the process has: nothing can be mapped any more.
  none.rlim_cur = 1;
  std::vector<void*> more;
  more.reserve(10'000'000);
  auto refused = false;
  REQUIRE(setrlimit(RLIMIT_AS, &none) == 0);
  try {
    while (more.size() < more.capacity())
      more.push_back(op_memory::allocate(256));
  } catch (const std::bad_alloc&) {
    refused = true;
  }
  REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
  CHECK(refused);
  for (auto x : more)
    op_memory::free(x, 256);
  CHECK(free_all(all) == 0);
  CHECK(free_all(burst(large_burst, 256)) == 0);
}
#endif
