// The chaos of worker processes: they crash, are killed and are ended, and what
// was begun there is counted in memory that outlives them.

#pragma once

#include <functional>
#include <string>

#include <caf/fwd.hpp>

#include "dice.hpp"
#include "ledger.hpp"

namespace chaos {

/// Uses a process pool at random, from several threads. Returns when each
/// request has its outcome and all processes have ended; `say_where` is told
/// what it waits for.
void play_process_round(caf::actor_system& sys, ledger& book, dice random,
                        const std::function<void(std::string)>& say_where);

} // namespace chaos
