// One interface for whoever does the work: a team of threads that is warm
// before the clock starts. Each contestant implements it in a file of its own,
// the way its own users would write it; rows pick teams by name.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "harness.hpp"
#include "work.hpp"

namespace bench {

struct team_options {
  work what;
  std::size_t workers = 8;
  /// How long an idle thread looks for work before it sleeps, where a team can.
  std::chrono::microseconds spin{0};
  /// CAF's scheduler policy, for teams that use its scheduler.
  std::string policy = "sharing";
};

class team {
public:
  virtual ~team() = default;

  /// Hands over one request for each input; `inputs` outlives them.
  virtual void start(std::span<const std::uint64_t> inputs) = 0;

  /// Blocks until all requests of `start` are done; results in input order.
  virtual std::vector<std::uint64_t> finish() = 0;

  /// Throws unless `results` are what `finish` has to return when the requests
  /// of `start` did `what`.
  virtual void check(const std::vector<std::uint64_t>& results,
                     const work& what, std::span<const std::uint64_t> inputs) {
    check_results(results, inputs.size(),
                  [&](std::uint64_t i) { return expected(what, inputs[i]); });
  }

  /// Runs the first `count` calls of `with_different_call`, handed over one by
  /// one; results in that order.
  virtual std::vector<std::uint64_t> gather_different(std::size_t count) {
    throw std::logic_error{"cannot gather " + std::to_string(count)
                           + " different calls"};
  }

  /// Hands over one request for each input, one by one and not as a batch; all
  /// are outstanding at once. Results in input order. The same as `start` and
  /// `finish` where there is no batch.
  virtual std::vector<std::uint64_t>
  one_by_one(std::span<const std::uint64_t> inputs) {
    start(inputs);
    return finish();
  }

  /// Streams the results of 0, 1, … up to `count`, each passed to `consume` in
  /// order, with a bounded number in memory.
  virtual void stream(std::uint64_t count,
                      const std::function<void(std::uint64_t)>&) {
    throw std::logic_error{"cannot stream " + std::to_string(count)
                           + " elements"};
  }

  /// Returns the seconds from handing over an urgent request to its start,
  /// while `start` has given all threads other work.
  virtual double urgent_delay() {
    throw std::logic_error{"knows no urgent requests"};
  }

  /// Drops what `start` handed over and nobody has begun.
  virtual void give_up() {
    throw std::logic_error{"cannot give up what was started"};
  }

  /// Runs `noop` for 0, 1, …, each after the result of the one before arrived.
  virtual std::vector<std::uint64_t> round_trips(std::size_t count) {
    throw std::logic_error{"cannot do " + std::to_string(count)
                           + " round trips"};
  }
};

/// A contestant before it knows its row.
struct contender {
  std::string name;
  bench::role role = bench::role::peer;
  std::function<std::unique_ptr<team>(const team_options&)> make;
};

// -- the floor: team_floor.cpp ------------------------------------------------

/// Claims from one counter and does nothing else: makes no call and returns no
/// results.
std::unique_ptr<team> make_bare_floor(const team_options&);

/// Claims from one counter, calls, and writes the result.
std::unique_ptr<team> make_floor(const team_options&);

// -- troupe: team_troupe.cpp --------------------------------------------------

std::unique_ptr<team> make_troupe(const team_options&);

/// Maps a function that returns nothing.
std::unique_ptr<team> make_troupe_void(const team_options&);

/// Round trips from an event-based actor via `then`, and from a task via
/// `co_await`.
std::unique_ptr<team> make_troupe_then(const team_options&);
std::unique_ptr<team> make_troupe_task(const team_options&);

/// Batches with a deadline that nobody reaches, and with a token that nobody
/// stops.
std::unique_ptr<team> make_troupe_deadline(const team_options&);
std::unique_ptr<team> make_troupe_token(const team_options&);

/// Gathers outcomes in place of results.
std::unique_ptr<team> make_troupe_settled(const team_options&);

/// Only the actor system that a troupe pool would live in.
std::shared_ptr<void> make_idle_system(const team_options&);

// -- peers --------------------------------------------------------------------

std::unique_ptr<team> make_mutex_pool(const team_options&);

std::unique_ptr<team> make_plain_caf(const team_options&);
/// Round trips from an event-based actor to a detached one.
std::unique_ptr<team> make_plain_caf_actor(const team_options&);

#ifdef TROUPE_BENCH_HAS_ASIO
std::unique_ptr<team> make_asio(const team_options&);
/// Round trips through `asio::use_future`.
std::unique_ptr<team> make_asio_future(const team_options&);
#endif

#ifdef TROUPE_BENCH_HAS_LIBUV
std::unique_ptr<team> make_libuv(const team_options&);
#endif

#ifdef TROUPE_BENCH_HAS_TBB
std::unique_ptr<team> make_tbb(const team_options&);
#endif

/// Returns the peers that were built and can do any work of `work.hpp`.
std::vector<contender> peers();

/// Returns the names of the peers that were not built, each with its package.
std::vector<std::string> peers_not_built();

} // namespace bench
