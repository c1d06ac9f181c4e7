// What is computed over there: the procedure that all nodes know, and its
// inverse, by which the result is checked here.
#pragma once

#include "troupe/procedure.hpp"

#include <string>
#include <utility>

namespace cluster {

/// What came of packing: the bytes in the format of gzip, and who has packed
/// them, as "MACHINE:PROCESS" of the node.
using packed = std::pair<std::string, std::string>;

/// Packs bytes as `gzip -9` does. May run twice without harm, so it moves to
/// another node when its own is lost.
inline constexpr troupe::procedure<"pack", packed(std::string bytes)> pack{
    troupe::idempotent};

/// The procedures of this program.
troupe::procedures known_procedures();

/// Returns what was packed.
///
/// @throws std::runtime_error if that is damaged.
std::string unpack(const std::string& bytes);

} // namespace cluster
