// Sizes in powers of two; see the header.
#include "sizes.hpp"

namespace parts {

std::vector<std::size_t> sizes_up_to(std::size_t most) {
  std::vector<std::size_t> result;
  for (std::size_t size = 1; size < most; size *= 2)
    result.push_back(size);
  result.push_back(most);
  return result;
}

} // namespace parts
