// Operations that wait for a word from somebody, first come, first served: what
// the waits for an event and its relatives have in common. They join and leave
// a list under the lock of its owner, and are woken outside of it.

#pragma once

#include <cstddef>
#include <mutex>

#include "troupe/op_state.hpp"

namespace troupe {

class wait_list;
class wake_list;

/// An operation that may wait in a list.
///
/// Invariant: it is in at most one list, the one that it was made for, or it is
///            in nobody's but a wake list's, and then nothing stops it any
///            more.
class wait_op : public plain_op {
public:
  bool is_settled_by_cancel() const noexcept final { return true; }

protected:
  /// `guard` protects `list`; both belong to `home`, which is kept alive.
  wait_op(ref_ptr<ref_counted> home, std::mutex& guard, wait_list& list);

  /// Is called under the lock, once. Has to either join the list or add this to
  /// `woken`, among others perhaps.
  virtual void arrive(wake_list& woken) noexcept = 0;

  /// Returns what is said to whoever gives the wait up.
  virtual failure_ptr given_up(ec why) const = 0;

private:
  friend class wait_list;
  friend class wake_list;

  void begin() final;

  void stop(ec why) noexcept final;

  ref_ptr<ref_counted> home_;
  std::mutex& guard_;
  wait_list& list_;
  // Neighbours in the list; once woken, only the next one.
  wait_op* prev_ = nullptr;
  wait_op* next_ = nullptr;
  bool listed_ = false;
  bool arrived_ = false;
  // Why it was stopped before it had arrived.
  ec stopped_{};
};

/// Operations in the order in which they came. Guarded by its owner's lock.
class wait_list {
public:
  wait_list() = default;

  wait_list(const wait_list&) = delete;
  wait_list& operator=(const wait_list&) = delete;

  bool empty() const noexcept { return first_ == nullptr; }

  std::size_t size() const noexcept { return size_; }

  void push_back(wait_op& op) noexcept;

  /// Takes the first one out.
  /// @pre `!empty()`
  wait_op& pop_front() noexcept;

  /// Takes `op` out, wherever it is. Returns false if it is not in here.
  bool remove(wait_op& op) noexcept;

private:
  wait_op* first_ = nullptr;
  wait_op* last_ = nullptr;
  std::size_t size_ = 0;
};

/// Operations whose wait is over. They complete, in the order in which they
/// were added, when the list goes: so declare it before the lock, under which
/// nobody may be woken.
class wake_list {
public:
  wake_list() = default;

  wake_list(const wake_list&) = delete;
  wake_list& operator=(const wake_list&) = delete;

  ~wake_list() { wake(); }

  /// Has `op` complete; with `failure`, if there is one.
  /// @pre `op` waits in no list
  void add(wait_op& op, failure_ptr failure = nullptr) noexcept;

  /// Has all that wait in `from` complete.
  void add_all(wait_list& from, const failure_ptr& failure = nullptr) noexcept;

private:
  void wake() noexcept;

  wait_op* first_ = nullptr;
  wait_op* last_ = nullptr;
};

} // namespace troupe
