// That the soak of tests/chaos notices what grows, and nothing else.

#include "steadiness.hpp"

#include <catch2/catch.hpp>

#include <string>

using test::holdings;
using test::steadiness;

namespace {

/// Looks `n` times at a process that holds what `at(i)` says.
template <class F>
std::string growth(std::size_t n, F at) {
  steadiness seen;
  for (std::size_t i = 0; i < n; ++i)
    seen.add(at(i));
  return seen.growth();
}

} // namespace

TEST_CASE("a process that stays as it is has not grown", "[steadiness]") {
  CHECK(growth(100, [](std::size_t i) {
          // Caches fill first, and the allocator keeps more or less.
          auto memory = i < 20 ? i * 1'000 : 20'000 + i % 7 * 500;
          return holdings{memory, 6 + i % 3, 20 + i % 2};
        }).empty());
}

TEST_CASE("what grows is told, by how much", "[steadiness]") {
  CHECK(growth(100,
               [](std::size_t i) {
                 return holdings{20'000 + i * 400, 6, 20};
               })
        == "  resident pages have grown from 37200 to 52400 KiB\n");
  CHECK(growth(100,
               [](std::size_t i) {
                 return holdings{20'000, 6 + i / 30, 20};
               })
        == "  threads have grown from 6 to 8\n");
  CHECK(growth(100,
               [](std::size_t i) {
                 return holdings{20'000, 6, 20 + (i >= 60 ? 1u : 0u)};
               })
        == "  descriptors have grown from 20 to 21\n");
}

TEST_CASE("of too few looks nothing is said", "[steadiness]") {
  steadiness seen;
  for (std::size_t i = 0; i + 1 < steadiness::least; ++i)
    seen.add({i * 1'000'000, i, i});
  CHECK_FALSE(seen.can_tell());
  CHECK(seen.growth().empty());
  seen.add({100'000'000, 100, 100});
  CHECK(seen.can_tell());
  CHECK_FALSE(seen.growth().empty());
}

TEST_CASE("what a process holds is seen in itself", "[steadiness]") {
  auto now = test::holdings_now();
  CHECK(now.memory_kib > 0);
  CHECK(now.threads >= 1);
  CHECK(now.descriptors >= 3);
}
