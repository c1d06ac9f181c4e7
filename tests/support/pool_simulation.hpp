// A pool with enough to do, and what its requests need, in steps of a
// millisecond: what is said of the size of a pool is compared with the
// throughput of each fixed size. Simulated time; the same seed gives the same
// numbers.

#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "troupe/auto_sizer.hpp"

namespace test {

/// How fast each of so many requests gets on that run at the same time: 1 for
/// one that has all it needs.
struct speed_curve {
  std::function<double(std::size_t at_once)> of;
  /// The share of the time that they compute, or want to.
  double computing = 0;

  double operator()(std::size_t at_once) const { return of(at_once); }
};

/// Requests that only wait.
inline speed_curve waiting() {
  return {[](std::size_t) { return 1.0; }};
}

/// Requests that compute.
inline speed_curve computing_on(std::size_t cores) {
  return {[cores](std::size_t n) {
            return n <= cores
                       ? 1.0
                       : static_cast<double>(cores) / static_cast<double>(n);
          },
          1.0};
}

/// Requests to a service that does less and less beyond `best` at once.
inline speed_curve service_for(std::size_t best) {
  return {[best](std::size_t n) {
    auto load = static_cast<double>(n) / static_cast<double>(best);
    return n <= best ? 1.0 : 1 / (load * load);
  }};
}

/// Requests that get in each other's way more and more, so that throughput
/// approaches a limit and half of it is reached at `half`.
inline speed_curve saturating(double half) {
  return {
      [half](std::size_t n) { return half / (half + static_cast<double>(n)); }};
}

/// Draws what a request needs, in milliseconds of its own.
using service_draw = std::function<double(std::mt19937_64&)>;

inline service_draw takes(double milliseconds) {
  return [milliseconds](std::mt19937_64&) { return milliseconds; };
}

/// Most take little, a few take long: the spread is as large as the mean.
inline service_draw takes_about(double milliseconds) {
  return [dist = std::exponential_distribution<>{1 / milliseconds}](
             std::mt19937_64& random) mutable { return dist(random); };
}

class pool_simulation {
public:
  using milliseconds = std::chrono::milliseconds;

  pool_simulation(speed_curve speed, service_draw draw, unsigned seed = 1)
      : speed_{std::move(speed)}, draw_{std::move(draw)}, random_{seed} {}

  /// What requests need from now on.
  void become(speed_curve speed) { speed_ = std::move(speed); }

  /// Whether requests wait; else the workers run dry.
  void demand(bool yes) { demand_ = yes; }

  /// The share by which the machine is slower or faster in each step, at
  /// random.
  void shake(double share) { shake_ = share; }

  /// Runs `size` workers for so long, and says what a pool would see of it.
  troupe::load_observation run(std::size_t size, milliseconds span) {
    troupe::load_observation seen;
    auto disturbance = std::uniform_real_distribution<>{1 - shake_, 1 + shake_};
    // The machine has its moods for as long as an interval, not for a step.
    auto mood = shake_ > 0 ? disturbance(random_) : 1;
    for (auto t = 0; t < span.count(); ++t) {
      // A worker that is left over ends with its request.
      while (demand_ && left_.size() < size)
        left_.push_back(draw_(random_));
      auto speed = speed_(left_.size()) * mood;
      for (std::size_t i = 0; i < left_.size();) {
        left_[i] -= speed;
        auto ends = false;
        while (left_[i] <= 0 && !ends) {
          ++seen.completed;
          ends = !demand_ || left_.size() > size;
          if (!ends)
            left_[i] += draw_(random_);
        }
        if (ends) {
          left_[i] = left_.back();
          left_.pop_back();
        } else {
          ++i;
        }
      }
    }
    completed_ += seen.completed;
    seen.elapsed = span;
    seen.workers = std::max(size, left_.size());
    seen.busy = left_.size();
    seen.waiting = demand_ ? 1'000 : 0;
    seen.computing = speed_.computing;
    return seen;
  }

  /// Returns how many requests have returned since the last call.
  std::uint64_t take_completed() { return std::exchange(completed_, 0); }

private:
  speed_curve speed_;
  service_draw draw_;
  std::mt19937_64 random_;
  bool demand_ = true;
  double shake_ = 0;
  // What the requests that run still need.
  std::vector<double> left_;
  std::uint64_t completed_ = 0;
};

/// Returns the requests that so many workers complete in a second, in the long
/// run.
inline double throughput_of(std::size_t size, const speed_curve& speed,
                            double takes_milliseconds) {
  return static_cast<double>(size) * speed(size) * 1'000 / takes_milliseconds;
}

/// The throughput of the best size from 1 to `most`.
inline double best_throughput(const speed_curve& speed,
                              double takes_milliseconds, std::size_t most) {
  double best = 0;
  for (std::size_t n = 1; n <= most; ++n)
    best = std::max(best, throughput_of(n, speed, takes_milliseconds));
  return best;
}

} // namespace test
