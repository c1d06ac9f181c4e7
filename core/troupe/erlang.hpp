// What queueing theory says about requests that arrive at random and are served
// by a number of workers: how many are busy, how long the others wait, and how
// many workers it takes. Arithmetic only; advisor.hpp turns it into advice.

#pragma once

#include <cstddef>

namespace troupe::erlang {

/// Requests on their way to a team of workers. Any unit of time, the same in
/// both.
struct traffic {
  /// Requests that arrive in a unit of time.
  double rate = 0;

  /// Mean time that a request takes once it runs.
  double service = 0;

  /// Square of the ratio of standard deviation and mean of that time: 1 for an
  /// exponential one, 0 if all requests take the same time.
  double variation = 1;
};

/// Returns how many workers are busy on average, if there are enough.
/// Source: Little's law, L = rate x service.
double load(const traffic& of) noexcept;

/// Returns the share of requests turned away if nothing may wait.
/// Source: Erlang's B formula, by its recursion over the number of workers,
///         which neither overflows nor loses digits.
double blocked(std::size_t workers, double load) noexcept;

/// Returns the share of requests that have to wait: 1 if the load is more than
/// the workers can carry.
/// Source: Erlang's C formula, from B.
double waiting(std::size_t workers, double load) noexcept;

/// Returns the mean time that a request waits, counting those that don't;
/// infinity if the load is more than the workers can carry.
/// Source: M/M/c; for other variations the approximation of Allen and Cunneen,
///         half the sum of the variations of arrival and service times it.
double mean_wait(std::size_t workers, const traffic& of) noexcept;

/// Returns the time that the share `q` of requests do not wait longer than;
/// infinity as above. 0 if more than that share don't wait at all.
/// Source: M/M/c, where waits are exponential; with the factor of `mean_wait`.
double wait_quantile(std::size_t workers, const traffic& of, double q) noexcept;

/// Returns the least number of workers with which the share `q` of requests
/// waits no longer than `goal`; `most` if that is not enough either.
std::size_t workers_for(const traffic& of, double q, double goal,
                        std::size_t most) noexcept;

} // namespace troupe::erlang
