// For tests of programs that use troupe: a clock that stands still until the
// test moves it, and a pool whose workers the test plays itself. An hour of
// timeouts, retries and idle workers takes no time then, and goes the same way
// each time. Part of the installed package; no other header includes it.

#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "troupe/batch_ref.hpp"
#include "troupe/clock.hpp"
#include "troupe/dispatcher.hpp"

namespace troupe::testing {

// -- time ---------------------------------------------------------------------

/// A clock for `pool_options::clock` that stands still until it is moved.
/// Deadlines, timeouts, backoffs, idle rules, `max-run-time` and drains of the
/// pool follow it; for how long requests really run does not matter.
///
///     auto time = std::make_shared<troupe::testing::manual_clock>();
///     troupe::pool io{sys, {.workers = 1, .clock = time}};
///     auto answer = io.run(fail_once).retry({.backoff = 1h, .max_backoff = 1h,
///     .jitter = 0}).start(); time->wait_for_timer_in(1h); // it has failed,
///     and waits for its hour time->advance(1h); answer.get();
///
/// Starts an hour after the epoch of the steady clock. Thread-safe.
/// Source: tokio::time::pause and advance; trio.testing.MockClock.
class manual_clock final : public clock {
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
        changed_.notify_all();
        return true;
      }
    }
    wake();
    return true;
  }

  /// Moves the time forward and calls, on this thread, what becomes due: one
  /// after the other, each at its time, also what is set meanwhile.
  void advance(std::chrono::nanoseconds by) {
    std::unique_lock guard{mutex_};
    auto until = now_ + by;
    while (!timers_.empty() && timers_.begin()->first <= until) {
      auto first = timers_.begin();
      // What a callback finds is its own time.
      now_ = std::max(now_, first->first);
      auto wake = std::move(first->second);
      timers_.erase(first);
      guard.unlock();
      wake();
      wake = nullptr;
      guard.lock();
    }
    now_ = std::max(now_, until);
  }

  /// Blocks until `n` timers wait for their time. A pool sets them on its own
  /// threads: a retry's when the attempt has failed, a drain's when the
  /// shutdown has begun. It also has some for its own ends.
  void wait_for_timers(std::size_t n) {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [&] { return timers_.size() >= n; });
  }

  /// Blocks until a timer waits that is due in exactly `span` from now.
  void wait_for_timer_in(std::chrono::nanoseconds span) {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [&] { return timers_.contains(now_ + span); });
  }

  /// Returns how many timers wait.
  std::size_t timers() const {
    std::lock_guard guard{mutex_};
    return timers_.size();
  }

  /// Drops all timers. What they hold may hold a pool, and that this clock.
  void forget_timers() {
    decltype(timers_) dropped;
    std::lock_guard guard{mutex_};
    dropped.swap(timers_);
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
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

// -- workers ------------------------------------------------------------------

/// What the dispatcher told its staff.
struct crew_script {
  std::vector<worker_cell*> woken;
  std::size_t growths = 0;
  std::size_t drained = 0;
  std::size_t watches = 0;
  std::vector<completion> completions;
  std::vector<std::function<void()>> later;
};

/// A pool without threads, whose workers the test plays step by step: so what
/// the queue decides can be looked at after each step. For one thread.
class scripted_crew {
public:
  /// Hires `options.min_workers` workers; they are idle.
  explicit scripted_crew(effective_options options) {
    auto crew = std::make_unique<script_staff>(*script_);
    home_ = make_ref<dispatcher>(std::move(options), std::move(crew));
    for (auto cell : hire())
      next(*cell);
  }

  scripted_crew(const scripted_crew&) = delete;
  scripted_crew& operator=(const scripted_crew&) = delete;

  /// Takes what the test has left in the hands of woken workers: a batch there
  /// keeps the dispatcher, and that the worker.
  ~scripted_crew() {
    for (auto cell : hired_)
      cell->take();
  }

  static effective_options idle_workers(std::size_t n) {
    effective_options result;
    result.name = "test";
    result.workers = result.min_workers = n;
    return result;
  }

  dispatcher& home() noexcept { return *home_; }

  const crew_script& script() const noexcept { return *script_; }

  /// Calls what was to be called after some time.
  void let_time_pass() {
    for (auto& wake : std::exchange(script_->later, {}))
      wake();
  }

  /// Returns the workers woken since the last call.
  std::vector<worker_cell*> take_woken() {
    return std::exchange(script_->woken, {});
  }

  /// Adds as many workers as the dispatcher would have started; each still has
  /// to call `next`.
  std::vector<worker_cell*> hire() {
    std::vector<worker_cell*> result;
    for (auto n = home_->take_growth(); n > 0; --n) {
      auto cell = home_->reuse();
      if (cell == nullptr) {
        auto made = std::make_unique<worker_cell>(*home_, ++last_id_);
        cell = made.get();
        home_->add(std::move(made));
      }
      result.push_back(cell);
      hired_.push_back(cell);
    }
    return result;
  }

  /// What the worker does when it has nothing behind it.
  worker_cell::hand_off next(worker_cell& cell) {
    return home_->next(cell, nullptr, leave_reason::exhausted);
  }

  /// What the worker does after `done`.
  worker_cell::hand_off
  next(worker_cell& cell, const worker_cell::hand_off& done, leave_reason why) {
    return home_->next(cell, done.work, why);
  }

  /// Runs what is left of `work`, on this thread.
  leave_reason run(worker_cell& cell, const worker_cell::hand_off& work) {
    worker_cell::bind_thread bound{cell};
    cell.set_mark(std::chrono::steady_clock::now());
    return work.work->participate(cell, false);
  }

  /// Runs whatever there is to do until the worker is idle or retires; returns
  /// whether it retired.
  bool run_all(worker_cell& cell, worker_cell::hand_off found) {
    while (found.work) {
      if (!home_->take_up(cell, *found.work)) {
        found = next(cell);
        continue;
      }
      auto why = run(cell, found);
      found = next(cell, found, why);
    }
    return found.retire;
  }

  void submit(const batch_ref& made) {
    made.get()->set_home(home_);
    made.get()->start();
  }

private:
  class script_staff final : public staff {
  public:
    explicit script_staff(crew_script& script) : script_{script} {}

    void wake(worker_cell& cell) noexcept override {
      script_.woken.push_back(&cell);
    }

    void grow() noexcept override { ++script_.growths; }

    void drained() noexcept override { ++script_.drained; }

    void watch() noexcept override { ++script_.watches; }

    void call_after(std::chrono::nanoseconds,
                    std::function<void()> wake) noexcept override {
      script_.later.push_back(std::move(wake));
    }

    void completed(completion what) noexcept override {
      script_.completions.push_back(std::move(what));
    }

    void call_at(clock& time, clock::time_point when,
                 std::function<void()> wake) noexcept override {
      // Without a clock of its own a test has no time to wait for.
      if (!time.call_at(when, wake))
        wake();
    }

  private:
    crew_script& script_;
  };

  // Outlives the dispatcher, which a batch may keep.
  std::unique_ptr<crew_script> script_ = std::make_unique<crew_script>();
  ref_ptr<dispatcher> home_;
  std::vector<worker_cell*> hired_;
  int last_id_ = 0;
};

} // namespace troupe::testing
