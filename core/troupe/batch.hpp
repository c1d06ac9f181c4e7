// The requests of one `run`, `map` or `gather`: one shared object from which
// workers claim requests, into which they write the outcomes, and whose join
// barrier says when the last one is in. Runs on whatever thread calls it and
// knows no actor.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "troupe/completion.hpp"
#include "troupe/join_barrier.hpp"
#include "troupe/lane.hpp"
#include "troupe/op_state.hpp"

namespace troupe {

class dispatcher;
struct batch_list;
struct key_share;
class worker_cell;

/// Why a worker stopped working on a batch.
enum class leave_reason : std::uint8_t {
  /// Nothing was left to claim, and nothing ever will be.
  exhausted,
  /// The worker was asked to look after another batch.
  yielded,
  /// It has worked on this batch for a while, and another one has a turn; or it
  /// lets others use its thread.
  turn_over,
};

/// What came of running a request.
enum class run_result : std::uint8_t {
  value,
  failed,
  /// It failed and will be tried again.
  again,
};

/// The requests of one `run`, `map` or `gather`.
///
/// Invariants: (1) Each request is started once or dropped once, never both:
///                 advancing a lane's `next`, or taking a single request from
///                 `unclaimed_`, starts; exchanging `unclaimed_` or lowering a
///                 lane's `end` drops, or moves to another lane.
///             (2) `barrier_` falls by one for each request that returned or
///             was
///                 dropped; whoever brings it to zero delivers.
///             (3) The user's function and arguments are destroyed before the
///                 batch is complete.
///             (4) A request that failed and waits for its next attempt is
///                 neither counted by `barrier_` nor held by a worker; whoever
///                 takes it out of the retry book runs or drops it.
class batch : public op_state {
public:
  /// The largest number of requests in one batch.
  static constexpr std::uint32_t max_size = 0xFFFF'FFF0;

  ~batch() override;

  // -- the submitter's side, before the start ---------------------------------

  void set_label(std::string label) override;

  void set_stop_token(std::stop_token token) override;

  void set_notify(ref_ptr<completion_sink> sink) override;

  bool modify(const modifiers& mods) override;

  void set_deadline(clock::time_point when) noexcept override;

  void end_progress() noexcept override;

  /// Counts its requests in `meter`, which belongs to a larger operation.
  /// Before the start.
  void report_to(ref_ptr<progress_meter> meter);

  bool reports_progress() const noexcept { return meter() != nullptr; }

  bool reports_to(const progress_meter& to) const noexcept {
    return meter() == &to;
  }

  /// Takes away who hears of its progress, if anybody does. Before the start.
  ref_ptr<progress_meter> take_progress() noexcept;

  /// Inherits the label and tags of the request from which it is made.
  void inherit(const batch& parent);

  // -- the worker's side ------------------------------------------------------

  /// Claims requests and runs them until nothing is left to claim or the worker
  /// is asked to yield.
  virtual leave_reason participate(worker_cell& cell, bool nested) noexcept = 0;

  /// Returns whether a request may be waiting to be claimed.
  bool has_unclaimed() const noexcept {
    return unclaimed_.load(std::memory_order_seq_cst) < size_
           || has_more_unclaimed();
  }

  /// Returns a lower bound for the number of requests not claimed yet.
  std::uint32_t unclaimed() const noexcept;

  /// Returns whether a running request was asked to stop.
  bool stop_requested() const noexcept {
    return stopped_.load(std::memory_order_relaxed);
  }

  /// Returns a token that tells running requests to stop.
  std::stop_token stop_token();

  /// Returns when nobody will want the outcome any more; `max()` for never.
  clock::time_point deadline() const noexcept;

  std::string_view tag(std::string_view key) const noexcept;

  std::string tags_text() const final;

  // -- everybody's side -------------------------------------------------------

  batch* as_batch() noexcept final { return this; }

  void cancel(ec why) noexcept final;

  void help() noexcept override;

  bool hangs(hang_check& check) noexcept override;

  dispatcher* queue() const noexcept final { return home_.get(); }

  void measure() noexcept final { measured_ = true; }

  std::chrono::nanoseconds spin() const noexcept override;

  clock& time() const noexcept override;

  /// Completes without running anything.
  /// @pre nothing was claimed yet
  void refuse(ec why, const std::string& text) noexcept;

  /// Fails with `why`, unless it has failed before, and drops what has not
  /// started.
  void give_up(failure_ptr why) noexcept;

  // -- properties -------------------------------------------------------------

  std::uint32_t size() const noexcept { return size_; }

  /// Returns how many submissions it stands for: each call of a burst is one.
  std::uint32_t submissions() const noexcept { return is_burst_ ? size_ : 1; }

  std::string_view label() const noexcept;

  std::string_view label_text() const noexcept final { return label(); }

  /// Returns what came of the requests.
  /// @pre `done()`
  completion summary() const;

  /// Has a batch of one request, which is running, count as so many in its
  /// completion and in the numbers of the pool.
  void stand_for(std::uint32_t requests, std::uint32_t failed) noexcept;

  /// Says that its only request, while it runs, looks whether its worker is
  /// called away. Before the start.
  void set_can_be_left() noexcept { looks_up_ = true; }

  /// Returns whether it is a burst that its worker runs to the end, without
  /// others.
  bool is_private() const noexcept {
    return is_private_.load(std::memory_order_relaxed);
  }

  /// Returns whether a worker may leave it before it is complete.
  bool can_be_left() const noexcept {
    return (size_ > 1 && !is_private()) || looks_up_;
  }

  /// Returns the four counts of `summary`, without the rest.
  completion counts() const noexcept;

  /// Returns how many of the expired requests ran.
  /// @pre `done()`
  std::uint32_t late() const noexcept;

  /// Returns how many times the request ran that is, or was last, tried again;
  /// 1 if it never was.
  unsigned attempts(std::uint32_t index) const noexcept;

  call_report report() const noexcept final;

  bool asked_to_stop() const noexcept final;

  // -- as a member of a group whose members are told apart --------------------

  /// How far a member came. It changes once from `waiting`, by who starts it or
  /// by who drops it.
  enum class member_state : std::uint8_t { waiting, dropped, running, ended };

  void join_group() noexcept { in_group_ = true; }

  /// Returns whether this batch runs as a member of such a group.
  bool in_group() const noexcept { return in_group_; }

  /// Starts the member on the worker `worker`, `waited` after the submit.
  /// Returns false if it was dropped.
  bool begin_member(std::chrono::nanoseconds waited, int worker) noexcept;

  /// Publishes its outcome, after `ran`. `stopped` says whether it was asked to
  /// stop before.
  void end_member(std::chrono::nanoseconds ran, bool stopped) noexcept;

  /// Sees to it that the member does not start. Returns false if it has.
  bool drop_member() noexcept;

  /// Returns how far it came. If it has ended, its outcome may be read; if it
  /// runs, what `report` says but for how long.
  member_state member() const noexcept {
    return member_.load(std::memory_order_acquire);
  }

  /// Returns when the batch was submitted.
  std::chrono::steady_clock::time_point submitted_at() const noexcept {
    return submitted_at_;
  }

  /// Returns whether nothing but the requests themselves hangs on this batch,
  /// so that a gather may run them as part of its own.
  bool plain() const noexcept;

  /// Returns whether this is one request, which another batch may run as one of
  /// its own.
  virtual bool is_single() const noexcept { return false; }

  /// Runs the request in place, as one of `group`. It must not be submitted
  /// anywhere.
  /// @pre `is_single()`
  virtual run_result run_in_place(batch& group, worker_cell& cell) noexcept = 0;

  /// Destroys function and arguments, if that has not happened yet.
  void drop_input() noexcept { destroy_input(); }

  /// Says to which pool the batch goes. Before the start.
  void set_home(ref_ptr<dispatcher> home) noexcept;

  dispatcher* home() const noexcept { return home_.get(); }

protected:
  explicit batch(std::uint32_t size);

  void do_start() override;

  // -- for the loop in batch_loop.hpp -----------------------------------------

  /// What one worker holds of the batch while it works on it.
  class share;

  /// Takes `record` as the outcome of a request, and drops the rest.
  void fail(failure_ptr record) noexcept;

  /// Takes `exception` as the outcome of a request, and drops the rest; or has
  /// the request tried again.
  run_result fail(std::exception_ptr exception, std::uint32_t index,
                  worker_cell& cell) noexcept;

  /// Takes over what the modifiers of `other` say, but for its progress.
  void copy_settings(const batch& other);

  /// Returns whether the requests can be called twice.
  virtual bool repeatable() const noexcept { return false; }

  /// Returns whether a request may be called twice, so that its input must not
  /// be moved from.
  bool may_repeat() const noexcept { return may_repeat_; }

  /// Returns whether requests were dropped without having run.
  bool dropped_some() const noexcept {
    return cancelled_count_.load(std::memory_order_relaxed) > 0;
  }

  /// Counts requests that returned by `now`, `failed` of them by an exception.
  void settle(std::uint32_t requests, std::uint32_t failed,
              std::chrono::steady_clock::time_point now) noexcept;

  /// Notes that its only request begins on `cell`, if somebody wants to know.
  void note_begin(const worker_cell& cell) noexcept;

  /// Sees to it that `requests`, which nobody else has any more, are told that
  /// they will not run, and counts them.
  void drop(index_range requests) noexcept;

  /// Drops a request that was claimed, since whoever made it has ended.
  void settle_unwanted(std::uint32_t index) noexcept;

  /// Hears which requests will not run, or were lost, and why, before they are
  /// counted. Returns how many of these had no outcome yet.
  virtual std::uint32_t on_drop(index_range requests,
                                const failure_ptr& /*why*/) noexcept {
    return requests.size();
  }

  // -- for a burst ------------------------------------------------------------

  /// Begins as a burst, whose calls are still coming.
  void begin_burst() noexcept;

  /// Counts a call that never ran or was lost, before who waits for it can hear
  /// of it.
  void count_dropped_call(ec why) noexcept;

  /// Says how many came. Before anybody claims one.
  void set_size(std::uint32_t size) noexcept;

  /// Destroys the user's function and arguments.
  virtual void destroy_input() noexcept = 0;

private:
  friend class dispatcher;
  friend struct batch_list;

  struct extras;
  struct retry_book;
  struct retry_hold;

  struct lane_array {
    explicit lane_array(std::uint32_t n) : count{n}, lanes{new lane[n]} {}

    std::uint32_t count;
    std::unique_ptr<lane[]> lanes;

    // Ranges on their way into a lane, invisible to whoever looks: a worker
    // must not conclude from empty lanes that nothing is left.
    std::atomic<std::uint32_t> moves_begun{0};
    std::atomic<std::uint32_t> moves_ended{0};

    // The lanes may stand right behind it.
    std::array<std::byte, 64> apart;
  };

  const key_limit* wanted_key() const noexcept;
  key_share* key() const noexcept {
    return holds_key_ ? shared_key() : nullptr;
  }
  key_share* shared_key() const noexcept;
  bool has_more_unclaimed() const noexcept;
  void set_key(key_share* found) noexcept;
  const char* obstacle_to_help(const worker_cell& cell) const noexcept;
  extras& ensure_extras();
  extras* find_extras() const noexcept;
  lane_array* ensure_lanes() noexcept;
  std::uint32_t unstarted() const noexcept;
  bool moving() const noexcept;
  static std::uint64_t new_id() noexcept;
  std::string drop_text(ec why) const;
  void drop_unstarted() noexcept;
  void drop_if_unwanted() noexcept;
  void lose(const worker_cell& cell) noexcept;
  void deliver(std::chrono::steady_clock::time_point now) noexcept;
  bool retry_later(const std::exception_ptr& exception, std::uint32_t index,
                   worker_cell& cell) noexcept;
  void retry_now(std::uint32_t index) noexcept;
  bool take_retry(index_range& started) noexcept;
  void drop_retries() noexcept;
  bool stands_for_others() const noexcept;
  progress_meter* meter() const noexcept;

  // First what a request needs that runs as a member of a group: of a million
  // of these, less has to come into the cache.
  ref_ptr<dispatcher> home_;
  std::atomic<extras*> extras_{nullptr};
  std::uint32_t size_;
  // Whether a modifier says how this batch, by itself, is to be served.
  bool modified_ = false;
  bool may_repeat_ = false;
  bool measured_ = false;
  bool in_group_ = false;
  bool looks_up_ = false;
  bool is_burst_ = false;
  // Written under the dispatcher's mutex.
  std::atomic<bool> is_private_{false};
  // Of a member: whether it was asked to stop before it ended.
  bool member_stopped_ = false;
  std::atomic<member_state> member_{member_state::waiting};

  enum class phase : std::uint8_t { made, admitted, over };
  std::atomic<phase> phase_{phase::made};

  // Its links in the dispatcher, and what else is guarded by its mutex.
  enum class place : std::uint8_t { nowhere, waiting, left, running, blocked };
  place place_ = place::nowhere;
  // Where a single request began that is measured.
  int worker_ = 0;
  batch* prev_ = nullptr;
  batch* next_ = nullptr;
  std::uint32_t participants_ = 0;
  std::uint32_t max_in_flight_ = max_size;
  troupe::priority priority_ = priority::normal;
  bool counted_as_queued_ = false;
  bool holds_key_ = false;
  // Whether it ever waited for room at its key.
  bool was_blocked_ = false;
  // Whether a worker ended while it worked on this batch.
  bool worker_lost_ = false;

  // Why requests are dropped; the first reason stays.
  std::atomic<ec> drop_reason_{ec{}};
  std::atomic<bool> stopped_{false};
  std::atomic<bool> has_failed_{false};
  // What a single request that is measured had waited when it began.
  std::chrono::nanoseconds waited_{0};
  std::chrono::steady_clock::time_point submitted_at_;
  std::chrono::nanoseconds elapsed_{0};
  // Given when somebody is told of the completion.
  mutable std::atomic<std::uint64_t> id_{0};

  std::atomic<std::uint64_t> unclaimed_{0};
  std::atomic<lane_array*> lanes_{nullptr};
  // Requests whose next attempt is due.
  std::atomic<std::uint32_t> retries_{0};

  std::atomic<std::uint32_t> failed_count_{0};
  std::atomic<std::uint32_t> cancelled_count_{0};
  // Requests that returned after the deadline.
  std::atomic<std::uint32_t> late_count_{0};
  join_barrier barrier_;
};

/// The claims of one worker on one batch.
class batch::share {
public:
  share(batch& owner, worker_cell& cell, bool nested) noexcept;

  share(const share&) = delete;
  share& operator=(const share&) = delete;

  ~share();

  /// Claims the next requests: either one, which is thereby started and
  /// returned, or several, which are then in `lane()`. Returns false if nothing
  /// is left to claim.
  bool claim(index_range& started) noexcept;

  /// The lane with the claimed requests; null if `claim` started a single one.
  lane* claimed_lane() const noexcept { return in_lane_ ? lane_ : nullptr; }

  /// Returns whether the worker should leave for another batch.
  bool asked_to_yield() const noexcept {
    return attention_ && attention_->load(std::memory_order_relaxed) > 0
           && !batch_.is_private() && take_attention();
  }

  /// Returns when the worker last looked at the clock, which `tune` does.
  std::chrono::steady_clock::time_point mark() const noexcept { return mark_; }

  /// Returns whether it is time to let others use the worker, or its thread.
  bool slice_is_over() noexcept { return mark_ >= slice_end_ && end_slice(); }

  /// Has more requests claimed at once, since they travel together: `most` at
  /// most, if they are tiny.
  void travel(std::uint32_t most) noexcept;

  /// Makes the requests of the lane from `first` on unstarted again. `calling`:
  /// has other workers called for them.
  void give_back(std::uint32_t first, bool calling) noexcept;

  /// Measures how long `ran` requests took, of which `failed` threw, and adapts
  /// how many are claimed next time: many when they are tiny, one when they
  /// block. Of those that travel, `took` is the part of it in which they were
  /// made.
  void tune(std::uint32_t ran, std::uint32_t failed,
            std::optional<std::chrono::nanoseconds> took = {}) noexcept;

private:
  void measure(std::uint32_t ran,
               std::chrono::steady_clock::time_point now) noexcept;
  void judge() noexcept;
  void draw(std::uint32_t ran, std::uint32_t failed,
            std::chrono::steady_clock::time_point now) noexcept;
  bool take_attention() const noexcept;
  bool end_slice() noexcept;
  void use_lane() noexcept;
  bool steal(index_range& started) noexcept;
  lane* own_lane() noexcept;

  batch& batch_;
  worker_cell& cell_;
  // How many workers the dispatcher wants back; null if this one cannot come.
  // Looked at between any two requests, hence at hand.
  const std::atomic<std::int32_t>* attention_ = nullptr;
  const bool nested_;
  bool in_lane_ = false;
  // Whether the claimed request had been tried before.
  bool retried_ = false;
  // Whether a trace knows that this worker takes part in the batch.
  bool drawn_ = false;
  std::uint8_t label_ = 0;
  std::uint32_t chunk_ = 1;
  std::uint32_t max_chunk_;
  // How long the requests claimed at once should take.
  std::chrono::nanoseconds chunk_time_;
  lane* lane_ = nullptr;
  std::chrono::steady_clock::time_point mark_;
  // How long a request took when they were last much alike.
  std::chrono::nanoseconds each_{0};
  // How long a turn is.
  std::chrono::nanoseconds slice_{0};
  std::chrono::steady_clock::time_point slice_end_ =
      std::chrono::steady_clock::time_point::max();
};

} // namespace troupe
