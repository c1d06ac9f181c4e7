// A walk over a million operations waits for memory more than for anything
// else, unless it asks for what it comes to next while it is still busy with
// what it has.

#pragma once

#include <cstddef>

namespace troupe {

/// How many elements ahead of a walk to look: what one takes, with its virtual
/// calls, is a fraction of what memory takes.
inline constexpr std::size_t fetch_distance = 4;

/// How much of an operation to fetch: a batch of one request, with a small
/// function and a small result.
inline constexpr std::size_t single_bytes = 208;

/// Has the processor fetch memory that is about to be read and written. Only a
/// hint: `first` may be anything.
inline void fetch_early(const void* first, std::size_t bytes) noexcept {
  constexpr std::size_t line = 64;
  auto at = static_cast<const std::byte*>(first);
  for (std::size_t i = 0; i < bytes; i += line)
    __builtin_prefetch(at + i, 1);
}

} // namespace troupe
