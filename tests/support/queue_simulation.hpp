// Requests that arrive at random at a number of workers, event by event: what
// formulas and advice about queues are compared with. Simulated time; the same
// seed gives the same numbers.

#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <queue>
#include <random>
#include <vector>

namespace test {

/// Draws a time between arrivals, or the time a request takes.
using draw = std::function<double(std::mt19937_64&)>;

inline draw exponential(double mean) {
  return [dist = std::exponential_distribution<>{1 / mean}](
             std::mt19937_64& random) mutable { return dist(random); };
}

inline draw always(double value) {
  return [value](std::mt19937_64&) { return value; };
}

/// What became of the requests of a simulation.
struct simulated {
  /// How long each request waited, in order of size.
  std::vector<double> waits;

  double mean() const {
    double sum = 0;
    for (auto x : waits)
      sum += x;
    return sum / static_cast<double>(waits.size());
  }

  /// The share of requests that had to wait.
  double waited() const {
    auto first = std::upper_bound(waits.begin(), waits.end(), 0.0);
    return static_cast<double>(waits.end() - first)
           / static_cast<double>(waits.size());
  }

  double quantile(double q) const {
    auto at = static_cast<std::size_t>(q * static_cast<double>(waits.size()));
    return waits[std::min(at, waits.size() - 1)];
  }
};

/// Serves `requests` in order of arrival on so many workers.
inline simulated simulate_queue(std::size_t workers, draw between, draw takes,
                                std::size_t requests, unsigned seed) {
  std::mt19937_64 random{seed};
  // When each worker is free again.
  std::priority_queue<double, std::vector<double>, std::greater<>> free;
  for (std::size_t i = 0; i < workers; ++i)
    free.push(0);
  simulated result;
  result.waits.reserve(requests);
  double now = 0;
  for (std::size_t i = 0; i < requests; ++i) {
    now += between(random);
    auto start = std::max(now, free.top());
    free.pop();
    free.push(start + takes(random));
    result.waits.push_back(start - now);
  }
  std::sort(result.waits.begin(), result.waits.end());
  return result;
}

} // namespace test
