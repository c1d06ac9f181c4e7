// Has CAF's own registry of metrics say what pools say of themselves, for
// programs that export that registry. Only CAF 1.x has one.

#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

namespace caf {

class actor_system;

} // namespace caf

namespace troupe {

namespace compat {

class metric_registry;

} // namespace compat

/// Registers the metrics of all pools of the process in `metrics()` of an actor
/// system, and keeps them up to date as long as it lives.
///
/// Shape:  names, labels and values are those of `/metrics`; a histogram is
///         there as its counters, `_bucket` with `le`, `_sum` and `_count`. Of
///         pools that have ended, the counters stay and the rest becomes zero.
/// Units:  seconds, as there.
/// Errors: where the system refuses the thread, `update` alone brings values
///         up to date, and a line in the log says so. With CAF 0.17 there is
///         nothing to register them in, and nothing happens.
class metrics_mirror {
public:
  /// How often values are brought up to date. A scrape is seldom more often.
  static constexpr std::chrono::nanoseconds default_interval =
      std::chrono::seconds{1};

  /// Whether the CAF that this was built with has a registry.
  static bool possible() noexcept;

  /// `system` must outlive this.
  explicit metrics_mirror(caf::actor_system& system,
                          std::chrono::nanoseconds interval = default_interval);

  metrics_mirror(const metrics_mirror&) = delete;

  metrics_mirror& operator=(const metrics_mirror&) = delete;

  /// Brings values up to date for the last time.
  ~metrics_mirror();

  /// Brings values up to date now. Thread-safe.
  void update();

private:
  void loop(std::chrono::nanoseconds interval);

  // Guards the registry.
  std::mutex registry_mutex_;
  std::unique_ptr<compat::metric_registry> registry_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

} // namespace troupe
