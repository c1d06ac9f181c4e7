// An operation with a deadline: delivers at that moment, whatever the operation
// inside is doing, and asks that one to stop.

#pragma once

#include <chrono>

#include "troupe/op_state.hpp"

namespace troupe {

/// Returns `source` with a deadline `timeout` after its start.
ref_ptr<op_state> with_timeout(ref_ptr<op_state> source,
                               std::chrono::nanoseconds timeout);

/// Returns `source` with a deadline at `when`.
ref_ptr<op_state> with_deadline(ref_ptr<op_state> source,
                                clock::time_point when);

} // namespace troupe
