// A second copy of a request, sent when the first one is slow: the answer to
// the rare call that takes a hundred times as long as the others.

#pragma once

#include <chrono>

#include "troupe/op_state.hpp"

namespace troupe {

/// Returns an operation that starts `first`, and a copy of it if that is not
/// complete after `delay`.
///
/// Errors: throws `failure` with `ec::invalid_option` if `first` cannot be
///         copied, or `delay` is less than 0.
ref_ptr<op_state> hedge(ref_ptr<op_state> first,
                        std::chrono::nanoseconds delay);

} // namespace troupe
