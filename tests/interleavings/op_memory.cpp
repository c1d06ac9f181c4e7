// The memory of operations as the explorer plays it: from the heap, so that no
// lock of it is a step.

#include "troupe/op_memory.hpp"

namespace troupe {

void op_memory::trim() noexcept {}

void* in_op_memory::operator new(std::size_t bytes) {
  return ::operator new(bytes);
}

void in_op_memory::operator delete(void* block, std::size_t) noexcept {
  ::operator delete(block);
}

} // namespace troupe
