// The state behind an `operation`: something that starts once, completes once,
// and tells one continuation about it. Batches, gathers, tasks, delays and the
// waits for an event are all of this shape, so the three ways to wait are
// written once.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "troupe/clock.hpp"
#include "troupe/error.hpp"
#include "troupe/fetch_early.hpp"
#include "troupe/modifiers.hpp"
#include "troupe/op_memory.hpp"
#include "troupe/outcome.hpp"
#include "troupe/parker.hpp"
#include "troupe/ref_counted.hpp"

namespace troupe {

class batch;
class dispatcher;
class hang_check;
class op_state;

/// Hears that an operation is complete; an `event` is one.
class completion_sink : public ref_counted {
public:
  virtual void on_operation_complete() noexcept = 0;
};

/// What happens next when an operation is complete.
class continuation {
public:
  /// Is called once, on the thread that completes `op`; must be short.
  virtual void on_complete(op_state& op) noexcept = 0;

protected:
  ~continuation() = default;
};

/// Something that starts once and completes once. Thread-safe but for `start`,
/// which is the owner's.
///
/// Invariants: (1) `complete` is called once, after `failure_` and the result
///                 are final.
///             (2) A continuation that `attach` accepted is called once.
class op_state : public ref_counted, public in_op_memory {
  // First, where it takes what the counter leaves of a word: there may be
  // millions of these.
  std::atomic<bool> started_{false};

public:
  // -- the owner's side -------------------------------------------------------

  /// Begins. A second call does nothing. Who calls holds a reference until it
  /// returns.
  void start() {
    if (!started_.exchange(true, std::memory_order_seq_cst))
      do_start();
  }

  bool started() const noexcept {
    return started_.load(std::memory_order_seq_cst);
  }

  /// Sets what happens on completion, at most once. Returns false if the
  /// operation is complete already; then `next` is not called.
  bool attach(continuation& next) noexcept {
    continuation* expected = nullptr;
    return next_.compare_exchange_strong(expected, &next,
                                         std::memory_order_acq_rel);
  }

  /// Blocks the calling thread until the operation is complete.
  void wait();

  /// Asks to stop: what has not started never will. `why` becomes the failure,
  /// unless everything had been started already and succeeds. Of a state that
  /// has not started, only its owner may ask that.
  virtual void cancel(ec why) noexcept = 0;

  /// Returns whether `cancel` settles what comes of it: when that has returned,
  /// it is complete or about to be, since nothing of it runs. Its outcome then
  /// says whether it took effect.
  virtual bool is_settled_by_cancel() const noexcept { return false; }

  /// Makes the last report of its progress; none comes after. For whoever
  /// delivers an outcome before everything has returned.
  virtual void end_progress() noexcept {}

  /// The owner goes without having started it.
  virtual void forget() noexcept {}

  /// Names the operation in failures and completions. Before the start.
  virtual void set_label(std::string label) = 0;

  /// Cancels the operation when `token` is stopped. Before the start.
  virtual void set_stop_token(std::stop_token token) = 0;

  /// Tells `sink` when the operation is complete. Before the start.
  virtual void set_notify(ref_ptr<completion_sink> sink) = 0;

  /// Takes what `mods` sets, before the start. Returns false if that means
  /// nothing to this operation.
  virtual bool modify(const modifiers& mods);

  /// Tells running requests when nobody will want their outcome any more.
  /// Before the start.
  virtual void set_deadline(clock::time_point when) noexcept;

  /// Returns an operation that does the same once more, or null if there can be
  /// none. Before the start.
  virtual ref_ptr<op_state> copy() const;

  /// Completes at once with those outcomes that are there, because `why`, if
  /// the operation can deliver a part. Else does nothing and returns false.
  virtual bool complete_partly(ec why) noexcept;

  /// Asks for a `report`. Before the start.
  virtual void measure() noexcept {}

  /// Gives the calling thread the chance to do part of the work, if it is a
  /// worker that would otherwise block on its own pool.
  virtual void help() noexcept {}

  /// Returns whether it will never be complete, as far as can be seen, while
  /// the workers stand still of which `check` says so; and tells `check` why.
  virtual bool hangs(hang_check& check) noexcept;

  /// Returns why the calling thread must not block until it is complete, which
  /// would be for ever; null if it may.
  virtual failure_ptr refusal_to_wait() const { return nullptr; }

  /// How long a waiting thread looks for the outcome before it sleeps.
  virtual std::chrono::nanoseconds spin() const noexcept {
    return std::chrono::nanoseconds{0};
  }

  /// Has the processor fetch what `complete` will need.
  void fetch_continuation() const noexcept {
    fetch_early(next_.load(std::memory_order_relaxed), 1);
  }

  // -- properties -------------------------------------------------------------

  /// Returns the label, or an empty text.
  virtual std::string_view label_text() const noexcept = 0;

  /// Returns all tags, as " (key=value, ...)"; of several requests, none.
  virtual std::string tags_text() const { return {}; }

  /// Returns the clock that its deadline is read from.
  virtual clock& time() const noexcept { return steady_clock(); }

  bool done() const noexcept {
    return next_.load(std::memory_order_acquire) == done_mark();
  }

  /// Returns why there is no result; null if there is one.
  /// @pre `done()`
  const failure_ptr& failed() const noexcept { return failure_; }

  /// Returns when and where the request ran, as far as that was recorded.
  /// @pre `done()`
  virtual call_report report() const noexcept { return {}; }

  /// Returns whether what it did runs on, although it is complete.
  /// @pre `done()`
  virtual bool runs_on() const noexcept { return false; }

  /// Returns whether a failure is told to somebody else than who holds the
  /// operation, so that it may be dropped.
  virtual bool told_elsewhere() const noexcept { return false; }

  /// Returns whether somebody asked to stop what had begun.
  virtual bool asked_to_stop() const noexcept { return false; }

  /// Returns the queue in which it waits for its turn; of several, the first
  /// one; null if it does not queue anywhere.
  virtual dispatcher* queue() const noexcept { return nullptr; }

  /// Returns this state as a batch, or null if it is something else.
  virtual batch* as_batch() noexcept { return nullptr; }

  /// Returns the address of the result, whose type the `operation` knows; null
  /// for `void`.
  /// @pre `done() && !failed()`
  virtual void* result() { return nullptr; }

protected:
  virtual void do_start() = 0;

  /// Counts as started without starting. Returns false if it had started.
  bool skip_start() noexcept {
    return !started_.exchange(true, std::memory_order_seq_cst);
  }

  /// Publishes the outcome and runs the continuation.
  void complete() noexcept {
    auto next = next_.exchange(done_mark(), std::memory_order_acq_rel);
    if (next != nullptr)
      next->on_complete(*this);
  }

  failure_ptr failure_;

private:
  static continuation* done_mark() noexcept {
    return reinterpret_cast<continuation*>(std::uintptr_t{1});
  }

  std::atomic<continuation*> next_{nullptr};
};

/// An operation that is not a batch: a gather, a task, a wait, a delay. Keeps
/// what the modifiers set, and itself alive from start to completion.
class plain_op : public op_state {
public:
  void set_label(std::string label) override;

  std::string_view label_text() const noexcept override { return label_; }

  void set_stop_token(std::stop_token token) override;

  void set_notify(ref_ptr<completion_sink> sink) override;

  void cancel(ec why) noexcept final;

  bool asked_to_stop() const noexcept final {
    return asked_to_stop_.load(std::memory_order_acquire);
  }

  void measure() noexcept override { measured_ = true; }

  call_report report() const noexcept override {
    return {.ran = ended_at_ - began_at_};
  }

protected:
  void do_start() final;

  /// Asks what `begin` began to stop.
  virtual void stop(ec why) noexcept = 0;

  /// Completes without having begun.
  virtual void drop(ec why) noexcept;

  /// Begins; `finish` or `finish_with` must follow, now or later.
  virtual void begin() = 0;

  const std::string& label() const noexcept { return label_; }

  /// Completes with what `failure_` says.
  void finish() noexcept;

  void finish_with(failure_ptr failure) noexcept;

private:
  struct cancel_op {
    plain_op* target;
    void operator()() const noexcept {
      // The token may be stopped while the last reference goes.
      if (target->try_ref()) {
        target->cancel(ec::cancelled);
        target->deref();
      }
    }
  };

  std::string label_;
  std::stop_token token_;
  std::optional<std::stop_callback<cancel_op>> on_stop_;
  ref_ptr<completion_sink> notify_;
  // Read only if somebody asked for a report.
  std::chrono::steady_clock::time_point began_at_;
  std::chrono::steady_clock::time_point ended_at_;
  bool measured_ = false;
  std::atomic<bool> asked_to_stop_{false};
};

/// Wakes a thread that blocks in `op_state::wait`.
class unpark_thread final : public continuation {
public:
  explicit unpark_thread(parker& sleeper) noexcept : sleeper_{sleeper} {}

  void on_complete(op_state&) noexcept override { sleeper_.unpark(); }

private:
  parker& sleeper_;
};

/// Returns the parker of the calling thread. It outlives every wait, so whoever
/// wakes the thread may still touch it when the wait is over.
parker& this_thread_parker() noexcept;

} // namespace troupe
