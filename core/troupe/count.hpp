// A count that a caller gives when something is made: checked, so that a
// negative number does not pass as a large one.

#pragma once

#include <cstddef>
#include <string_view>

namespace troupe {

/// Returns `n`.
///
/// Errors: throws `failure` with `ec::invalid_option` for less than `least` and
///         for more than is addressable. Its text reads "cannot make", `what`,
///         `n`, `unit`, and what is accepted: so "a barrier for" and "parties".
std::size_t checked_count(std::string_view what, std::size_t n,
                          std::string_view unit, std::size_t least);

} // namespace troupe
