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
#include "troupe/resource.hpp"

namespace troupe {

class dispatcher;

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

  void add_busy_time(std::chrono::nanoseconds spent) noexcept {
    busy_ns_.store(busy_ns_.load(std::memory_order_relaxed) + spent.count(),
                   std::memory_order_relaxed);
  }

  std::chrono::nanoseconds busy_time() const noexcept {
    return std::chrono::nanoseconds{busy_ns_.load(std::memory_order_relaxed)};
  }

  // -- resource ---------------------------------------------------------------

  /// Returns the worker's resource, opened on first use. Throws
  /// `failure{ec::resource_unavailable}` if the pool has none of that type.
  void* resource(std::type_index type);

  /// Opens the resource now, if it is one that wants that. What goes wrong is
  /// told to the first request that asks for it.
  void open_resource_at_start() noexcept;

  bool resource_in_use() const noexcept { return resource_in_use_; }

  /// The request that may have used the resource has returned.
  void end_request() noexcept { resource_in_use_ = false; }

  /// Closes the resource, on the worker's own thread.
  void close_resource() noexcept { resource_.reset(); }

private:
  friend class dispatcher;

  static constexpr std::uintptr_t asleep = 0;
  static constexpr std::uintptr_t awake = 1;
  static constexpr std::uintptr_t retire = 2;
  static constexpr std::uintptr_t lingering = 3;

  /// Hands over a batch, or `retire`. Returns whether the worker must be woken.
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
  std::atomic<std::int64_t> busy_ns_{0};
  std::shared_ptr<void> resource_;
  bool resource_in_use_ = false;
  bool stays_awake_ = false;
  const batch* working_on_ = nullptr;

  // Guarded by the dispatcher's mutex.
  batch* current_ = nullptr;
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
};

} // namespace troupe
