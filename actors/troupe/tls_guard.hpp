// What CAF's OpenSSL module leaves undone on its thread. It takes the error of
// one connection for one of another; it waits for ever for those who connect
// and do not shake hands, and says nothing of those who fail at it.

#pragma once

#include <caf/fwd.hpp>

namespace troupe {

/// Watches the system's connections over TLS from now on; `expel_strangers`
/// then knows of them. To be called before the first one.
void guard_connections(caf::actor_system& system);

} // namespace troupe
