#include "troupe/timer.hpp"

#include <pthread.h>

#include <condition_variable>
#include <csignal>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "troupe/caf_compat.hpp"

namespace troupe {

namespace {

using key = std::pair<clock::time_point, std::uint64_t>;

class timer_thread {
public:
  timer_id start(clock::time_point when, std::function<void()> wake) {
    std::lock_guard guard{mutex_};
    run();
    auto number = ++last_number_;
    auto at = timers_.emplace(key{when, number}, std::move(wake)).first;
    if (at == timers_.begin())
      changed_.notify_one();
    return {when, number};
  }

  void start() {
    std::lock_guard guard{mutex_};
    run();
  }

  void stop(const timer_id& which) noexcept {
    // Destroyed when the lock is free: it may hold the last reference to
    // something that stops timers itself.
    std::function<void()> dropped;
    std::lock_guard guard{mutex_};
    auto found = timers_.find(key{which.when, which.number});
    if (found == timers_.end())
      return;
    dropped.swap(found->second);
    timers_.erase(found);
  }

private:
  void run() {
    if (running_)
      return;
    try {
      std::thread{[this] { loop(); }}.detach();
    } catch (const std::system_error& err) {
      compat::throw_no_thread("the timer", err.what());
    }
    running_ = true;
  }

  void loop() {
    // Signals are for the threads that wait for them.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    pthread_setname_np(pthread_self(), "troupe-timer");
    std::unique_lock guard{mutex_};
    for (;;) {
      if (timers_.empty()) {
        changed_.wait(guard);
        continue;
      }
      auto first = timers_.begin();
      auto when = first->first.first;
      if (clock::time_point::clock::now() < when) {
        changed_.wait_until(guard, when);
        continue;
      }
      auto wake = std::move(first->second);
      timers_.erase(first);
      guard.unlock();
      wake();
      wake = nullptr;
      guard.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<key, std::function<void()>> timers_;
  std::uint64_t last_number_ = 0;
  bool running_ = false;
};

timer_thread& the_timer() {
  // Never destroyed: its thread waits in it until the process ends.
  static auto instance = new timer_thread;
  return *instance;
}

} // namespace

timer_id start_timer(clock& time, clock::time_point when,
                     std::function<void()> wake) {
  if (time.call_at(when, wake))
    return {when, 0};
  return the_timer().start(when, std::move(wake));
}

void start_timer_thread() {
  the_timer().start();
}

void stop_timer(const timer_id& which) noexcept {
  if (which.number != 0)
    the_timer().stop(which);
}

} // namespace troupe
