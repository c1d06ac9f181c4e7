// A pool without threads: the test itself plays the workers, step by step, so
// that what the dispatcher decides can be looked at after each step.

#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "troupe/dispatcher.hpp"

namespace test {

/// What the dispatcher told its staff.
struct crew_script {
  std::vector<troupe::worker_cell*> woken;
  std::size_t growths = 0;
  std::size_t drained = 0;
  std::size_t watches = 0;
  std::vector<troupe::completion> completions;
};

/// A dispatcher and the cells of its workers. For one thread.
class scripted_crew {
public:
  /// Hires `options.min_workers` workers; they are idle.
  explicit scripted_crew(troupe::effective_options options) {
    auto crew = std::make_unique<staff>(*script_);
    home_ = troupe::make_ref<troupe::dispatcher>(std::move(options),
                                                 std::move(crew));
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

  static troupe::effective_options idle_workers(std::size_t n) {
    troupe::effective_options result;
    result.name = "test";
    result.workers = result.min_workers = n;
    return result;
  }

  troupe::dispatcher& home() noexcept { return *home_; }

  const crew_script& script() const noexcept { return *script_; }

  /// Returns the workers woken since the last call.
  std::vector<troupe::worker_cell*> take_woken() {
    return std::exchange(script_->woken, {});
  }

  /// Adds as many workers as the dispatcher would have started; each still has
  /// to call `next`.
  std::vector<troupe::worker_cell*> hire() {
    std::vector<troupe::worker_cell*> result;
    for (auto n = home_->take_growth(); n > 0; --n) {
      auto cell = home_->reuse();
      if (cell == nullptr) {
        auto made = std::make_unique<troupe::worker_cell>(*home_, ++last_id_);
        cell = made.get();
        home_->add(std::move(made));
      }
      result.push_back(cell);
      hired_.push_back(cell);
    }
    return result;
  }

  /// What the worker does when it has nothing behind it.
  troupe::worker_cell::hand_off next(troupe::worker_cell& cell) {
    return home_->next(cell, nullptr, troupe::leave_reason::exhausted);
  }

  /// What the worker does after `done`.
  troupe::worker_cell::hand_off next(troupe::worker_cell& cell,
                                     const troupe::worker_cell::hand_off& done,
                                     troupe::leave_reason why) {
    return home_->next(cell, done.work, why);
  }

  /// Runs what is left of `work`, on this thread.
  troupe::leave_reason run(troupe::worker_cell& cell,
                           const troupe::worker_cell::hand_off& work) {
    troupe::worker_cell::bind_thread bound{cell};
    cell.set_mark(std::chrono::steady_clock::now());
    return work.work->participate(cell, false);
  }

  /// Runs whatever there is to do until the worker is idle or retires; returns
  /// whether it retired.
  bool run_all(troupe::worker_cell& cell, troupe::worker_cell::hand_off found) {
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

  void submit(const troupe::batch_ref& made) {
    made.get()->set_home(home_);
    made.get()->start();
  }

private:
  class staff final : public troupe::staff {
  public:
    explicit staff(crew_script& script) : script_{script} {}

    void wake(troupe::worker_cell& cell) noexcept override {
      script_.woken.push_back(&cell);
    }

    void grow() noexcept override { ++script_.growths; }

    void drained() noexcept override { ++script_.drained; }

    void watch() noexcept override { ++script_.watches; }

    void completed(troupe::completion what) noexcept override {
      script_.completions.push_back(std::move(what));
    }

    void call_at(troupe::clock& time, troupe::clock::time_point when,
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
  troupe::ref_ptr<troupe::dispatcher> home_;
  std::vector<troupe::worker_cell*> hired_;
  int last_id_ = 0;
};

} // namespace test
