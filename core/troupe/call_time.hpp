// How long a call that was made elsewhere took over there: left by whoever made
// it, for whoever measures the request next on the same thread.

#pragma once

#include <chrono>
#include <optional>

namespace troupe {

inline thread_local std::optional<std::chrono::nanoseconds> last_call_time;

} // namespace troupe
