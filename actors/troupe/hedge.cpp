#include "troupe/hedge.hpp"

#include <array>
#include <mutex>
#include <optional>

#include <fmt/format.h>

#include "troupe/batch.hpp"
#include "troupe/options.hpp"
#include "troupe/timer.hpp"

namespace troupe {

namespace {

/// Completes with the first copy that succeeds, or when all that were started
/// have failed.
class hedge_op final : public plain_op {
public:
  hedge_op(ref_ptr<op_state> first, ref_ptr<op_state> second,
           std::chrono::nanoseconds delay)
      : copies_{copy{*this, std::move(first)}, copy{*this, std::move(second)}},
        delay_{delay} {
    if (auto calls = copies_[0].op->as_batch())
      progress_ = calls->take_progress();
  }

  void forget() noexcept override {
    for (auto& x : copies_)
      x.op->forget();
  }

  void end_progress() noexcept override {
    if (!progress_)
      return;
    if (!counted_)
      progress_->add_total(1);
    progress_->finish();
  }

  void set_label(std::string label) override {
    for (auto& x : copies_)
      x.op->set_label(label);
  }

  std::string_view label_text() const noexcept override {
    return copies_[0].op->label_text();
  }

  std::string tags_text() const override { return copies_[0].op->tags_text(); }

  bool modify(const modifiers& mods) override {
    // One call, however often it is sent.
    if (mods.progress) {
      progress_ = mods.progress;
      return true;
    }
    return copies_[0].op->modify(mods) && copies_[1].op->modify(mods);
  }

  void set_deadline(clock::time_point when) noexcept override {
    for (auto& x : copies_)
      x.op->set_deadline(when);
  }

  std::chrono::nanoseconds spin() const noexcept override {
    return copies_[0].op->spin();
  }

  clock& time() const noexcept override { return copies_[0].op->time(); }

  dispatcher* queue() const noexcept override { return copies_[0].op->queue(); }

  void* result() override { return winner_->result(); }

  void measure() noexcept override {
    plain_op::measure();
    for (auto& x : copies_)
      x.op->measure();
  }

  // Each copy that was sent is an attempt.
  call_report report() const noexcept override {
    if (winner_ == nullptr)
      return plain_op::report();
    auto result = winner_->report();
    if (result.attempts > 0 && second_sent_)
      ++result.attempts;
    return result;
  }

protected:
  void begin() override {
    counted_ = true;
    if (progress_)
      progress_->add_total(1);
    auto& time = this->time();
    // From when it is asked: starting may take a while.
    auto when = time.now() + delay_;
    start_copy(copies_[0]);
    auto timer = start_timer(
        time, when, [keep = ref_ptr<hedge_op>{this}] { keep->send_second(); });
    std::unique_lock guard{mutex_};
    timer_ = timer;
    auto over = over_;
    guard.unlock();
    if (over)
      stop_timer(timer);
  }

  void stop(ec why) noexcept override {
    std::unique_lock guard{mutex_};
    // The second copy is not sent any more.
    second_wanted_ = false;
    auto started = started_;
    guard.unlock();
    for (std::size_t i = 0; i < started; ++i)
      copies_[i].op->cancel(why);
  }

  void drop(ec why) noexcept override {
    end_progress();
    forget();
    plain_op::drop(why);
  }

private:
  struct copy final : continuation {
    copy(hedge_op& owner, ref_ptr<op_state> state)
        : home{owner}, op{std::move(state)} {}

    void on_complete(op_state&) noexcept override { home.end_of(*this); }

    hedge_op& home;
    ref_ptr<op_state> op;
  };

  void start_copy(copy& which) {
    {
      std::lock_guard guard{mutex_};
      ++started_;
      // Released when the copy is complete.
      ref();
    }
    which.op->start();
    if (!which.op->attach(which))
      end_of(which);
  }

  void send_second() {
    {
      std::lock_guard guard{mutex_};
      if (over_ || !second_wanted_)
        return;
      second_wanted_ = false;
      second_sent_ = true;
    }
    start_copy(copies_[1]);
    // Whoever won or stopped meanwhile may have passed over it.
    std::unique_lock guard{mutex_};
    auto late = over_;
    guard.unlock();
    if (late)
      copies_[1].op->cancel(ec::cancelled);
  }

  void end_of(copy& which) noexcept {
    ref_ptr<hedge_op> keep{this, adopt_ref};
    auto failed = which.op->failed();
    copy* loser = nullptr;
    auto sent = false;
    timer_id timer;
    {
      std::lock_guard guard{mutex_};
      ++ended_;
      if (over_)
        return;
      // A failure counts only when nothing else is to be hoped for.
      if (failed && second_sent_ && ended_ < 2)
        return;
      over_ = true;
      second_wanted_ = false;
      sent = second_sent_;
      winner_ = which.op.get();
      timer = timer_;
      loser = &which == &copies_[0] ? &copies_[1] : &copies_[0];
      if (ended_ == 2 || started_ < 2)
        loser = nullptr;
    }
    if (!sent)
      stop_timer(timer);
    if (loser)
      loser->op->cancel(ec::cancelled);
    if (progress_) {
      progress_->add_done(1, failed ? 1 : 0);
      progress_->finish();
    }
    failure_ = std::move(failed);
    finish();
  }

  std::array<copy, 2> copies_;
  const std::chrono::nanoseconds delay_;
  std::mutex mutex_;
  timer_id timer_;
  std::size_t started_ = 0;
  std::size_t ended_ = 0;
  bool second_wanted_ = true;
  bool second_sent_ = false;
  bool over_ = false;
  op_state* winner_ = nullptr;
  ref_ptr<progress_meter> progress_;
  bool counted_ = false;
};

} // namespace

ref_ptr<op_state> hedge(ref_ptr<op_state> first,
                        std::chrono::nanoseconds delay) {
  if (delay < std::chrono::nanoseconds{0})
    throw failure{ec::invalid_option,
                  fmt::format("cannot set .hedge_after({}): accepted is a "
                              "duration from 0",
                              to_text(delay))};
  auto second = first->copy();
  if (!second)
    throw failure{ec::invalid_option,
                  "cannot set .hedge_after: only a call of a pool whose "
                  "function and arguments can be copied can be sent twice; set "
                  "it before .timeout and .deadline, and once"};
  return make_ref<hedge_op>(std::move(first), std::move(second), delay);
}

} // namespace troupe
