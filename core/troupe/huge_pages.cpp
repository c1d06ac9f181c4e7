#include "troupe/huge_pages.hpp"

#include <cstdint>

#if defined(__linux__)
#  include <sys/mman.h>
#  include <unistd.h>
#endif

namespace troupe {

namespace {

// Two pages of the usual huge size: less may not contain a single one.
[[maybe_unused]] constexpr std::size_t smallest_huge = std::size_t{4} << 20;

} // namespace

void advise_huge_pages([[maybe_unused]] void* first,
                       [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(MADV_HUGEPAGE)
  if (bytes < smallest_huge)
    return;
  static const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  auto begin =
      (reinterpret_cast<std::uintptr_t>(first) + page - 1) & ~(page - 1);
  auto end = (reinterpret_cast<std::uintptr_t>(first) + bytes) & ~(page - 1);
  // It is advice; a kernel without huge pages goes on as before.
  static_cast<void>(
      madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE));
#endif
}

} // namespace troupe
