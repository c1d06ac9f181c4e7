// Which sizes of a pool to try when the best one is not known.
#pragma once

#include <cstddef>
#include <vector>

namespace parts {

/// Returns the sizes to try: 1, 2, 4 and so on below `most`, then `most`.
std::vector<std::size_t> sizes_up_to(std::size_t most);

} // namespace parts
