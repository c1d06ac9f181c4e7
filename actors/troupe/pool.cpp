#include "troupe/pool.hpp"

#include <fmt/format.h>

#include "troupe/config.hpp"
#include "troupe/coordinator.hpp"
#include "troupe/timer.hpp"

namespace troupe {

// Held by all copies of a pool.
struct pool::lease {
  lease(ref_ptr<dispatcher> shared, caf::actor owner)
      : home{std::move(shared)}, coordinator{std::move(owner)} {}

  lease(const lease&) = delete;
  lease& operator=(const lease&) = delete;

  ~lease() { compat::tell(coordinator, retire_atom_v); }

  ref_ptr<dispatcher> home;
  caf::actor coordinator;
};

pool::pool(caf::actor_system& system) : pool{system, pool_options{}} {}

pool::pool(caf::actor_system& system, const pool_options& options)
    : pool{resolve(options, options_of(system.config())), system} {}

pool::pool(effective_options effective, caf::actor_system& system) {
  if (effective.name.empty())
    effective.name = "troupe";
  raise_stack_size(effective.stack_size);
  // Before anything else: nothing may fail any more for want of a timer.
  if (!effective.clock)
    start_timer_thread();
  auto crew = std::make_unique<pool_staff>();
  auto staff = crew.get();
  auto home = make_ref<dispatcher>(std::move(effective), std::move(crew));
  auto coord = compat::spawn_thread<coordinator>(
      system, fmt::format("the pool '{}'", home->name()), home, staff);
  staff->bind(coord);
  lease_ = std::make_shared<lease>(std::move(home), std::move(coord));
}

home_share pool::home() const {
  return home_share{lease_->home};
}

void pool::bind(batch& made) const {
  made.set_home(lease_->home);
  if (auto outer = worker_cell::current_batch())
    made.inherit(*outer);
}

effective_options pool::options() const {
  return lease_->home->options();
}

pool_stats pool::stats() const {
  return lease_->home->stats();
}

void pool::resize(std::size_t workers) const {
  if (auto why = refusal_to_resize(*lease_->home, workers))
    rethrow(*why);
  lease_->home->resize(workers);
}

operation<receipt> pool::shutdown(std::chrono::nanoseconds timeout) const {
  return operation<receipt>{make_ref<shutdown_state>(lease_->home, timeout)};
}

operation<receipt> pool::shutdown() const {
  return shutdown(lease_->home->options().drain_timeout);
}

caf::actor pool::actor() const {
  return lease_->coordinator;
}

} // namespace troupe
