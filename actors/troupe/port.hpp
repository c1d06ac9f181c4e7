// How results reach an event-based actor from other threads without its
// behavior seeing a message: one response that the actor expects while
// operations are outstanding, whose arrival drains a list. One request for all
// of them, because CAF 0.17 searches its pending requests one by one.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

#include <caf/fwd.hpp>
#include <caf/message_id.hpp>

#include "troupe/burst_page.hpp"
#include "troupe/home_share.hpp"
#include "troupe/op_state.hpp"

namespace caf {

class event_based_actor;

} // namespace caf

namespace troupe {

class port;
class port_page;

/// Something that shall happen on the thread of an actor.
class port_item {
public:
  /// Happens while the actor lives.
  virtual void run() = 0;

  /// Happens instead when the actor has ended.
  virtual void abandon() noexcept = 0;

protected:
  ~port_item() = default;

private:
  friend class port;

  port_item* next_posted_ = nullptr;
};

/// A port item that some operation of the actor waits for: posted when the
/// operation completes, cancelled when the actor ends.
class port_waiter : public port_item, public continuation, public in_op_memory {
public:
  // The port lives as long as it counts the waiter.
  port_waiter(ref_ptr<op_state> op, port& home) noexcept
      : op_{std::move(op)}, port_{home} {}

  port_waiter(const port_waiter&) = delete;
  port_waiter& operator=(const port_waiter&) = delete;

  op_state& op() const noexcept { return *op_; }

  port& home() const noexcept { return port_; }

  void on_complete(op_state&) noexcept final;

  void run() final;

  void abandon() noexcept final;

protected:
  ~port_waiter() = default;

  /// The operation is complete.
  virtual void deliver() = 0;

  /// The operation is complete, but the actor has ended.
  virtual void discard() noexcept = 0;

private:
  friend class port;

  ref_ptr<op_state> op_;
  port& port_;
  port_waiter* prev_ = nullptr;
  port_waiter* next_ = nullptr;
};

/// A task as its port knows it.
class port_resident {
public:
  /// The actor has ended; whoever is suspended in an operation is told by that
  /// operation, so this concerns those that never started.
  virtual void owner_gone() noexcept = 0;

protected:
  ~port_resident() = default;

private:
  friend class port;

  port_resident* prev_ = nullptr;
  port_resident* next_ = nullptr;
  bool linked_ = false;
};

/// Somebody who blocks until a task of an actor is over, and hears what its
/// tasks wait for.
class port_patron : public plain_op {
public:
  /// `task` waits for `op`; null: for nothing any more. On the actor's thread.
  virtual void awaits(const op_state& task, op_state* op) noexcept = 0;

  /// Returns whether what `task` waits for hangs, as `op_state::hangs` does.
  virtual bool task_hangs(const op_state& task, hang_check& check) noexcept = 0;
};

/// The entrance to one actor. All but `post` is for the actor's own thread.
///
/// Invariants: (1) While something is outstanding, the actor expects a
///                 response, and both are kept alive.
///             (2) When the actor ends with operations still running, an heir
///                 takes the port over and abandons them as they complete, so
///                 that frames are destroyed only after the requests that may
///                 refer to them.
class port final : public ref_counted {
  friend class port_page;
  friend class port_waiter;

public:
  explicit port(caf::event_based_actor* self);

  ~port() override;

  /// Returns the port of `self`, made on first use. It lives as long as the
  /// actor.
  static port& of(caf::event_based_actor* self);

  /// Has `item` run on the actor's thread. From any thread.
  void post(port_item& item) noexcept;

  /// Counts `waiter` until it has run.
  void add(port_waiter& waiter);

  void add(port_resident& resident);

  /// Makes a call for that pool, by the constructor of `Call`, and has it run
  /// in a burst.
  ///
  /// Errors: throws std::bad_alloc and what the constructor throws; then there
  ///         is no call.
  template <class Call, class... Ts>
  void make_call(home_share pool, Ts&&... xs);

  /// Does nothing for a resident that the port has let go of.
  void remove(port_resident& resident) noexcept;

  /// Before any task of the actor starts.
  void set_patron(ref_ptr<port_patron> patron) noexcept {
    patron_ = std::move(patron);
  }

  /// Returns who blocks until a task of the actor is over, or null.
  port_patron* patron() const noexcept { return patron_.get(); }

  /// Returns the actor; null once it has ended.
  caf::event_based_actor* self() const noexcept { return self_; }

  /// Returns whether the calling thread is inside a task or a callback.
  static bool draining_here() noexcept;

  /// Returns whether the actor has ended.
  bool closed() const noexcept {
    return closed_.load(std::memory_order_acquire);
  }

private:
  port_page& page_for(const home_share& pool, std::size_t bytes);
  void begin_outstanding();
  void end_outstanding() noexcept;
  void expect();
  void drain();
  void close();
  void adopt(caf::event_based_actor* heir);
  void handle(port_item& item);
  void push(port_item& item) noexcept;
  void signal() noexcept;
  void forget_target();
  void abandon_posted() noexcept;
  void remove(port_waiter& waiter) noexcept;

  struct target;

  // Written by whoever posts, as is the count of references before it.
  std::atomic<port_item*> posted_{nullptr};

  // Read by all, and written seldom. Whose port this is; only an address, for
  // threads that ask.
  alignas(64) caf::event_based_actor* const owner_;
  caf::actor_system& system_;
  std::unique_ptr<target> target_;
  // True if a response is on its way, or nobody expects one.
  std::atomic<bool> signalled_{true};
  std::atomic<bool> closed_{false};
  // Nobody will drain any more.
  std::atomic<bool> dead_{false};

  // For the actor's thread. Who drains: the owner, nobody once it has ended,
  // then the heir.
  alignas(64) caf::event_based_actor* self_;
  bool draining_ = false;
  bool expecting_ = false;
  std::size_t outstanding_ = 0;
  ref_ptr<port_patron> patron_;
  port_waiter* waiters_ = nullptr;
  port_resident* residents_ = nullptr;
  // Pages with calls that were not collected, and the one with room for more.
  port_page* pages_ = nullptr;
  ref_ptr<port_page> page_;
};

/// Calls of one actor that run in bursts. All but `signal` is for the actor's
/// thread.
class port_page final : public burst_page, public port_item {
public:
  // The port lives as long as it counts calls of the page.
  explicit port_page(port& home) noexcept : port_{home} {}

  ~port_page() override;

  /// Returns the pool that runs the calls; null if all were collected.
  dispatcher* pool() const noexcept { return pool_.get(); }

  /// Adds the call that was made in the room for it.
  ///
  /// Errors: throws std::bad_alloc; then it is the caller's.
  void add(burst_call& made, std::size_t bytes, home_share pool);

  void run() override;

  void abandon() noexcept override;

private:
  friend class port;

  void signal() noexcept override;
  void begin();
  void end_one() noexcept;
  void deliver(std::uint64_t& calls);
  void discard(std::uint64_t calls) noexcept;

  port& port_;
  home_share pool_;
  // Shares in the pool that calls brought along, besides that one.
  std::uint32_t more_shares_ = 0;
  std::uint32_t outstanding_ = 0;
  port_page* prev_ = nullptr;
  port_page* next_ = nullptr;
};

static_assert(sizeof(port_page) <= op_memory::page_bytes);

template <class Call, class... Ts>
void port::make_call(home_share pool, Ts&&... xs) {
  static_assert(burst_page::fits(sizeof(Call), alignof(Call)));
  auto& page = page_for(pool, sizeof(Call));
  auto made = ::new (page.room_for(sizeof(Call))) Call{std::forward<Ts>(xs)...};
  try {
    page.add(*made, sizeof(Call), std::move(pool));
  } catch (...) {
    std::destroy_at(made);
    throw;
  }
}

} // namespace troupe
