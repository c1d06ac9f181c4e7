// Advice on how many workers a pool should have, from what was measured of it
// and from how long its requests may wait. Shows the formula and its inputs, so
// that a reader can check the advice; says what limits, and how sure it is.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "troupe/histogram.hpp"

namespace troupe {

struct pool_stats;

/// What was measured of a pool, as far as advice needs it.
struct workload {
  std::string pool;

  /// Requests that were submitted, and in what time.
  std::uint64_t arrived = 0;
  std::chrono::nanoseconds observed{0};

  /// How long requests waited for a worker, and how long they ran.
  histogram waited;
  histogram ran;

  /// The share of its running time that a request computes: CPU time of its
  /// thread by wall time. None: not measured.
  std::optional<double> cpu_share;

  /// The most workers that the pool may have, and the share of the time that
  /// they were busy.
  std::size_t workers = 0;
  double utilisation = 0;

  /// Of a pool that sizes itself: the most that it gives itself. 0: it does
  /// not.
  std::size_t automatic_limit = 0;

  /// Submissions refused since the queue was full, and what full means.
  std::uint64_t refused = 0;
  std::size_t max_queued = 0;

  /// Submissions that waited for room at their key, not for a worker, of
  /// `submissions`.
  std::uint64_t blocked_by_key = 0;
  std::uint64_t submissions = 0;
};

/// How long requests may wait, and what there is to serve them.
struct sizing_goal {
  /// This share of the requests: above 0 and below 1.
  double share = 0.9;

  /// Waits for a worker no longer than this: from 0.
  std::chrono::nanoseconds wait = std::chrono::milliseconds{10};

  /// Cores that may be used. 0: those of this machine.
  std::size_t cores = 0;

  /// How many calls the service behind takes at once, such as the most
  /// connections of a database. None: no such limit.
  std::optional<std::size_t> max_connections = {};
};

/// What keeps a pool from reaching its goal with more workers.
enum class sizing_limit : std::uint8_t {
  none,
  /// Requests compute, and the cores are busy.
  cores,
  /// `sizing_goal::max_connections`
  connections,
  /// `defaults::workers_limit`
  workers,
};

/// How well the load is known, by the number of requests seen.
enum class sureness : std::uint8_t {
  /// No request has run: there is no advice.
  none,
  /// To within more than a quarter.
  poor,
  /// To within a quarter.
  fair,
  /// To within a twentieth.
  good,
};

/// Says how many workers to have, and why.
struct advice {
  /// The recommended number; 0 if there is no advice.
  std::size_t workers = 0;

  /// From where to where it lies with what is known of the load, nineteen times
  /// out of twenty.
  std::size_t least = 0;
  std::size_t most = 0;

  /// Workers that are busy on average.
  double load = 0;

  /// How long the share of the goal waits at most with `workers`. None: longer
  /// and longer.
  std::optional<std::chrono::nanoseconds> wait;

  sizing_limit limit = sizing_limit::none;

  sureness sure = sureness::none;

  /// Whether the workers were hardly ever idle: then the load is not known, but
  /// for being at least this, and `workers` is the next step to try.
  bool saturated = false;

  /// The advice in one line.
  std::string sentence;

  /// The advice with formulas, inputs, limits and doubts: several lines.
  std::string text;
};

/// Works out how many workers requests like those of `seen` need.
///
/// Errors: throws `failure` with `ec::invalid_option` for a goal out of range.
///         Without requests that ran there is no advice, and the sentence says
///         so.
/// Source: Little's law; Erlang C; Allen and Cunneen for service times that are
///         not exponential.
advice advise(const workload& seen, const sizing_goal& goal = {});

/// As above, from a snapshot of the pool: over all labels, and over the time
/// from its first submission until its workers were busy last.
advice advise(const pool_stats& stats, const sizing_goal& goal = {});

/// Has every pool print its advice to standard error when it ends, from now on.
/// What `--troupe.advise` asks for.
void advise_at_end(bool yes) noexcept;

/// Returns whether pools do so.
bool advises_at_end() noexcept;

} // namespace troupe
