#include "troupe/asymmetric_fence.hpp"

#if defined(__linux__) && !defined(__SANITIZE_THREAD__)
#  include <linux/membarrier.h>
#  include <sys/syscall.h>
#  include <unistd.h>
#endif

namespace troupe {

#if defined(__linux__) && !defined(__SANITIZE_THREAD__)

namespace {

const bool registered =
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0)
    == 0;

} // namespace

bool has_asymmetric_fence() noexcept {
  return registered;
}

void heavy_fence() noexcept {
  if (registered)
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

#else

bool has_asymmetric_fence() noexcept {
  return false;
}

// The light side is a full fence then; the accesses beside this one are
// sequentially consistent.
void heavy_fence() noexcept {}

#endif

} // namespace troupe
