#include "troupe/compute_pool.hpp"

#include <algorithm>
#include <thread>

#include "troupe/config.hpp"

namespace troupe {

namespace {

effective_options compute_options(const caf::actor_system& system) {
  auto result =
      resolve(pool_options{.name = "compute"}, options_of(system.config()));
  result.workers = std::max(std::thread::hardware_concurrency(), 1u);
  result.origin.workers = option_origin::code;
  result.automatic = result.may_size_itself = false;
  // An idle worker is an actor without a thread: it costs nothing to keep.
  result.min_workers = result.workers;
  result.origin.min_workers = option_origin::code;
  result.spin = std::chrono::nanoseconds{0};
  result.origin.spin = option_origin::code;
  // Its workers wait for the scheduler's threads, which looks like being stuck.
  result.max_run_time = std::chrono::nanoseconds{0};
  result.origin.max_run_time = option_origin::code;
  result.cooperative = true;
  return result;
}

} // namespace

compute_pool::compute_pool(caf::actor_system& system)
    : pool{compute_options(system), system} {}

} // namespace troupe
