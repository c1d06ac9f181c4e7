// The asymmetric fence as the explorer plays it:
// core/troupe/asymmetric_fence.cpp asks the kernel to interrupt processors,
// which fibers have not.

#include "troupe/asymmetric_fence.hpp"

namespace troupe {

bool has_asymmetric_fence() noexcept {
  auto x = explore::engine::active();
  return x != nullptr && x->how().fence_exists;
}

void heavy_fence() noexcept {
  if (explore::stepping() && has_asymmetric_fence())
    explore::engine::active()->heavy_fence(std::source_location::current());
}

} // namespace troupe
