// One run of fanout: a pool whose workers own the three clients, an actor that
// observes it, and the targets that are fanned out over it. This is where the
// demo meets troupe.
#pragma once

#include "observer.hpp"
#include "parts/progress_bar.hpp"
#include "targets/result.hpp"
#include "targets/target_source.hpp"

#include "troupe/pool.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace fanout {

/// How a run ended, beside its results.
struct ending {
  std::chrono::nanoseconds elapsed{0};
  /// Workers that had anything to do.
  std::size_t workers = 0;
  /// The part of their time that they spent on requests, from 0 to 1.
  double busy = 0;
  /// What the observing actor received.
  observation observed;
  /// Set if the run was stopped: how many targets were never started.
  std::optional<std::size_t> never_started;
  /// There are more of these than could be counted.
  bool at_least = false;
};

/// Fans targets out over a pool of its own, once.
class run {
public:
  /// Takes one result; called on the thread that fans out, in input order.
  using consumer = std::function<void(const targets::result&)>;

  /// @param workers the size of the pool, all of it started at once; nothing:
  ///        as configured.
  /// @param stop ends the run early: nothing new is started, what is running
  ///        is asked to stop.
  run(caf::actor_system& sys, std::optional<std::size_t> workers,
      std::stop_token stop);

  /// Returns how many workers the pool may have.
  std::size_t workers() const { return pool_.options().workers; }

  /// Returns how far it is. Callable from any thread.
  parts::progress look() const;

  /// Fans out all of `targets` as one batch, which is complete at once: one
  /// completion event. Consumes the results when the last one is in.
  ending batch(const std::vector<targets::target>& targets,
               const consumer& consume);

  /// Fans out `source` as a stream of any length, with a few targets a worker
  /// in memory, and consumes results while they come.
  ending stream(targets::target_source& source, const consumer& consume);

private:
  // What requests count while they run. They may outlive the run, if the pool
  // gives up waiting for them.
  struct live {
    /// Workers that had anything to do: each opens its clients once.
    std::atomic<std::size_t> workers = 0;
    std::atomic<std::size_t> started = 0;
    std::atomic<std::size_t> done = 0;
    std::atomic<std::size_t> failed = 0;
    std::atomic<std::chrono::nanoseconds::rep> busy_ns = 0;
    /// Less than 0: unknown.
    std::atomic<double> part = -1;

    targets::result ask(troupe::context& context, targets::target what);
  };

  troupe::pool_options options(std::optional<std::size_t> workers) const;

  ending finish(std::chrono::steady_clock::time_point begin);

  caf::actor_system& sys_;
  std::stop_token stop_;
  std::shared_ptr<live> live_ = std::make_shared<live>();
  troupe::pool pool_;
  caf::actor observer_;
};

} // namespace fanout
