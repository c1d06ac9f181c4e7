// Keeps operations together that belong together: none of a group outlives its
// scope unheard, and the first failure ends the others. asyncio.TaskGroup.

#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "troupe/gather.hpp"
#include "troupe/operation.hpp"
#include "troupe/pool.hpp"
#include "troupe/task.hpp"

namespace troupe {

/// What a group fails with if several of its members failed.
///
/// Its code is the one that all have in common, else `ec::request_failed`.
/// Source: ExceptionGroup.
class group_failure : public failure {
public:
  explicit group_failure(std::vector<failure_ptr> all);

  /// Returns what failed, by arrival; at least two. `rethrow` throws the
  /// original exception of one.
  const std::vector<failure_ptr>& failures() const noexcept { return *all_; }

private:
  // Shared, since copying an exception must not throw.
  std::shared_ptr<const std::vector<failure_ptr>> all_;
};

class group_member;
class group_join;

/// What the handle of a group, its members and those who wait for it share.
/// Thread-safe.
///
/// Invariants: (1) `active_` counts the members that were admitted and have not
///                 left; who brings it to zero ends the joins that wait.
///             (2) Only members that have begun are linked, since only these
///                 can be cancelled by other threads. One that begins late
///                 looks at `stop_reason_` once it is linked.
class group_core final : public ref_counted {
public:
  /// Reports the failures of members if nobody has joined.
  ~group_core() override;

  /// Starts `member`, or cancels it before its start if the group is cancelled.
  ///
  /// Errors: throws `failure` with `ec::already_consumed` if the group is over.
  void start(group_member& member);

  /// Cancels the members, and those that come later.
  void cancel(ec why) noexcept;

  /// Admits no more members, and cancels those there are.
  void abandon() noexcept;

  /// Gives a worker that waits for its own pool the chance to do the work.
  void help() noexcept;

private:
  friend class group_member;
  friend class group_join;

  void leave(group_member& member, const failure_ptr& why) noexcept;
  bool add(group_join& join) noexcept;
  failure_ptr verdict();
  std::vector<ref_ptr<group_member>> members() const;

  mutable std::mutex mutex_;
  group_member* first_ = nullptr;
  group_join* joins_ = nullptr;
  std::size_t active_ = 0;
  bool over_ = false;
  ec stop_reason_{};
  std::vector<failure_ptr> failures_;
  // Whether somebody who joins has got them.
  bool told_ = false;
};

/// One operation of a group, as its handle sees it.
class group_member final : public plain_op, private continuation {
public:
  group_member(ref_ptr<group_core> group, ref_ptr<op_state> inner);

  void* result() override { return inner_->result(); }

  void help() noexcept override { inner_->help(); }

  std::chrono::nanoseconds spin() const noexcept override {
    return inner_->spin();
  }

  void measure() noexcept override {
    if (!inner_->started())
      inner_->measure();
  }

  call_report report() const noexcept override { return inner_->report(); }

  bool runs_on() const noexcept override { return inner_->runs_on(); }

  std::string_view label_text() const noexcept override {
    return inner_->label_text();
  }

  // Whoever joins the group hears of it.
  bool told_elsewhere() const noexcept override { return true; }

protected:
  void begin() override;

  void stop(ec why) noexcept override { inner_->cancel(why); }

  void drop(ec why) noexcept override;

private:
  friend class group_core;

  void on_complete(op_state&) noexcept override;

  ref_ptr<group_core> group_;
  ref_ptr<op_state> inner_;
  // Guarded by the group's mutex.
  group_member* prev_ = nullptr;
  group_member* next_ = nullptr;
  bool linked_ = false;
  bool left_ = false;
};

/// Waits until no member is left.
class group_join final : public plain_op {
public:
  explicit group_join(ref_ptr<group_core> group) : group_{std::move(group)} {}

  void help() noexcept override { group_->help(); }

protected:
  void begin() override;

  void stop(ec why) noexcept override;

  void drop(ec why) noexcept override;

private:
  friend class group_core;

  /// The last member has left.
  void end() noexcept;

  ref_ptr<group_core> group_;
  group_join* next_ = nullptr;
  std::atomic<ec> cancelled_{ec{}};
};

/// A group of operations that belong together. To be joined by the one who made
/// it; members may be started from any thread, by other members too, as long as
/// the group lives.
///
/// Shape:  `start` starts an operation at once and returns it, to be consumed
///         for its value or dropped; `join` completes when all have ended,
///         those too that were started meanwhile.
/// Errors: the first failure of a member cancels the others. `join` fails with
///         it, or with a `group_failure` if others failed as well. A member
///         that was cancelled is no failure.
/// Source: asyncio.TaskGroup; anyio.create_task_group; Java's
///         StructuredTaskScope.
class task_group {
public:
  // -- construction -----------------------------------------------------------

  task_group() : core_{make_ref<group_core>()} {}

  task_group(task_group&&) noexcept = default;

  task_group& operator=(task_group&& other) noexcept {
    task_group dropped{std::move(*this)};
    core_ = std::move(other.core_);
    return *this;
  }

  /// Cancels what has not ended, and does not wait for it.
  ~task_group() {
    if (core_)
      core_->abandon();
  }

  // -- operations -------------------------------------------------------------

  /// Starts `op` as a member and returns it as started.
  ///
  /// If the group is cancelled, `op` never runs and fails with `ec::cancelled`.
  ///
  /// Errors: throws `failure` with `ec::already_consumed` if the group was
  ///         joined to its end, or moved from.
  template <awaitable_operation Op>
  auto start(Op&& op) {
    using value = typename std::decay_t<Op>::value_type;
    auto member = make_ref<group_member>(
        ref_ptr<group_core>{&core()},
        operation<value>(std::forward<Op>(op)).consume());
    core().start(*member);
    return operation<value>{std::move(member)};
  }

  /// As above, for one call of a pool: `start(where.run(fn, args...))`.
  template <class F, class... Ts>
  auto run(const pool& where, F&& fn, Ts&&... xs) {
    return start(where.run(std::forward<F>(fn), std::forward<Ts>(xs)...));
  }

  /// Cancels the members, and those that are started later. Not a failure: a
  /// `join` completes when all have ended.
  void cancel() noexcept {
    if (core_)
      core_->cancel(ec::cancelled);
  }

  /// Waits until all members have ended; then the group is over.
  ///
  /// Errors: see above. Cancelling the wait cancels the members; it still waits
  ///         until all have ended, then fails with `ec::cancelled`, or with
  ///         what members failed with.
  operation<void> join() {
    return operation<void>{make_ref<group_join>(ref_ptr<group_core>{&core()})};
  }

private:
  group_core& core() const {
    if (!core_)
      throw failure{ec::already_consumed, "the task group was moved from"};
    return *core_;
  }

  ref_ptr<group_core> core_;
};

// -- the scope ----------------------------------------------------------------

/// Calls the body of a scope, which may ask for the actor first.
template <class Body>
auto call_group_body(Body& body, caf::event_based_actor* self,
                     task_group& group) {
  if constexpr (std::is_invocable_v<Body&, caf::event_based_actor*,
                                    task_group&>)
    return body(self, group);
  else
    return body(group);
}

/// Runs the body as the first member of a group, and joins it.
template <class Body>
class group_scope final : public plain_op, private continuation {
public:
  using value_type = typename decltype(call_group_body(
      std::declval<Body&>(), std::declval<caf::event_based_actor*>(),
      std::declval<task_group&>()))::value_type;

  group_scope(caf::event_based_actor* self, Body body)
      : self_{self}, body_(std::move(body)) {}

  void* result() override { return member_->result(); }

protected:
  void begin() override {
    try {
      member_ = group_.start(call_group_body(body_, self_, group_)).consume();
    } catch (...) {
      group_.cancel();
      failure_ = make_failure(std::current_exception(), label(), 0, {});
    }
    join_ = group_.join().consume();
    // Released by `on_complete`.
    ref();
    join_->start();
    if (!join_->attach(*this))
      on_complete(*join_);
  }

  void stop(ec why) noexcept override { join_->cancel(why); }

private:
  void on_complete(op_state& join) noexcept override {
    ref_ptr<group_scope> keep{this, adopt_ref};
    if (!failure_)
      failure_ = join.failed();
    // It may have been cancelled by `task_group::cancel`.
    if (!failure_)
      failure_ = member_->failed();
    finish();
  }

  caf::event_based_actor* self_;
  Body body_;
  task_group group_;
  ref_ptr<op_state> member_;
  ref_ptr<op_state> join_;
};

/// Runs the task `body(self, group)`, or `body(group)`, and waits for all that
/// it starts in `group`.
///
/// Shape:  yields what the body returns, when all members have ended, cancelled
///         ones included. To be started on the thread of `self`.
/// Errors: the body is a member as well: if it fails, the others are cancelled;
///         if another one fails, the body is cancelled. One failure is
///         delivered as itself, several as a `group_failure`. Cancelling it
///         cancels body and members, and waits for them; a `.timeout` does not
///         wait.
/// The locals of the body go when it returns, before other members have ended:
/// what these refer to must be outside of it, or the body has to wait for them.
/// Source: `async with asyncio.TaskGroup() as group`.
template <class Body>
auto with_group(caf::event_based_actor* self, Body body) {
  using scope = group_scope<Body>;
  return operation<typename scope::value_type>{
      make_ref<scope>(self, std::move(body))};
}

} // namespace troupe
