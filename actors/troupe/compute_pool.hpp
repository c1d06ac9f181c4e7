// A pool for functions that compute, beside those for calls that block: its
// workers share the threads of CAF's scheduler, so that computing actors and
// computing functions together use each core once.

#pragma once

#include "troupe/pool.hpp"

namespace troupe {

/// A pool whose workers are cooperatively scheduled actors. Runs as many
/// functions at once as there are cores, whatever `workers` is set to, and lets
/// other actors have the thread after each 10 ms, as soon as the function that
/// runs returns.
///
/// A function that blocks here holds up actors: use a `pool` for it. Labels,
/// limits, gathers and all the rest are as with any pool; there are no idle
/// threads to keep or to end.
/// Source: ProcessPoolExecutor, which Python needs for this.
class compute_pool : public pool {
public:
  explicit compute_pool(caf::actor_system& system);
};

} // namespace troupe
