// Measured values as people read them: three digits and a unit, in tables,
// advice and the log. Values that are read back are the business of
// options.hpp.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace troupe {

/// Returns `value` with three digits and the unit that fits, such as "1.25 ms"
/// or "36.0 s"; "0 s" for nothing.
std::string readable(std::chrono::nanoseconds value);

/// Returns `value` without what nobody needs to know, spelled as an option is:
/// "36s", "12ms", "466us".
std::string about(std::chrono::nanoseconds value);

/// Returns a share of one, such as "38 %"; below a tenth with one decimal.
std::string readable_share(double share);

/// Returns a size, such as "900 bytes" or "64 KiB", rounded down.
std::string readable_bytes(std::uint64_t size);

/// Returns two sizes that are compared: as above, or exact, such as "100,010
/// bytes", if that would make two different ones read alike.
std::pair<std::string, std::string> readable_bytes(std::uint64_t one,
                                                   std::uint64_t other);

/// Returns a size in bytes, with commas between its thousands.
std::string exact_bytes(std::uint64_t size);

} // namespace troupe
