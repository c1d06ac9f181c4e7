// Large results are written once, right after their memory was mapped: then
// most of the time goes into page faults. Fewer and larger pages make a map of
// ten million numbers cost half as much.

#pragma once

#include <cstddef>

namespace troupe {

/// Asks for huge pages behind `bytes` of memory at `first` that nobody has
/// touched yet. Does nothing where that would not pay or is not possible.
void advise_huge_pages(void* first, std::size_t bytes) noexcept;

} // namespace troupe
