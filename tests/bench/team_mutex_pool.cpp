// The pool that most programs write for themselves: a mutex, a condition
// variable, a queue of closures. A fair one: it wakes somebody only if somebody
// sleeps, and outside the lock, and its closures for `map` fit into
// std::function's own space.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "flight.hpp"
#include "team.hpp"

namespace bench {

namespace {

class mutex_pool {
public:
  explicit mutex_pool(std::size_t workers) {
    for (std::size_t i = 0; i < workers; ++i)
      threads_.emplace_back([this] { work_off(); });
  }

  ~mutex_pool() {
    {
      std::lock_guard guard{mutex_};
      stopped_ = true;
    }
    changed_.notify_all();
    for (auto& one : threads_)
      one.join();
  }

  void submit(std::function<void()> call) {
    auto wake = false;
    {
      std::lock_guard guard{mutex_};
      queue_.push_back(std::move(call));
      wake = sleeping_ > waking_;
      waking_ += wake ? 1 : 0;
    }
    if (wake)
      changed_.notify_one();
  }

private:
  void work_off() {
    std::unique_lock guard{mutex_};
    for (;;) {
      while (queue_.empty()) {
        if (stopped_)
          return;
        ++sleeping_;
        changed_.wait(guard);
        --sleeping_;
        // A wake-up without a notification takes one that is on its way.
        waking_ -= waking_ > 0 ? 1 : 0;
      }
      auto call = std::move(queue_.front());
      queue_.pop_front();
      guard.unlock();
      call();
      guard.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  std::size_t sleeping_ = 0;
  std::size_t waking_ = 0; ///< notified, and not yet awake
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

template <class Call>
class mutex_pool_team : public team {
public:
  mutex_pool_team(Call call, std::size_t workers)
      : call_{call}, pool_{workers} {}

  void start(std::span<const std::uint64_t> inputs) override {
    auto batch = std::make_unique<call_flight<Call>>(call_, inputs);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      pool_.submit([to = batch.get(), i] { to->run(i); });
    under_way_ = std::move(batch);
  }

  std::vector<std::uint64_t> finish() override { return under_way_->wait(); }

  std::vector<std::uint64_t> gather_different(std::size_t count) override {
    flight batch{count};
    for (std::size_t i = 0; i < count; ++i)
      with_different_call(i, [&](auto call) {
        pool_.submit([&batch, i, call] { batch.put(i, call()); });
      });
    return batch.wait();
  }

  std::vector<std::uint64_t> round_trips(std::size_t count) override {
    std::vector<std::uint64_t> results;
    for (std::uint64_t i = 0; i < count; ++i) {
      std::atomic<int> ready{0};
      std::uint64_t result = 0;
      pool_.submit([&] {
        result = call_(i);
        ready = 1;
        ready.notify_one();
      });
      ready.wait(0);
      results.push_back(result);
    }
    return results;
  }

private:
  Call call_;
  std::unique_ptr<flight> under_way_;
  mutex_pool pool_;
};

} // namespace

std::unique_ptr<team> make_mutex_pool(const team_options& options) {
  return std::visit(
      [&](auto call) -> std::unique_ptr<team> {
        return std::make_unique<mutex_pool_team<decltype(call)>>(
            call, options.workers);
      },
      options.what);
}

} // namespace bench
