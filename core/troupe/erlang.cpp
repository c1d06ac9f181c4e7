#include "troupe/erlang.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace troupe::erlang {

namespace {

constexpr auto never = std::numeric_limits<double>::infinity();

// How much longer waits are than for exponential service.
double spread(const traffic& of) noexcept {
  return (1 + of.variation) / 2;
}

double waiting_from(double blocked, double workers, double load) noexcept {
  if (load >= workers)
    return 1;
  auto busy = load / workers;
  return blocked / (1 - busy * (1 - blocked));
}

// Of the requests that wait at all, how long on average.
double wait_of_those(double workers, const traffic& of) noexcept {
  auto left = workers - load(of);
  return left <= 0 ? never : of.service / left * spread(of);
}

double quantile_from(double waits, double workers, const traffic& of,
                     double q) noexcept {
  if (load(of) >= workers)
    return never;
  if (waits <= 1 - q)
    return 0;
  return q >= 1 ? never
                : std::log(waits / (1 - q)) * wait_of_those(workers, of);
}

// One more worker than those with whom the share `blocked` was turned away.
double next_blocked(double blocked, double workers, double load) noexcept {
  return load * blocked / (workers + load * blocked);
}

} // namespace

double load(const traffic& of) noexcept {
  return of.rate * of.service;
}

double blocked(std::size_t workers, double load) noexcept {
  auto result = 1.0;
  for (std::size_t k = 1; k <= workers; ++k)
    result = next_blocked(result, static_cast<double>(k), load);
  return result;
}

double waiting(std::size_t workers, double load) noexcept {
  return waiting_from(blocked(workers, load), static_cast<double>(workers),
                      load);
}

double mean_wait(std::size_t workers, const traffic& of) noexcept {
  auto those = wait_of_those(static_cast<double>(workers), of);
  return those == never ? never : waiting(workers, load(of)) * those;
}

double wait_quantile(std::size_t workers, const traffic& of,
                     double q) noexcept {
  return quantile_from(waiting(workers, load(of)), static_cast<double>(workers),
                       of, q);
}

std::size_t workers_for(const traffic& of, double q, double goal,
                        std::size_t most) noexcept {
  auto blocked = 1.0;
  auto wanted = load(of);
  for (std::size_t k = 1; k < most; ++k) {
    auto workers = static_cast<double>(k);
    blocked = next_blocked(blocked, workers, wanted);
    auto waits = waiting_from(blocked, workers, wanted);
    if (quantile_from(waits, workers, of, q) <= goal)
      return k;
  }
  return std::max<std::size_t>(most, 1);
}

} // namespace troupe::erlang
