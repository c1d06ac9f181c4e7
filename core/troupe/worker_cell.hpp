// What the dispatcher knows of one worker, and what the worker carries from one
// request to the next: its number and name, the word through which batches are
// handed to it, and its resource.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <typeindex>
#include <utility>

#include "troupe/batch.hpp"
#include "troupe/hand.hpp"
#include "troupe/resource_slot.hpp"
#include "troupe/worker_record.hpp"

namespace troupe {

class dispatcher;
class nested_part;

/// One worker, as seen by those who hand it work.
///
/// Invariants: (1) Whoever has taken the cell out of the dispatcher's idle
///                 workers, and nobody else, writes something into the hand-off
///                 word.
///             (2) The word says `asleep` only if the worker sleeps until it
///                 gets a message, or is about to.
class worker_cell {
public:
  worker_cell(dispatcher& home, int id);

  virtual ~worker_cell() = default;

  worker_cell(const worker_cell&) = delete;
  worker_cell& operator=(const worker_cell&) = delete;

  /// Returns the cell of the worker that runs on this thread, or null.
  static worker_cell* current() noexcept;

  // -- properties -------------------------------------------------------------

  dispatcher& home() const noexcept { return home_; }

  /// Numbers the workers of a pool, from 1.
  int id() const noexcept { return id_; }

  /// Returns pool and number, such as "io-3".
  const std::string& name() const noexcept { return name_; }

  // -- the worker's side ------------------------------------------------------

  /// What a worker finds in its hand-off word.
  struct hand_off {
    ref_ptr<batch> work;
    bool retire = false;
    /// The worker, which had no resource, is to ask for work once more.
    bool again = false;

    bool empty() const noexcept { return !work && !retire && !again; }
  };

  /// Takes what was handed over, if anything was.
  hand_off take() noexcept;

  /// Looks for a hand-off for as long as `patience`, then falls asleep.
  hand_off spin(std::chrono::nanoseconds patience) noexcept;

  /// As `spin`, but lets other threads have the processor in between.
  hand_off look_again(std::chrono::nanoseconds patience) noexcept;

  /// Says whether the worker, when it becomes idle, will look around before it
  /// falls asleep.
  void stay_awake(bool yes) noexcept { stays_awake_ = yes; }

  bool stays_awake() const noexcept { return stays_awake_; }

  /// Waits for a hand-off on a futex, for as long as `patience`, before the
  /// caller sleeps where messages arrive. Cheaper by far than a mailbox, when
  /// requests come one after another.
  hand_off linger(std::chrono::nanoseconds patience) noexcept;

  /// Marks the calling thread as this worker's, as long as it lives.
  class bind_thread {
  public:
    explicit bind_thread(worker_cell& cell) noexcept;
    bind_thread(const bind_thread&) = delete;
    bind_thread& operator=(const bind_thread&) = delete;
    ~bind_thread();

  private:
    worker_cell* previous_;
  };

  /// Returns the batch whose request runs on this thread, or null.
  static const batch* current_batch() noexcept;

  /// Surrounds the requests of a batch.
  class working_scope {
  public:
    working_scope(worker_cell& cell, const batch& work) noexcept
        : cell_{cell}, outer_{std::exchange(cell.working_on_, &work)} {}
    working_scope(const working_scope&) = delete;
    working_scope& operator=(const working_scope&) = delete;
    ~working_scope() { cell_.working_on_ = outer_; }

  private:
    worker_cell& cell_;
    const batch* outer_;
  };

  /// Surrounds requests that run inside another request's wait.
  class nested_scope {
  public:
    explicit nested_scope(worker_cell& cell) noexcept : cell_{cell} {}
    nested_scope(const nested_scope&) = delete;
    nested_scope& operator=(const nested_scope&) = delete;
    ~nested_scope() { cell_.end_request(); }

  private:
    worker_cell& cell_;
  };

  /// Returns when the worker last looked at the clock. What it does next begins
  /// there, so that one look does for the end of a request and for the begin of
  /// another.
  std::chrono::steady_clock::time_point mark() const noexcept { return mark_; }

  void set_mark(std::chrono::steady_clock::time_point now) noexcept {
    mark_ = now;
  }

  /// Returns how many submissions the worker has taken from the queue and not
  /// begun with. For the worker's thread.
  std::uint32_t in_hand() const noexcept {
    return hand_.empty() ? 0 : hand_.size - hand_.position() - 1;
  }

  /// What the worker measures.
  worker_record& record() noexcept { return record_; }

  /// Returns whether it runs a batch inside the wait of a request.
  bool nests() const noexcept { return nested_ != nullptr; }

  /// Counts a claim, by which the watchdog sees that the worker gets on.
  void count_claim() noexcept {
    claims_.store(claims_.load(std::memory_order_relaxed) + 1,
                  std::memory_order_relaxed);
  }

  /// Counts a call of a burst, before who waits for it can hear of it.
  void count_call(bool failed) noexcept {
    auto& n = failed ? calls_failed_ : calls_succeeded_;
    n.store(n.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  /// Says from which lane of its batch the worker takes its requests; `no_lane`
  /// for none.
  void use_lane(std::uint32_t index) noexcept {
    lane_.store(index, std::memory_order_relaxed);
  }

  static constexpr std::uint32_t no_lane = ~std::uint32_t{0};

  /// Says which thread the worker runs on, as the system numbers it.
  void set_thread(std::uint64_t id) noexcept {
    thread_.store(id, std::memory_order_relaxed);
  }

  // -- nesting ----------------------------------------------------------------

  /// Looks how much of the stack of the calling thread, which is the worker's,
  /// is left.
  void measure_stack() noexcept;

  /// Returns whether that was enough to run a request inside of another one.
  bool may_nest() const noexcept { return may_nest_; }

  // -- resource ---------------------------------------------------------------

  /// Returns the worker's resource for the running request. Replaces one that
  /// is of no more use; throws what that throws, and
  /// `failure{ec::resource_unavailable}` if the pool has none of that type.
  void* resource(std::type_index type);

  bool resource_in_use() const noexcept { return resource_.in_use(); }

  /// Returns whether the worker should take no request before it has opened a
  /// resource.
  bool resource_stale() const noexcept { return resource_.stale(); }

  /// Makes the resource one of no more use.
  void discard_resource() noexcept { resource_.discard(); }

  /// Returns whether the resource is good for another request; asks it if it
  /// has been idle for long.
  bool examine_resource() noexcept;

  /// Opens a resource in place of one that is of no more use. Throws what
  /// `open` throws.
  void renew_resource();

  /// The request that may have used the resource has returned.
  void end_request() noexcept {
    if (resource_.in_use())
      end_use();
  }

  /// Closes the resource, on the worker's own thread.
  void close_resource() noexcept;

private:
  friend class dispatcher;
  friend class nested_part;

  static constexpr std::uintptr_t asleep = 0;
  static constexpr std::uintptr_t awake = 1;
  static constexpr std::uintptr_t retire = 2;
  static constexpr std::uintptr_t lingering = 3;
  static constexpr std::uintptr_t again = 4;

  /// Hands over a batch, `retire` or `again`. Returns whether the worker must
  /// be woken.
  bool give(std::uintptr_t what) noexcept {
    auto before = word_.exchange(what, std::memory_order_acq_rel);
    auto lingers = before == lingering;
    lingers_.store(lingers, std::memory_order_relaxed);
    if (!lingers && before != asleep)
      return false;
    users_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  /// Wakes the worker if it lingers. Only for who got true from `give`.
  bool end_linger() noexcept {
    // The worker may be further by now, and what is read here that of a later
    // hand-off; then nobody waits for this wake-up.
    auto lingers = lingers_.load(std::memory_order_relaxed);
    if (lingers)
      parker_.unpark();
    return lingers;
  }

  static hand_off unpack(std::uintptr_t word) noexcept;

  template <class Pause>
  hand_off look(std::chrono::nanoseconds patience, Pause pause) noexcept;

  void end_use() noexcept;

  dispatcher& home_;
  const int id_;
  const std::string name_;
  alignas(64) std::atomic<std::uintptr_t> word_{awake};
  parker parker_;
  // Whether the last hand-off found the worker lingering. Belongs to whoever
  // took the cell out of the idle ones.
  std::atomic<bool> lingers_{false};
  // The worker, and those who are about to wake it, which may be long awake or
  // gone by then. When the last one is done, the cell can serve again.
  std::atomic<std::uint32_t> users_{1};
  std::atomic<std::uint32_t> claims_{0};
  std::atomic<std::uint64_t> calls_succeeded_{0};
  std::atomic<std::uint64_t> calls_failed_{0};
  std::atomic<std::uint32_t> lane_{no_lane};
  std::atomic<std::uint64_t> thread_{0};
  resource_slot resource_;
  bool stays_awake_ = false;
  bool may_nest_ = true;
  const batch* working_on_ = nullptr;
  std::chrono::steady_clock::time_point mark_;

  // Guarded by the dispatcher's mutex, but for a step to the next one in hand,
  // all of which stay while others may look at this.
  std::atomic<batch*> current_{nullptr};
  hand hand_;
  // Those with a hand that has not been recalled, in the order of its begin.
  worker_cell* hand_prev_ = nullptr;
  worker_cell* hand_next_ = nullptr;
  bool hand_listed_ = false;
  std::chrono::steady_clock::time_point since_;
  worker_cell* idle_prev_ = nullptr;
  worker_cell* idle_next_ = nullptr;
  bool idle_ = false;
  // Whether it was given a batch and has not taken that up yet.
  bool waking_ = false;
  // Whether it took the current batch from those that waited.
  bool served_waiting_ = false;
  bool alive_ = false;
  bool starting_ = false;
  // Whether it waits before it tries again to open its resource, how often that
  // has failed in a row, and a number for each such rest.
  bool resting_ = false;
  unsigned failed_opens_ = 0;
  std::uint64_t rest_ = 0;
  // What the watchdog saw when it last looked, and since when it is so; nothing
  // if the worker has taken up another batch since.
  bool seen_any_ = false;
  std::uint64_t seen_ = 0;
  std::chrono::steady_clock::time_point seen_since_;
  std::uint32_t claims_at_begin_ = 0;
  bool stuck_ = false;
  // The innermost batch that it runs inside the wait of a request.
  nested_part* nested_ = nullptr;

  worker_record record_;
};

} // namespace troupe
