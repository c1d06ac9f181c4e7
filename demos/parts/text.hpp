// Writes bytes as text that others can rely on: file names may hold any byte
// but NUL, and terminals, JSON parsers and sha256sum each want them their way.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace parts {

/// Returns whether all of `bytes` is well-formed UTF-8.
bool is_utf8(std::string_view bytes);

/// Returns `bytes` on one line and fit for a terminal: control characters and
/// what is not UTF-8 become `\n` or `\xHH`.
std::string printable(std::string_view bytes);

/// Returns `bytes` as a JSON string with its quotes. Each byte that is not
/// UTF-8 becomes U+FFFD, since JSON has no way to hold it.
std::string json_string(std::string_view bytes);

/// Returns two lowercase hexadecimal digits a byte.
std::string hex(std::string_view bytes);

/// Returns a line as `sha256sum` prints it, without its end:
/// `DIGEST  PATH`, begun with a backslash if the path had to be escaped.
std::string sha256sum_line(std::string_view digest, std::string_view path);

/// Returns a time with three digits or more and its unit: "4.20 ms", "41.3 s".
std::string human(std::chrono::nanoseconds time);

/// Returns a size in decimal units: "999 B", "1.2 MB".
std::string human_bytes(std::uint64_t bytes);

/// Returns a count with commas between its thousands: "81,894".
std::string human_count(std::uint64_t count);

} // namespace parts
