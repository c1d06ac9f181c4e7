#include "troupe/metrics_mirror.hpp"

#include <pthread.h>

#include <csignal>
#include <system_error>

#include <fmt/format.h>

#include "troupe/caf_compat.hpp"
#include "troupe/exposition.hpp"
#include "troupe/log.hpp"
#include "troupe/stats.hpp"

namespace troupe {

bool metrics_mirror::possible() noexcept {
  return compat::metric_registry::exists;
}

metrics_mirror::metrics_mirror(caf::actor_system& system,
                               std::chrono::nanoseconds interval)
    : registry_{std::make_unique<compat::metric_registry>(system)} {
  if (!possible())
    return;
  update();
  try {
    thread_ = std::thread{[this, interval] { loop(interval); }};
  } catch (const std::system_error& err) {
    write_log(
        log_level::warning, {},
        fmt::format("cannot keep CAF's metrics up to date: {}", err.what()));
  }
}

metrics_mirror::~metrics_mirror() {
  {
    std::lock_guard guard{mutex_};
    over_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable())
    thread_.join();
  update();
}

void metrics_mirror::update() {
  if (!possible())
    return;
  auto pools = stats_of_all_pools();
  std::lock_guard guard{registry_mutex_};
  visit_metrics(pools, [this](const metric_sample& x) { registry_->set(x); });
  registry_->end_round();
}

void metrics_mirror::loop(std::chrono::nanoseconds interval) {
  // Signals are for the threads that wait for them.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  pthread_setname_np(pthread_self(), "troupe-metrics");
  std::unique_lock guard{mutex_};
  while (!changed_.wait_for(guard, interval, [this] { return over_; })) {
    guard.unlock();
    update();
    guard.lock();
  }
}

} // namespace troupe
