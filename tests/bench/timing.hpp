// Reads the clocks of a sample: elapsed time, and the CPU time of all threads
// of this process. Children are processes of their own, so that is the
// contestant's.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include <sys/resource.h>

namespace bench {

/// Seconds.
struct elapsed {
  double wall = 0;
  double cpu = 0;
};

class stopwatch {
public:
  stopwatch() : wall_{std::chrono::steady_clock::now()}, cpu_{cpu_seconds()} {}

  [[nodiscard]] elapsed read() const {
    auto wall = std::chrono::steady_clock::now() - wall_;
    return {std::chrono::duration<double>{wall}.count(), cpu_seconds() - cpu_};
  }

private:
  static double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec)
             + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }

  std::chrono::steady_clock::time_point wall_;
  double cpu_;
};

/// Calls `run`, which returns what it took, until it took `budget` seconds in
/// all, and at least once; returns the medians.
template <class Run>
elapsed repeated(double budget, Run run) {
  std::vector<double> wall;
  std::vector<double> cpu;
  for (double spent = 0; wall.empty() || spent < budget;) {
    elapsed took = run();
    wall.push_back(took.wall);
    cpu.push_back(took.cpu);
    spent += took.wall;
  }
  auto median = [](std::vector<double>& values) {
    auto middle =
        values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  };
  return {median(wall), median(cpu)};
}

} // namespace bench
