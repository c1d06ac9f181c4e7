// A clock that stands still until a test moves it.

#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "troupe/clock.hpp"

namespace test {

/// Starts an hour after the epoch of the steady clock. Thread-safe.
class manual_clock final : public troupe::clock {
public:
  time_point now() const noexcept override {
    std::lock_guard guard{mutex_};
    return now_;
  }

  bool call_at(time_point when, std::function<void()> wake) override {
    {
      std::lock_guard guard{mutex_};
      if (when > now_) {
        timers_.emplace(when, std::move(wake));
        return true;
      }
    }
    wake();
    return true;
  }

  /// Moves the time forward and calls, on this thread, what has become due.
  void advance(std::chrono::nanoseconds by) {
    std::vector<std::function<void()>> due;
    {
      std::lock_guard guard{mutex_};
      now_ += by;
      auto end = timers_.upper_bound(now_);
      for (auto i = timers_.begin(); i != end; ++i)
        due.push_back(std::move(i->second));
      timers_.erase(timers_.begin(), end);
    }
    for (auto& wake : due)
      wake();
  }

  /// Drops all timers. What they hold may hold a pool, and that this clock.
  void forget_timers() {
    decltype(timers_) dropped;
    std::lock_guard guard{mutex_};
    dropped.swap(timers_);
  }

private:
  mutable std::mutex mutex_;
  time_point now_{std::chrono::hours{1}};
  std::multimap<time_point, std::function<void()>> timers_;
};

/// A manual clock for a test's pools; its timers go with the test.
struct manual_time {
  manual_time() = default;
  manual_time(const manual_time&) = delete;
  manual_time& operator=(const manual_time&) = delete;
  ~manual_time() { clock->forget_timers(); }

  std::shared_ptr<manual_clock> clock = std::make_shared<manual_clock>();
};

} // namespace test
