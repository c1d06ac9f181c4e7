// The chaos of nodes: they are killed, stopped, continued, told to leave and
// started again while calls are made on them.

#pragma once

#include <functional>
#include <string>

#include "dice.hpp"
#include "ledger.hpp"

namespace chaos {

/// Uses a pool of nodes at random, from several threads; this program is its
/// own node. Returns when each request has its outcome and all nodes have
/// ended; `say_where` is told what it waits for.
void play_node_round(ledger& book, dice random,
                     const std::function<void(std::string)>& say_where);

} // namespace chaos
