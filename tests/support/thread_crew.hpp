// A pool without actors: a dispatcher whose staff are plain threads. They loop
// exactly as actors/troupe/worker.cpp does, so that everything below the
// mailboxes can be tested, and raced, without an actor system.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "troupe/dispatcher.hpp"

#include "tsan_suppressions.hpp"

namespace test {

/// A worker whose mailbox is a counter of wake-ups.
class thread_cell final : public troupe::worker_cell {
public:
  using worker_cell::worker_cell;

  void wake() {
    std::lock_guard guard{mutex_};
    ++wake_ups_;
    changed_.notify_all();
  }

  /// Blocks until somebody wakes the worker.
  void wait() {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [this] { return wake_ups_ > 0; });
    --wake_ups_;
  }

  /// Starts over with another thread.
  void reset() {
    std::lock_guard guard{mutex_};
    wake_ups_ = 0;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t wake_ups_ = 0;
};

/// Calls functions after a while, on a thread of its own.
class later_calls {
public:
  ~later_calls() {
    {
      std::lock_guard guard{mutex_};
      over_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable())
      thread_.join();
  }

  void add(std::chrono::nanoseconds span, std::function<void()> wake) {
    {
      std::lock_guard guard{mutex_};
      all_.emplace(std::chrono::steady_clock::now() + span, std::move(wake));
      if (!thread_.joinable())
        thread_ = std::thread{[this] { run(); }};
    }
    changed_.notify_all();
  }

private:
  void run() {
    std::unique_lock guard{mutex_};
    while (!over_) {
      if (all_.empty()) {
        changed_.wait(guard);
        continue;
      }
      auto first = all_.begin();
      if (std::chrono::steady_clock::now() < first->first) {
        changed_.wait_until(guard, first->first);
        continue;
      }
      auto wake = std::move(first->second);
      all_.erase(first);
      guard.unlock();
      wake();
      wake = nullptr;
      guard.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<std::chrono::steady_clock::time_point, std::function<void()>>
      all_;
  bool over_ = false;
  std::thread thread_;
};

class crew_staff;

/// What `crew_staff` shares with the `thread_crew` that outlives it.
struct crew_log {
  std::atomic<std::size_t> wakes{0};
  std::atomic<std::size_t> growths{0};
  std::atomic<std::size_t> drained{0};

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<troupe::completion> completions;
  std::vector<std::thread> threads;
  std::size_t ended = 0;
  int last_id = 0;

  later_calls later;
};

class crew_staff final : public troupe::staff {
public:
  /// Short, so that tests see workers who linger and workers who sleep.
  static constexpr auto linger_time = std::chrono::microseconds{100};

  explicit crew_staff(std::shared_ptr<crew_log> log) : log_{std::move(log)} {}

  void bind(troupe::dispatcher& home) { home_ = &home; }

  void wake(troupe::worker_cell& cell) noexcept override {
    ++log_->wakes;
    static_cast<thread_cell&>(cell).wake();
  }

  void grow() noexcept override {
    ++log_->growths;
    auto more = home_->take_growth();
    for (std::size_t i = 0; i < more; ++i)
      start_one();
  }

  void drained() noexcept override { ++log_->drained; }

  void completed(troupe::completion what) noexcept override {
    std::lock_guard guard{log_->mutex};
    log_->completions.push_back(std::move(what));
    log_->changed.notify_all();
  }

  void call_after(std::chrono::nanoseconds span,
                  std::function<void()> wake) noexcept override {
    log_->later.add(span, std::move(wake));
  }

  void call_at(troupe::clock& time, troupe::clock::time_point when,
               std::function<void()> wake) noexcept override {
    // Without a clock of its own a test has no time to wait for.
    if (!time.call_at(when, wake))
      wake();
  }

private:
  void start_one() {
    std::lock_guard guard{log_->mutex};
    auto cell = static_cast<thread_cell*>(home_->reuse());
    if (cell == nullptr) {
      auto made = std::make_unique<thread_cell>(*home_, ++log_->last_id);
      cell = made.get();
      home_->add(std::move(made));
    }
    cell->reset();
    cell->wake();
    log_->threads.emplace_back([this, cell] { run(*cell); });
  }

  void run(thread_cell& cell) {
    auto started = false;
    do
      cell.wait();
    while (work(cell, started));
    cell.close_resource();
    home_->lost(cell);
    std::lock_guard guard{log_->mutex};
    ++log_->ended;
    log_->changed.notify_all();
  }

  // Returns false if the worker retires.
  bool work(thread_cell& cell, bool& started) {
    thread_cell::bind_thread bound{cell};
    auto found =
        std::exchange(started, true)
            ? cell.take()
            : home_->next(cell, nullptr, troupe::leave_reason::exhausted);
    for (;;) {
      cell.set_mark(std::chrono::steady_clock::now());
      while (found.work || found.again) {
        if (found.again || !home_->take_up(cell, *found.work)) {
          found = home_->next(cell, nullptr, troupe::leave_reason::exhausted);
          continue;
        }
        auto why = found.work->participate(cell, false);
        found = home_->next(cell, found.work, why);
      }
      if (found.retire)
        return false;
      if (home_->spin().count() > 0)
        found = cell.spin(home_->spin());
      if (found.empty())
        found = cell.linger(linger_time);
      if (found.empty())
        return true;
    }
  }

  troupe::dispatcher* home_ = nullptr;
  std::shared_ptr<crew_log> log_;
};

/// Returns the batch behind `made`, which keeps it.
//
// Inlined, it makes GCC 12 warn of a null reference that cannot be.
template <class T>
[[gnu::noinline]] troupe::batch& batch_of(const troupe::typed_batch<T>& made) {
  return *made.ref().get();
}

/// A pool of plain threads. Its destructor closes it and joins the threads, so
/// every gate must be open by then.
class thread_crew {
public:
  // -- construction -----------------------------------------------------------

  explicit thread_crew(std::size_t workers)
      : thread_crew{options_for(workers)} {}

  explicit thread_crew(troupe::effective_options options)
      : log_{std::make_shared<crew_log>()} {
    auto crew = std::make_unique<crew_staff>(log_);
    auto staff = crew.get();
    home_ = troupe::make_ref<troupe::dispatcher>(std::move(options),
                                                 std::move(crew));
    staff->bind(*home_);
    // As the coordinator does: the minimum is there from the start.
    staff->grow();
  }

  thread_crew(const thread_crew&) = delete;
  thread_crew& operator=(const thread_crew&) = delete;

  ~thread_crew() {
    home_->cancel_all(troupe::ec::pool_stopped);
    home_->close();
    join();
  }

  static troupe::effective_options options_for(std::size_t workers) {
    troupe::effective_options result;
    result.name = "test";
    result.workers = workers;
    return result;
  }

  // -- properties -------------------------------------------------------------

  troupe::dispatcher& home() noexcept { return *home_; }

  /// What the dispatcher told its staff.
  crew_log& log() noexcept { return *log_; }

  troupe::pool_stats stats() const { return home_->stats(); }

  // -- operations -------------------------------------------------------------

  /// Starts a batch here; `made` is what make_batch or make_map_batch returns.
  template <class T>
  troupe::typed_batch<T> start(troupe::typed_batch<T> made) {
    submit(batch_of(made));
    return made;
  }

  void submit(troupe::batch& work) {
    work.set_home(home_);
    work.start();
  }

  /// Blocks until all workers are idle that live.
  ///
  /// A worker is busy for a moment after its batch is complete. Nothing tells
  /// when it has become idle, so this looks again and again.
  void wait_until_idle() {
    for (;;) {
      auto now = stats();
      if (now.idle == now.workers)
        return;
      std::this_thread::yield();
    }
  }

  /// Blocks until `n` workers have ended since the crew was made.
  void wait_for_ended(std::size_t n) {
    std::unique_lock guard{log_->mutex};
    log_->changed.wait(guard, [&] { return log_->ended >= n; });
  }

private:
  void join() {
    for (;;) {
      std::vector<std::thread> all;
      {
        std::lock_guard guard{log_->mutex};
        all.swap(log_->threads);
      }
      if (all.empty())
        return;
      for (auto& x : all)
        x.join();
    }
  }

  std::shared_ptr<crew_log> log_;
  troupe::ref_ptr<troupe::dispatcher> home_;
};

/// Blocks until the batch is complete, then takes its result or throws.
template <class T>
T get(troupe::typed_batch<T>& made) {
  batch_of(made).wait();
  return made.result();
}

template <class T>
T get(troupe::typed_batch<T>&& made) {
  return get(made);
}

/// Returns the failure that `fn` throws; fails the test if it throws none.
template <class Fn>
std::optional<troupe::failure> failure_in(Fn fn) {
  try {
    fn();
  } catch (const troupe::failure& err) {
    return err;
  }
  return std::nullopt;
}

} // namespace test
