// The bounds of what can be set, in code, about pools of processes and of
// nodes.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace troupe {

/// How many bytes the arguments of a call, or its result, can have.
inline constexpr std::uint64_t longest_message = 0xFFFF'FFFF;

/// Throws `failure` with `ec::invalid_option`.
[[noreturn]] void refuse_option(const std::string& text);

/// Throws `failure` with `ec::invalid_option`, which names key, value and what
/// is accepted, if a member of the options is out of range. `key` is its whole
/// name, such as "node_options.window".
void check_count(const char* key, std::uint64_t value, std::uint64_t least,
                 std::uint64_t most);

void check_duration(const char* key, std::chrono::nanoseconds value,
                    std::chrono::nanoseconds least,
                    std::chrono::nanoseconds most);

} // namespace troupe
