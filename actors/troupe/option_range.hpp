// The bounds of what can be set, in code, about pools of processes and of
// nodes.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace troupe {

/// How many bytes the arguments of a call, or its result, can have.
inline constexpr std::uint64_t longest_message = 0xFFFF'FFFF;

/// Throws `failure` with `ec::invalid_option`.
[[noreturn]] void refuse_option(const std::string& text);

/// Throws `failure` with `ec::invalid_option`, which names key, value and what
/// is accepted, if a member of the options is out of range. `key` is its whole
/// name, such as "node_options.window".
void check_count(std::string_view key, std::uint64_t value, std::uint64_t least,
                 std::uint64_t most);

void check_duration(std::string_view key, std::chrono::nanoseconds value,
                    std::chrono::nanoseconds least,
                    std::chrono::nanoseconds most);

/// As above, of what these options have from `pool_options`, so that the text
/// names the member that was set. `owner` is the name of their type.
void check_common(std::string_view owner, std::optional<std::size_t> max_queued,
                  std::optional<std::chrono::nanoseconds> spin,
                  std::optional<std::chrono::nanoseconds> drain_timeout,
                  std::optional<std::chrono::nanoseconds> max_run_time);

} // namespace troupe
