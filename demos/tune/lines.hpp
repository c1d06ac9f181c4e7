// The lines that a command is run for. All of them are kept, since each is
// needed again and again.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace tune {

/// Reads all lines: each of `arguments` is one, but for `-`, which stands for
/// those of standard input; then come those of `list`. Empty ones don't count.
///
/// @param stop ends the wait for a pipe or a terminal.
/// @throws std::system_error if a list cannot be read, and names it;
///         std::runtime_error for a line that cannot be an argument.
std::vector<std::string> read_lines(const std::vector<std::string>& arguments,
                                    const std::optional<std::string>& list,
                                    const std::stop_token& stop);

} // namespace tune
