// Which workers block in `get()`, and for what: so that a ring of workers that
// wait for each other is seen when it closes, and not suffered. Touched only
// when a worker blocks, which is rare; requests that block on anything else
// cost nothing here.

#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/batch.hpp"
#include "troupe/op_state.hpp"

namespace troupe {

class worker_cell;

/// A worker that blocks until an operation is complete, and leaves its place
/// when there is something of it to be done here.
class blocked_worker final : private continuation {
public:
  blocked_worker(worker_cell& cell, op_state& op) noexcept
      : cell_{cell}, op_{op} {}

  blocked_worker(const blocked_worker&) = delete;
  blocked_worker& operator=(const blocked_worker&) = delete;

  /// Blocks the calling thread, which is the worker's, until the operation is
  /// complete. If that could never be, since each worker that might serve it is
  /// blocked as well, an operation of the ring fails with
  /// `ec::would_deadlock`, and its requests that had not started never will.
  void wait() noexcept;

  worker_cell& cell() const noexcept { return cell_; }

private:
  friend class wait_graph;
  friend class hang_check;

  void on_complete(op_state&) noexcept override;

  // Has it help again.
  void call() noexcept;

  worker_cell& cell_;
  op_state& op_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool complete_ = false;
  bool called_ = false;

  // Guarded by the graph's mutex.
  bool suspect_ = false;
};

/// What an operation needs to know to say whether it hangs on blocked workers.
class hang_check {
public:
  explicit hang_check(const blocked_worker& waiting) noexcept
      : waiting_{waiting} {}

  /// Returns whether `cell` will do nothing more, as far as is known.
  bool stuck(const worker_cell& cell) const noexcept;

  /// Names what the worker waits for, such as "the pool 'io'".
  void waits_for(std::string what) { what_ = std::move(what); }

  /// Says that the worker itself has something to do for what it waits for.
  void want_help() noexcept { help_wanted_ = true; }

  /// Offers a batch that hangs and has requests which have not started.
  void offer(ref_ptr<batch> victim) { victims_.push_back(std::move(victim)); }

  const blocked_worker& waiting() const noexcept { return waiting_; }

  bool help_wanted() const noexcept { return help_wanted_; }

  const std::string& what() const noexcept { return what_; }

  std::vector<ref_ptr<batch>>& victims() noexcept { return victims_; }

private:
  const blocked_worker& waiting_;
  bool help_wanted_ = false;
  std::string what_;
  std::vector<ref_ptr<batch>> victims_;
};

/// The blocked workers of this process.
class wait_graph {
public:
  /// Looks for a ring, after something else than a worker that blocks has
  /// changed: a worker has ended, or may not be replaced any more.
  static void look_again() noexcept;

  /// Has the blocked workers of `home` look whether there is something to be
  /// done for what they wait for.
  static void call_back(const dispatcher& home) noexcept;

  /// As above, for the worker that waits for `op`.
  static void call_back(const op_state& op) noexcept;

private:
  friend class blocked_worker;
  friend class hang_check;

  struct state;

  static state& all();
  static void enter(blocked_worker& worker) noexcept;
  static void leave(blocked_worker& worker) noexcept;
  static void resolve(const blocked_worker* latest) noexcept;
  static bool break_ring(const blocked_worker* latest) noexcept;
};

/// Returns whether the calling thread has enough of its stack left to run a
/// request inside of the one that it runs.
bool stack_allows_nesting() noexcept;

} // namespace troupe
