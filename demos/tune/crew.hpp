// Rounds on real pools: so many workers ask for items of the work, each item in
// turn, until the round has lasted long enough. This is where the demo meets
// troupe.
#pragma once

#include "plan.hpp"
#include "work.hpp"

#include "parts/progress_bar.hpp"

#include "troupe/stats.hpp"

#include <caf/fwd.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace tune {

/// Runs rounds over one list of items, which goes on where the round before
/// ended.
class crew {
public:
  /// @param what must outlive it.
  /// @param most how many workers there will be at most. What is repeatable has
  ///        items for all of them, however short the list is.
  /// @param stop ends a round at once: what runs is told to stop.
  crew(caf::actor_system& sys, const work& what, std::size_t most,
       std::stop_token stop);

  /// Runs a round on a pool of its own.
  ///
  /// Shape:  workers take items until `length` is over, or until `requests` of
  ///         them are taken; then each ends the one that it has. No item is
  ///         asked for twice at the same time. The rate is that of the workers
  ///         while they worked, so that waiting for the last one costs nothing.
  /// Returns: nothing if it was stopped.
  /// Errors: throws `troupe::failure` if the pool cannot be started.
  std::optional<round> run(std::size_t workers, std::chrono::nanoseconds length,
                           std::optional<std::size_t> requests = {});

  // -- properties -------------------------------------------------------------

  /// Returns how far it is. Callable from any thread, as the next.
  parts::progress look() const;

  failures failed() const;

  /// Returns what the pool of the last round said of itself.
  const troupe::pool_stats& last_stats() const noexcept { return stats_; }

private:
  // What the requests of one round add up to.
  struct tally {
    using time_point = std::chrono::steady_clock::time_point;

    std::atomic<bool> begun = false;
    std::optional<time_point> begin;
    // When each worker ended its last request.
    std::map<int, time_point> workers;
    std::uint64_t succeeded = 0;
    std::uint64_t failed = 0;
    std::chrono::nanoseconds elsewhere{0};
    std::chrono::nanoseconds ran{0};

    double rate() const;
  };

  void ask(tally& sums, int worker, asker& own);

  std::size_t take();
  void put_back(std::size_t item);
  void note(std::size_t item, const std::string& error);

  caf::actor_system& sys_;
  const work& work_;
  std::stop_token stop_;
  // Guards all below, and the tally of the round.
  mutable std::mutex mutex_;
  // Items that nobody asks for now; the next one first.
  std::deque<std::size_t> waiting_;
  std::vector<bool> has_failed_;
  failures failures_;
  std::uint64_t done_ = 0;
  troupe::pool_stats stats_;
};

} // namespace tune
