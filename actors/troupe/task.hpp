// Coroutines that live inside an actor: started, resumed and destroyed on its
// thread only, so that they may use the actor as any of its handlers does.

#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include <caf/event_based_actor.hpp>

#include "troupe/operation.hpp"

namespace troupe {

template <class T>
class task;

/// The outcome of a task, and what connects its frame with the outside.
///
/// Invariant: the frame is destroyed before the task is complete.
class task_state : public plain_op, private port_item, private port_resident {
public:
  task_state(caf::event_based_actor* self, std::coroutine_handle<> frame);

  port& home() const noexcept { return *port_; }

  // -- for the frame, on the actor's thread -----------------------------------

  /// Returns whether the task was cancelled: then it waits for nothing more.
  bool cancelled() const noexcept { return cancelled_; }

  /// Says what the task waits for; null: for nothing.
  void set_awaited(op_state* op) noexcept;

  bool hangs(hang_check& check) noexcept override;

  /// The body has ended by an exception.
  void set_exception(std::exception_ptr what);

  /// The body has ended. Destroys the frame and completes.
  void end_of_body() noexcept;

  /// The actor has ended. Destroys the frame and completes.
  void lose_frame() noexcept;

  /// The `task` object goes without having been started.
  void forget() noexcept override;

protected:
  void begin() override;
  void stop(ec why) noexcept override;
  void drop(ec why) noexcept override;

private:
  void run() override;
  void abandon() noexcept override;
  void owner_gone() noexcept override;
  void destroy_frame() noexcept;

  // Posted at most once at a time: as the start, later as the cancel.
  struct cancel_item final : port_item {
    explicit cancel_item(task_state& owner) : task{owner} {}
    void run() override;
    void abandon() noexcept override;
    task_state& task;
  };

  ref_ptr<port> port_;
  std::coroutine_handle<> frame_;
  op_state* awaited_ = nullptr;
  cancel_item cancel_item_{*this};
  std::atomic<ec> cancel_reason_{ec{}};
  bool cancelled_ = false;
  bool entered_ = false;
};

/// Adds the value.
template <class T>
class task_state_of final : public task_state {
public:
  using task_state::task_state;

  template <class U>
  void set_value(U&& x) {
    value_.emplace(std::forward<U>(x));
  }

  void* result() override { return &*value_; }

private:
  std::optional<T> value_;
};

template <>
class task_state_of<void> final : public task_state {
public:
  using task_state::task_state;
};

// -- awaiting -----------------------------------------------------------------

/// Suspends a task until an operation is complete.
///
/// GCC 12 destroys a temporary awaiter twice if it is an aggregate; hence the
/// constructor, and no copies.
template <class T>
class operation_awaiter final : public port_waiter {
public:
  operation_awaiter(ref_ptr<op_state> op, task_state& waiting)
      : port_waiter{std::move(op), waiting.home()}, task_{waiting} {}

  ~operation_awaiter() {
    if (!op().started())
      op().forget();
  }

  bool await_ready() const noexcept { return task_.cancelled(); }

  bool await_suspend(std::coroutine_handle<> frame) {
    frame_ = frame;
    op().start();
    if (!op().attach(*this))
      return false;
    home().add(*this);
    task_.set_awaited(&op());
    return true;
  }

  T await_resume() {
    if (task_.cancelled())
      throw failure{ec::cancelled, "the task was cancelled", true};
    return take_result<T>(op());
  }

private:
  void deliver() override {
    task_.set_awaited(nullptr);
    frame_.resume();
  }

  void discard() noexcept override {
    report_unobserved(op());
    task_.lose_frame();
  }

  task_state& task_;
  std::coroutine_handle<> frame_;
};

// -- promise ------------------------------------------------------------------

template <class Self>
concept actor_pointer = std::convertible_to<Self, caf::event_based_actor*>;

/// What the promises of all tasks have in common.
template <class T>
class task_promise_base {
public:
  explicit task_promise_base(caf::event_based_actor* self) : self_{self} {}

  std::suspend_always initial_suspend() const noexcept { return {}; }

  auto final_suspend() const noexcept {
    struct end {
      explicit end(task_state& owner) noexcept : task{owner} {}
      end(const end&) = delete;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<>) const noexcept {
        // Destroys the frame, and with it this awaiter.
        task.end_of_body();
      }
      void await_resume() const noexcept {}
      task_state& task;
    };
    return end{*state_};
  }

  void unhandled_exception() {
    state_->set_exception(std::current_exception());
  }

  template <class U>
  auto await_transform(operation<U> op) {
    return operation_awaiter<U>{op.consume(), *state_};
  }

  template <class U>
  auto await_transform(task<U> child) {
    return await_transform(operation<U>{std::move(child)});
  }

protected:
  caf::event_based_actor* self_;
  ref_ptr<task_state_of<T>> state_;
};

template <class T>
class task_promise : public task_promise_base<T> {
public:
  template <actor_pointer Self, class... Ts>
  explicit task_promise(Self& self, Ts&...)
      : task_promise_base<T>{static_cast<caf::event_based_actor*>(self)} {}

  // For lambdas and members, whose first argument is the object.
  template <class Object, actor_pointer Self, class... Ts>
  requires(!actor_pointer<Object>) task_promise(Object&, Self& self, Ts&...)
      : task_promise_base<T>{static_cast<caf::event_based_actor*>(self)} {}

  task<T> get_return_object();

  template <class U>
  void return_value(U&& x) {
    this->state_->set_value(std::forward<U>(x));
  }
};

template <>
class task_promise<void> : public task_promise_base<void> {
public:
  template <actor_pointer Self, class... Ts>
  explicit task_promise(Self& self, Ts&...)
      : task_promise_base<void>{static_cast<caf::event_based_actor*>(self)} {}

  template <class Object, actor_pointer Self, class... Ts>
  requires(!actor_pointer<Object>) task_promise(Object&, Self& self, Ts&...)
      : task_promise_base<void>{static_cast<caf::event_based_actor*>(self)} {}

  task<void> get_return_object();

  void return_void() const noexcept {}
};

// -- task ---------------------------------------------------------------------

/// A coroutine that lives inside an actor and yields a `T`.
///
/// Its first parameter (after the object, for lambdas and members) is a pointer
/// to the actor, an event-based one: the task must be made on that actor's
/// thread, and is resumed and destroyed there only. Lazy: it runs once it is
/// awaited, or consumed as the `operation` that it converts to. If the actor
/// ends first, the frame is destroyed, after the requests that it waits for
/// have returned, and whoever waits gets `ec::owner_gone`.
///
/// Parameters taken by reference, and the captures of a lambda, must outlive
/// the task; those taken by value are kept in the frame. GCC 12 destroys
/// aggregates that are temporaries of a `co_await` expression twice, closures
/// with captures among them: name the operation first, as in
/// `auto op = io.run([path] { ... }); co_await std::move(op);`.
///
/// Errors: an exception that leaves the body reaches whoever waits. Cancelling
///         makes the current and each later `co_await` of the task throw
///         `failure` with `ec::cancelled`.
/// Source: asyncio's coroutines.
template <class T>
class [[nodiscard]] task {
public:
  using value_type = T;
  using promise_type = task_promise<T>;

  explicit task(ref_ptr<task_state> state) noexcept
      : state_{std::move(state)} {}

  task(task&&) noexcept = default;

  task& operator=(task&& other) noexcept {
    task{std::move(*this)};
    state_ = std::move(other.state_);
    return *this;
  }

  ~task() {
    if (state_)
      state_->forget();
  }

  operator operation<T>() && { return operation<T>{std::move(state_)}; }

  /// As the members of `operation`.
  template <class... Callbacks>
  void then(caf::event_based_actor* self, Callbacks... callbacks) && {
    operation<T>{std::move(state_)}.then(self, std::move(callbacks)...);
  }

  operation<T> start() && { return operation<T>{std::move(state_)}.start(); }

private:
  ref_ptr<task_state> state_;
};

template <class T>
task<T> task_promise<T>::get_return_object() {
  this->state_ = make_ref<task_state_of<T>>(
      this->self_, std::coroutine_handle<task_promise>::from_promise(*this));
  return task<T>{this->state_};
}

inline task<void> task_promise<void>::get_return_object() {
  state_ = make_ref<task_state_of<void>>(
      self_, std::coroutine_handle<task_promise>::from_promise(*this));
  return task<void>{state_};
}

} // namespace troupe
