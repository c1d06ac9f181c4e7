#include "troupe/deadline.hpp"

#include <atomic>

#include <fmt/format.h>

#include "troupe/options.hpp"
#include "troupe/timer.hpp"

namespace troupe {

namespace {

/// Completes with `source`, or when the time has come.
class deadline_op final : public plain_op, private continuation {
public:
  // `timeout` counts from the start; it is `max()` if `when` says when.
  deadline_op(ref_ptr<op_state> source, std::chrono::nanoseconds timeout,
              clock::time_point when)
      : source_{std::move(source)}, timeout_{timeout}, when_{when} {}

  void forget() noexcept override { source_->forget(); }

  bool is_settled_by_cancel() const noexcept override {
    return source_->is_settled_by_cancel();
  }

  void end_progress() noexcept override { source_->end_progress(); }

  void set_label(std::string label) override {
    source_->set_label(std::move(label));
  }

  std::string_view label_text() const noexcept override {
    return source_->label_text();
  }

  std::string tags_text() const override { return source_->tags_text(); }

  bool modify(const modifiers& mods) override { return source_->modify(mods); }

  void set_deadline(clock::time_point when) noexcept override {
    source_->set_deadline(when);
  }

  std::chrono::nanoseconds spin() const noexcept override {
    return source_->spin();
  }

  clock& time() const noexcept override { return source_->time(); }

  dispatcher* queue() const noexcept override { return source_->queue(); }

  void* result() override { return source_->result(); }

  void measure() noexcept override {
    plain_op::measure();
    source_->measure();
  }

  call_report report() const noexcept override {
    return source_->done() ? source_->report() : plain_op::report();
  }

  bool runs_on() const noexcept override { return runs_on_; }

protected:
  void begin() override {
    auto& time = source_->time();
    auto now = time.now();
    if (when_ == clock::time_point::max())
      when_ = timeout_ < clock::time_point::max() - now
                  ? now + timeout_
                  : clock::time_point::max();
    if (when_ <= now) {
      late_from_the_start();
      return;
    }
    source_->set_deadline(when_);
    // Released by `on_complete`, which may come long after the deadline.
    ref();
    source_->start();
    if (!source_->attach(*this)) {
      on_complete(*source_);
      return;
    }
    timer_ = start_timer(
        time, when_, [keep = ref_ptr<deadline_op>{this}] { keep->expire(); });
    // Whoever is second of the two that want the timer stopped, stops it.
    if (timer_known_or_over_.exchange(true, std::memory_order_acq_rel))
      stop_timer(timer_);
  }

  void stop(ec why) noexcept override { source_->cancel(why); }

  void drop(ec why) noexcept override {
    if (source_->complete_partly(why)) {
      // Released by `on_complete`.
      ref();
      if (!source_->attach(*this))
        on_complete(*source_);
      return;
    }
    source_->end_progress();
    source_->forget();
    plain_op::drop(why);
  }

private:
  void late_from_the_start() {
    over_.store(true);
    if (source_->complete_partly(ec::deadline_exceeded)) {
      finish_with(source_->failed());
      return;
    }
    source_->end_progress();
    source_->forget();
    finish_with(make_failure(ec::deadline_exceeded,
                             "the deadline had passed before it was started"
                                 + tags_text(),
                             false, std::string{label_text()}));
  }

  void on_complete(op_state&) noexcept override {
    ref_ptr<deadline_op> keep{this, adopt_ref};
    if (over_.exchange(true, std::memory_order_acq_rel))
      return;
    if (timer_known_or_over_.exchange(true, std::memory_order_acq_rel))
      stop_timer(timer_);
    failure_ = source_->failed();
    // What a task or a wait says when it is cancelled on our behalf.
    if (failure_ && failure_->code == ec::cancelled
        && expired_.load(std::memory_order_acquire))
      failure_ = passed_while_running();
    finish();
  }

  void expire() noexcept {
    // Completes this one through `on_complete` if nothing was running, or if
    // there are outcomes to deliver.
    if (source_->complete_partly(ec::deadline_exceeded))
      return;
    expired_.store(true, std::memory_order_release);
    source_->cancel(ec::deadline_exceeded);
    // What came too late to be cancelled has taken effect: a push whose item is
    // in must not be reported as one that is not.
    if (source_->is_settled_by_cancel()
        || over_.exchange(true, std::memory_order_acq_rel))
      return;
    source_->end_progress();
    runs_on_ = true;
    finish_with(passed_while_running());
  }

  failure_ptr passed_while_running() const {
    return make_failure(ec::deadline_exceeded,
                        "the deadline passed while it was running; what runs "
                        "was asked to stop, and its outcome will be dropped"
                            + tags_text(),
                        true, std::string{label_text()});
  }

  ref_ptr<op_state> source_;
  std::chrono::nanoseconds timeout_;
  clock::time_point when_;
  timer_id timer_;
  std::atomic<bool> timer_known_or_over_{false};
  std::atomic<bool> expired_{false};
  std::atomic<bool> over_{false};
  // Written before it is complete.
  bool runs_on_ = false;
};

} // namespace

ref_ptr<op_state> with_timeout(ref_ptr<op_state> source,
                               std::chrono::nanoseconds timeout) {
  if (timeout < std::chrono::nanoseconds{0})
    throw failure{ec::invalid_option,
                  fmt::format("cannot set .timeout({}): accepted is a duration "
                              "from 0",
                              to_text(timeout))};
  return make_ref<deadline_op>(std::move(source), timeout,
                               clock::time_point::max());
}

ref_ptr<op_state> with_deadline(ref_ptr<op_state> source,
                                clock::time_point when) {
  return make_ref<deadline_op>(std::move(source),
                               std::chrono::nanoseconds::max(), when);
}

} // namespace troupe
