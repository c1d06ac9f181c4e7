// The part of a coordinator that submitters and workers share: the queue of
// batches, the idle workers, and the counts. Passive: it starts no thread and
// sends no message itself, but tells its `staff` whom to wake. Workers pick
// their next batch here on their own thread, so that no request waits for a
// coordinator to be scheduled.

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/auto_sizer.hpp"
#include "troupe/batch.hpp"
#include "troupe/clock.hpp"
#include "troupe/completion.hpp"
#include "troupe/label_book.hpp"
#include "troupe/options.hpp"
#include "troupe/room_waiter.hpp"
#include "troupe/short_list.hpp"
#include "troupe/short_mutex.hpp"
#include "troupe/stats.hpp"
#include "troupe/worker_cell.hpp"

namespace troupe {

class burst_page;

/// Carries out what the dispatcher decides. Called without locks held, from any
/// thread.
class staff {
public:
  virtual ~staff() = default;

  /// Wakes a worker that sleeps.
  virtual void wake(worker_cell& cell) noexcept = 0;

  /// Calls for `dispatcher::take_growth`, since more workers could be of use.
  virtual void grow() noexcept = 0;

  /// Calls for `dispatcher::watch`: workers are busy that could get stuck.
  virtual void watch() noexcept {}

  /// Says that nothing is outstanding any more.
  virtual void drained() noexcept = 0;

  /// Says that the last worker of a closed pool has ended.
  virtual void emptied() noexcept {}

  /// Passes a completion on to the subscribers.
  virtual void completed(completion what) noexcept = 0;

  /// Calls `wake` when so much time has passed.
  virtual void call_after(std::chrono::nanoseconds span,
                          std::function<void()> wake) noexcept = 0;

  /// Calls `wake` once `time` has reached `when`.
  virtual void call_at(clock& time, clock::time_point when,
                       std::function<void()> wake) noexcept = 0;
};

/// Batches, linked through their own members.
struct batch_list {
  batch* first = nullptr;
  batch* last = nullptr;

  void push_back(batch& x) noexcept;
  void push_front(batch& x) noexcept;
  void remove(batch& x) noexcept;
};

/// What the batches of one key have in common.
struct key_share {
  /// How many workers may work for the key at once, and how many do.
  std::uint32_t limit = 1;
  std::uint32_t in_use = 0;

  /// Batches that hold on to this.
  std::uint32_t users = 0;

  /// Those that could use a worker if the limit allowed it.
  batch_list blocked = {};
};

/// Registers, while it lives, a batch that the calling worker runs inside the
/// wait of one of its requests: such a batch may be in no list of the
/// dispatcher, and a shutdown must reach it all the same.
class nested_part {
public:
  nested_part(worker_cell& cell, batch& work) noexcept;

  nested_part(const nested_part&) = delete;
  nested_part& operator=(const nested_part&) = delete;

  ~nested_part();

private:
  friend class dispatcher;

  worker_cell& cell_;
  batch& work_;
  nested_part* outer_;
  clock::time_point since_;
};

/// Orders batches and hands them to workers. Thread-safe.
///
/// Invariants: (1) A worker is idle only if it found nothing to do, under the
///                 same lock under which work is queued: nothing is ever queued
///                 beside an idle worker, unless a worker that was woken is on
///                 its way, which will wake the others; or in a burst, while
///                 others are busy with tiny calls and somebody looks whether
///                 they are.
///             (2) `waiting_` holds batches that no worker has worked on, in
///                 order of arrival; `left_` those whose workers were all
///                 called away, in that order; `running_` those that have
///                 workers and could use another one. Each class of priority
///                 has its own three.
///             (3) A batch is in one of these lists only if it may have one
///                 more worker. One whose key has no room is blocked at the
///                 key.
///             (4) What a worker has in its hand is in none of these lists, and
///                 counts as queued until it is begun. It is put back before
///                 any other worker becomes idle, and by whoever comes by when
///                 the hand is late.
///             (5) A burst that is open is in none of these lists. Whoever
///                 submits something else, or comes for work, closes it; so
///                 does the watch, which goes on as long as there is an open
///                 one, or one that a worker runs alone.
class dispatcher : public ref_counted {
public:
  /// Where a batch hangs: nowhere; not if the worker that waits for it helps;
  /// since no worker can go on; or since none can to which its key is given.
  enum class hang : std::uint8_t { none, unless_helped, at_pool, at_key };

  dispatcher(effective_options options, std::unique_ptr<staff> crew);

  ~dispatcher() override;

  // -- properties -------------------------------------------------------------

  const std::string& name() const noexcept { return options_.name; }

  /// Returns the options in effect.
  effective_options options() const;

  /// Returns the options that the pool was made with.
  const effective_options& made_with() const noexcept { return options_; }

  std::chrono::nanoseconds spin() const noexcept { return options_.spin; }

  bool cooperative() const noexcept { return options_.cooperative; }

  const resource_spec& resource() const noexcept { return resource_; }

  /// Returns who knows the procedures of this pool, or null.
  const procedure_host* procedures() const noexcept {
    return options_.procedures.get();
  }

  clock& time() const noexcept { return clock_; }

  std::size_t max_workers() const noexcept {
    return max_workers_.load(std::memory_order_relaxed);
  }

  /// Returns whether a pool of this build can size itself: not without
  /// TROUPE_STATISTICS.
  static bool can_size_itself() noexcept;

  /// Returns whether the pool sizes itself.
  bool automatic() const noexcept {
    return automatic_.load(std::memory_order_relaxed);
  }

  /// Returns how many workers there may ever be, unless the pool is resized.
  std::size_t most_workers() const noexcept {
    return options_.automatic ? std::max(options_.workers_limit, max_workers())
                              : max_workers();
  }

  /// Returns how many workers there may be now: the greatest number, and those
  /// that stand in for stuck ones.
  std::size_t capacity() const noexcept {
    return max_workers() + spares_.load(std::memory_order_relaxed);
  }

  std::uint32_t live_workers() const noexcept {
    return live_.load(std::memory_order_relaxed);
  }

  /// Returns how many batches are submitted and not complete; each call of a
  /// burst is one, but one that is still open counts as one itself.
  std::uint64_t outstanding() const noexcept {
    // In this order: what is over by now had been counted before.
    auto over = accounted_.load(std::memory_order_seq_cst);
    return begun() - over;
  }

  staff& crew() const noexcept { return *staff_; }

  /// Returns a snapshot. Holds up submitters and workers only while it looks at
  /// the queue, not while it adds up what was measured.
  pool_stats stats() const;

  /// Says in the log, once for each label, that its requests compute and that
  /// there are more workers than cores, if what a worker has seen of them says
  /// so and they have run there for long.
  void judge(std::uint8_t label, const worker_record::of_label& seen) noexcept;

  /// Returns the number under which requests of the label are measured.
  std::uint8_t number_of(std::string_view label) noexcept {
    return label.empty() ? label_book::none : labels_.number_of(label);
  }

  /// Returns whether a submission from outside would be taken right now.
  bool accepts() const;

  /// Adds the requests of batches that are being worked on: what returned, what
  /// was dropped, and what still runs. Returns false if workers are just on
  /// their way back, so that it is not clear which of them still run something.
  bool add_unfinished(receipt& what) const;

  /// Returns the statistics, none of which a batch that is just being counted
  /// is in by half.
  pool_stats settled_stats() const;

  /// Returns what came of all requests that were not counted in `before`, each
  /// in exactly one bucket. To be called when nothing can start any more.
  receipt write_receipt(const pool_stats& before) const;

  // -- the submitter's side ---------------------------------------------------

  /// Queues a batch or hands it to an idle worker. Refuses it if the pool has
  /// stopped or has no room.
  void submit(batch& work);

  /// Returns whether a plain call may be added, to run in a burst: the workers
  /// are busy with tiny ones. May be outdated.
  bool takes_calls() const noexcept {
    return takes_calls_.load(std::memory_order_relaxed);
  }

  /// Begins a burst with the call that was just added to `page`, which no burst
  /// has: those that are added from now on belong to it, until somebody looks
  /// at the queue. Or submits the call by itself.
  ///
  /// Errors: throws std::bad_alloc; then the call is in no burst.
  void open_burst(burst_page& page);

  /// Finds a worker for a request that is to be tried again.
  void requeue(batch& work);

  /// Keeps hold of a batch one of whose requests waits for its next attempt,
  /// and perhaps nothing else of it.
  void await_retry(batch& work);

  void end_retry(batch& work);

  /// Takes a batch that has nothing left to claim out of the queue.
  void withdraw(batch& work) noexcept;

  /// Returns whether more submissions wait than `max-queued`, and those that
  /// are above it do so because `on-full` says so. May be outdated.
  bool crowded() const noexcept {
    return crowded_.load(std::memory_order_relaxed);
  }

  /// Has `waiter` called when no more than `max-queued` of the submissions wait
  /// that had come before. Returns false, and calls nobody, if that is so.
  bool await_room(room_waiter& waiter) noexcept;

  /// Returns whether `waiter` was waiting; then it will not be called.
  bool forget_room(room_waiter& waiter) noexcept;

  // -- the worker's side ------------------------------------------------------

  /// Is called by a worker that takes up `work`; wakes two more if there is
  /// enough to do, in this batch or in others, so that many workers wake in few
  /// steps. Returns false if the worker's resource is of no more use: then
  /// `work` is somebody else's, and the worker has to ask for more by `next`.
  bool take_up(worker_cell& cell, batch& work);

  /// Ends the worker's part in `done`, if there is one, and returns what to do
  /// next. If there is nothing, the worker is idle from now on. A worker that
  /// lacks a resource opens one first; if it cannot, there is nothing to do for
  /// it until a hand-off tells it to ask again.
  worker_cell::hand_off next(worker_cell& cell, const ref_ptr<batch>& done,
                             leave_reason why);

  /// How many workers should leave batches of this class for another batch.
  const std::atomic<std::int32_t>& attention(priority of) const noexcept {
    return attention_[static_cast<std::size_t>(of)];
  }

  /// Returns whether the calling worker should come back. True for as many as
  /// `attention` says.
  bool take_attention(priority of) noexcept;

  /// Returns whether a worker that has worked on the batch for a while should
  /// leave it for another one: which waits, or was left by all its workers; or
  /// has a higher priority, or fewer workers; or waits for room at its key.
  bool ends_turn(const batch& work) noexcept;

  /// The worker has ended, for whatever reason. What was handed to it and not
  /// started, or what it `held` back, goes to another; a call that it ended in
  /// fails with `ec::worker_lost`.
  void lost(worker_cell& cell, ref_ptr<batch> held = nullptr);

  /// The worker cannot start and will end without having called `next`: `why`.
  /// No other one is tried for a while. If the pool has none, all that is
  /// queued fails, on this thread.
  void start_failed(worker_cell& cell, const std::string& why);
  /// Counts what became of resources, on workers' threads.
  void count_open(worker_cell& cell);
  void count_close() noexcept;
  void count_failed_open(std::string why);
  void count_failed_check() noexcept;

  // -- the batch's side -------------------------------------------------------

  /// Returns why no worker takes a request, when none could be started or open
  /// its resource.
  std::string outage_text() const;

  /// Returns why a request was not begun with when its deadline passed.
  std::string late_text() const;

  /// Counts a worker that waits for `work` among those that work on it, if it
  /// may have one more.
  bool join(batch& work);

  /// Ends that.
  void part(batch& work) noexcept;

  /// Returns whether all that could serve `work` stand still, as `check` says.
  hang check_hang(const batch& work, const hang_check& check) const noexcept;

  /// Counts a call of a burst that never ran, or was lost with its worker.
  void count_dropped_call(ec why) noexcept;

  /// Counts a batch that is about to be complete, and tells the subscribers.
  void account(batch& work) noexcept;

  // -- the coordinator's side -------------------------------------------------

  /// Adds a worker's cell. The worker calls `next` when it has started.
  void add(std::unique_ptr<worker_cell> cell);

  /// Returns a cell whose worker has retired, or null.
  worker_cell* reuse();

  /// Returns how many workers to start now, and counts them as live.
  std::size_t take_growth();

  /// Says that `n` workers that `take_growth` counted could not be started, for
  /// lack of threads; no other one is tried for a while, then the staff is
  /// asked again. Returns whether this is the first time in a row.
  bool cancel_growth(std::size_t n);

  /// Takes back a cell of one of them.
  void put_back(worker_cell& cell);

  /// Looks for workers whose call has run for longer than `max-run-time`, and
  /// appends an alarm for each that is new. Returns when to look again; `max()`
  /// if no worker is busy.
  clock::time_point watch(std::vector<stuck_request>& alarms);

  /// Returns whether workers are busy, and each with a call that has run for
  /// longer than `max-run-time`, if that is set.
  bool only_stuck_left() const;

  /// Changes the greatest number of workers, for good, or to `automatic`.
  /// Surplus ones retire as soon as they are between requests.
  void resize(std::size_t workers);

  /// Returns what the sizes of a pool that sizes itself lie between, and the
  /// one it has.
  auto_sizer::bounds sizes() const noexcept;

  /// Returns whether somebody has to call `observe_load` now and then from now
  /// on: the pool sizes itself, and has more to do than workers to do it.
  bool begin_sizing();

  /// Returns what happened since the last call, or since `begin_sizing`. None:
  /// nothing waits any more, and nobody needs to look before the staff is asked
  /// to grow again.
  std::optional<load_observation> observe_load();

  /// Changes the number of workers, if the pool sizes itself.
  void adapt(std::size_t workers);

  /// Says that `n` more workers could be used than anything in the queue tells,
  /// until something else is said.
  void hint_demand(std::size_t n) noexcept;

  /// Retires workers that have been idle since `latest` or earlier, down to the
  /// minimum. Returns when to look again; `time_point::max()` if no worker is
  /// above the minimum.
  clock::time_point retire_idle(clock::time_point now);

  /// Refuses submissions from now on, except those of running requests.
  void close_admission();

  /// Cancels all that is queued and asks what is running to stop. Destroys user
  /// code, so it is not for the coordinator's thread.
  void cancel_all(ec why);

  /// Refuses every submission; retires every worker as soon as it finds no
  /// batch that waits.
  void close();

  /// Closes if nothing is outstanding. Returns whether it has.
  bool close_if_drained();

  void subscribe(bool yes) noexcept;

  /// Has `staff::drained` called when nothing is outstanding.
  void watch_outstanding(bool yes) noexcept;

private:
  friend class nested_part;

  // The batches of one priority.
  struct service_class {
    batch_list waiting;
    batch_list left;
    batch_list running;
    // How many workers work for it, and how many of them can be called away.
    std::uint32_t participants = 0;
    std::uint32_t callable = 0;
    // How often others have gone first since it was served.
    std::uint32_t passed_over = 0;

    bool has_waiting() const noexcept { return waiting.first || left.first; }

    bool empty() const noexcept { return !has_waiting() && !running.first; }
  };

  using lock = std::unique_lock<short_mutex>;

  // How many workers may be on their way before more batches wait for them to
  // arrive. A wake-up takes longer than many a request: with one for each, a
  // thousand small requests would cost a thousand wake-ups.
  static constexpr std::size_t most_waking = 2;

  // What became of the requests of one label.
  struct outcome_counts {
    std::atomic<std::uint64_t> succeeded{0};
    std::atomic<std::uint64_t> failed{0};
    std::atomic<std::uint64_t> cancelled{0};
    std::atomic<std::uint64_t> expired{0};
    std::atomic<std::uint64_t> late{0};
    // Whether the log says that they compute.
    std::atomic<bool> judged{false};
  };

  // Batches to be dropped when the lock is free: these may be the last
  // references, and a result's destructor is user code. And workers to be woken
  // then. So many that hardly ever more come together: a worker that fails for
  // lack of memory while it holds some would leave them asleep.
  using trash = short_list<ref_ptr<batch>, 16>;
  using wake_list = short_list<worker_cell*, 16>;

  // What a worker has let go of, to be dropped when the lock is free, and of
  // which of these it was the last to work on.
  struct laid_down {
    std::array<batch*, hand::max_size> batches;
    std::uint32_t size = 0;
    std::uint32_t lost = 0;
  };

  static ref_ptr<dispatcher> find(const dispatcher* which) noexcept;
  bool may_take_calls(std::chrono::steady_clock::time_point now) const noexcept;
  void look_at_bursts(std::chrono::steady_clock::time_point now) noexcept;
  void look_at_bursts() noexcept;
  bool close_bursts() noexcept;
  void close_first_burst() noexcept;
  void learn_size(std::chrono::nanoseconds each) noexcept;
  [[nodiscard]] bool begin_watch() noexcept;
  void watch_bursts() noexcept;
  void help_late_bursts();
  void share_burst(batch& work, wake_list& to_wake);
  void tell_subscribers(batch& work) noexcept;
  std::size_t open_calls() const noexcept;
  static bool fits_hand(const batch& work) noexcept;
  bool may_take_several(const batch& first) const noexcept;
  void deal(worker_cell& cell, batch& first) noexcept;
  void learn(worker_cell& cell, const batch& done) noexcept;
  ref_ptr<batch> next_in_hand(worker_cell& cell) noexcept;
  void recall(worker_cell& cell) noexcept;
  void recall_all() noexcept;
  bool recall_late(std::chrono::steady_clock::time_point now) noexcept;
  void lay_down(worker_cell& cell, laid_down& over) noexcept;
  static void let_go(const laid_down& over, worker_cell& cell) noexcept;
  void count_begun_of_hands() noexcept;
  std::size_t queued_now() const noexcept;
  void count_begun(batch& work) noexcept;
  service_class& class_of(const batch& work) noexcept;
  batch_list& list_of(const batch& work) noexcept;
  void list(batch& work, batch::place where) noexcept;
  ref_ptr<batch> take_out(batch_list& from, batch& work) noexcept;
  void unlist(batch& work) noexcept;
  void enter(batch& work) noexcept;
  void leave(batch& work) noexcept;
  void release_key(batch& work) noexcept;
  void end_part(batch& work) noexcept;
  ref_ptr<batch> pick(batch_list& from, trash& garbage);
  ref_ptr<batch> pick_of(service_class& from, worker_cell& cell,
                         bool left_first, trash& garbage);
  ref_ptr<batch> pick_next(worker_cell& cell, trash& garbage);
  bool may_have_worker(const batch& work) const noexcept;
  void find_key(batch& work);
  void forget_key(batch& work) noexcept;
  void relist(batch& work) noexcept;
  void unblock(key_share& key) noexcept;
  void call_workers(std::int32_t n) noexcept;
  void call_from_lower(const batch& work) noexcept;
  bool somebody_waits() const noexcept;
  std::int32_t surplus_workers() const noexcept;
  void push_idle(worker_cell& cell) noexcept;
  void remove_idle(worker_cell& cell) noexcept;
  void arrive(worker_cell& cell) noexcept;
  void wake(worker_cell& cell) noexcept;
  bool give(worker_cell& cell, batch& work, clock::time_point now) noexcept;
  bool give_retire(worker_cell& cell) noexcept;
  worker_cell* hand_over(batch& work, clock::time_point now) noexcept;
  void serve_idle(wake_list& to_wake, trash& garbage);
  void wake_all(const wake_list& cells) noexcept {
    cells.for_each([this](worker_cell* cell) { wake(*cell); });
    // Each way out of the queue ends here.
    if (room_made_.load(std::memory_order_relaxed)) [[unlikely]]
      announce_room();
  }

  // Counts the batches that are over, whether or not that is accounted for.
  std::uint64_t over() const noexcept {
    return batches_.load(std::memory_order_seq_cst)
           + calls_over_.load(std::memory_order_seq_cst);
  }

  // Counts the batches that were admitted, and those that are over and never
  // were.
  std::uint64_t begun() const noexcept {
    return admitted_.load(std::memory_order_seq_cst)
           + strangers_.load(std::memory_order_seq_cst);
  }
  void close_under_lock(wake_list& to_wake);
  std::vector<ref_ptr<batch>> listed() const;
  void tell_if_drained(std::uint64_t over) noexcept;
  clock::time_point clock_of(const worker_cell& cell) const noexcept;
  void begin_part(worker_cell& cell, batch& work,
                  clock::time_point now) noexcept;
  worker_cell::hand_off next_work(worker_cell& cell, const ref_ptr<batch>& done,
                                  leave_reason why);
  void step_back(worker_cell& cell, batch& work);
  bool retire_if_surplus(worker_cell& cell);
  worker_cell::hand_off rest(worker_cell& cell);
  void end_rest(worker_cell& cell, std::uint64_t number);
  void
  retire_resting(wake_list& to_wake, std::size_t least,
                 clock::time_point latest = clock::time_point::max()) noexcept;
  void note_start(worker_cell& cell) noexcept;
  std::string start_text() const;
  void put_off_growth() noexcept;
  void restart_later();
  bool lost_the_last(batch& work) const noexcept;
  bool end_stuck(worker_cell& cell, wake_list& to_wake) noexcept;
  void shed_surplus(wake_list& to_wake) noexcept;
  bool exhausted() const noexcept;
  std::string exhausted_text() const;
  std::uint64_t progress_of(const worker_cell& cell) const noexcept;
  void note_progress(worker_cell& cell, clock::time_point now) noexcept;
  bool full() const noexcept;
  std::string full_text() const;
  void enqueue(batch& work) noexcept;
  bool has_room(const room_waiter& waiter) const noexcept;
  void remove_waiter(room_waiter& waiter) noexcept;
  void announce_room() noexcept;
  bool wants_growth() const noexcept;
  bool wants_workers() const noexcept;
  std::uint64_t demand(std::uint64_t enough) const noexcept;
  void set_size(lock guard, std::size_t workers);
  std::chrono::nanoseconds
  offered(std::chrono::steady_clock::time_point now) const noexcept;
  std::optional<double> computing(const std::vector<std::uint64_t>& threads);
  void count_blocked(batch& work) noexcept;
  std::chrono::nanoseconds
  oldest_queued(std::chrono::steady_clock::time_point now) const noexcept;

  // Apart from the count of references, which whoever makes a call changes.
  alignas(64) const effective_options options_;
  const resource_spec resource_;
  clock& clock_;
  const std::unique_ptr<staff> staff_;

  const std::chrono::steady_clock::time_point began_;

  // Apart from what is read without it.
  alignas(64) mutable short_mutex mutex_;
  std::array<service_class, priorities> classes_;
  std::map<std::string, key_share, std::less<>> keys_;
  worker_cell* idle_ = nullptr;
  std::size_t idle_count_ = 0;
  // Workers that have taken several submissions together, the oldest first.
  worker_cell* first_hand_ = nullptr;
  worker_cell* last_hand_ = nullptr;
  std::size_t queued_ = 0;
  // Bursts whose calls are still coming, the oldest first; and how many workers
  // are in those that they share.
  batch_list open_bursts_;
  std::uint32_t in_shared_bursts_ = 0;
  // Who took something up last; how many of the latest single calls were tiny,
  // more or less; and whether somebody will look for bursts that are late.
  worker_cell* last_taker_ = nullptr;
  unsigned tiny_score_ = 0;
  bool bursts_watched_ = false;
  // How many submissions were ever queued: their tickets.
  std::uint64_t tickets_ = 0;
  // Those who wait for room, in the order of their tickets.
  room_waiter* first_waiter_ = nullptr;
  room_waiter* last_waiter_ = nullptr;
  std::size_t starting_ = 0;
  // Workers that were given a batch and have not taken it up yet.
  std::size_t waking_ = 0;
  bool admission_closed_ = false;
  bool closed_ = false;
  bool growth_asked_ = false;
  std::uint64_t submissions_ = 0;
  std::uint64_t arrived_ = 0;
  std::uint64_t blocked_by_key_ = 0;
  std::chrono::steady_clock::time_point first_submit_;
  std::vector<std::unique_ptr<worker_cell>> cells_;
  std::vector<worker_cell*> free_cells_;
  // What became of the workers' resources; how many workers rest; and since
  // when no worker has had one although it was tried to open it.
  resource_stats resource_stats_;
  std::size_t resting_ = 0;
  std::optional<clock::time_point> outage_;
  // Batches by how many of their requests wait for their next attempt.
  std::map<batch*, std::uint32_t> retrying_;
  std::size_t stuck_ = 0;
  // After a worker could not be started: until when none is tried, how often in
  // a row, how many are missing, and what its hook threw, if it was that.
  bool growth_put_off_ = false;
  clock::time_point restart_at_;
  std::uint32_t failures_in_a_row_ = 0;
  std::size_t missing_ = 0;
  std::string start_problem_;
  std::uint64_t threads_refused_ = 0;
  std::uint64_t failed_starts_ = 0;
  std::uint64_t workers_lost_ = 0;
  // Whether workers are to come back since there are too many.
  bool shrinking_ = false;
  // Worker time that there was from the first submission until the size was
  // changed last.
  std::chrono::nanoseconds offered_{0};
  std::chrono::steady_clock::time_point resized_;

  // What was seen of the load last. For who calls `observe_load`.
  struct last_look {
    clock::time_point when;
    std::uint64_t returned = 0;
    int quiet = 0;
    // By thread: what it had computed, or wanted to, and when.
    std::map<std::uint64_t, std::pair<std::chrono::nanoseconds,
                                      std::chrono::steady_clock::time_point>>
        computed;
  };
  last_look seen_;
  std::atomic<bool> automatic_;
  // Whether somebody calls `observe_load` now and then.
  std::atomic<bool> sizing_{false};
  std::atomic<std::size_t> hinted_{0};

  std::atomic<std::size_t> max_workers_;
  std::atomic<std::size_t> spares_{0};
  // Whether somebody calls `watch` in time.
  std::atomic<bool> guarded_{false};
  std::atomic<std::uint32_t> live_{0};

  // Read by every worker between two requests, written once per submission that
  // found no idle worker.
  alignas(64) std::array<std::atomic<std::int32_t>, priorities> attention_{};

  // Read by all at each batch, and hardly ever written.
  alignas(64) std::atomic<bool> crowded_{false};
  // Whether somebody who waits for room has it, and is to be told.
  std::atomic<bool> room_made_{false};
  // Whether single calls may come in bursts.
  std::atomic<bool> takes_calls_{false};
  std::atomic<bool> subscribed_{false};
  std::atomic<bool> watched_{false};

  // Written under the lock, and read by who counts batches that are over.
  alignas(64) std::atomic<std::uint64_t> admitted_{0};

  // Written for each batch that is over. Those whose counting has begun, those
  // that had not been admitted by then, and those for which it is through.
  alignas(64) std::atomic<std::uint64_t> batches_{0};
  std::atomic<std::uint64_t> strangers_{0};
  std::atomic<std::uint64_t> accounted_{0};
  // As `batches_`, but calls in bursts; and those of them that never ran or
  // were lost, when they were told.
  std::atomic<std::uint64_t> calls_over_{0};
  std::atomic<std::uint64_t> calls_dropped_{0};
  std::atomic<std::uint64_t> not_admitted_{0};
  std::atomic<std::uint64_t> refused_{0};
  // When the last batch was complete.
  std::atomic<std::chrono::steady_clock::time_point> last_over_;

  label_book labels_;
  // By number of the label.
  std::array<outcome_counts, label_book::size> counts_{};
};

} // namespace troupe
