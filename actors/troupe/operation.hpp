// What `run`, `map`, `gather` and the waits return: something not yet started
// that is consumed once, by blocking, by a callback in an actor, by `co_await`
// in a task, or as a std::future.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <caf/error.hpp>
#include <caf/event_based_actor.hpp>

#include "troupe/admission.hpp"
#include "troupe/batch_ref.hpp"
#include "troupe/burst_page.hpp"
#include "troupe/deadline.hpp"
#include "troupe/hedge.hpp"
#include "troupe/light_call.hpp"
#include "troupe/port.hpp"
#include "troupe/unobserved.hpp"

namespace troupe {

class event;

/// Throws `failure` with `ec::would_deadlock` if the calling thread belongs to
/// an event-based actor, as far as that can be told, or if `what` says that the
/// wait for it would never end.
void refuse_to_block(const char* call, const op_state* what = nullptr);

/// Sets `mods` of an operation that has not started.
///
/// Errors: throws `failure` with `ec::invalid_option` for values out of range,
///         and if `modifier` means nothing to the operation.
void apply_modifiers(op_state& state, const char* modifier,
                     const modifiers& mods);

/// Anything that an `operation` can tell when it is complete.
template <class T>
concept notifiable = requires(const T& x) {
  { x.sink() } -> std::convertible_to<ref_ptr<completion_sink>>;
};

/// One thing to be done that yields a `T`, or nothing for `void`.
///
/// Shape:  lazy: consuming it starts it. Consumed once: by `get`, `then`,
///         `co_await` or `as_future`. Never consumed: nothing runs.
/// Errors: `get` and `co_await` throw the exception of the request itself, or a
///         `failure` where there is none; `then` gets a caf::error. A second
///         consumption throws `failure` with `ec::already_consumed`.
/// Thread: belongs to one thread at a time.
template <class T>
class [[nodiscard]] operation {
public:
  using value_type = T;

  // -- construction -----------------------------------------------------------

  explicit operation(ref_ptr<op_state> state) noexcept
      : state_{std::move(state)} {}

  /// For those who make calls for a pool.
  operation(std::unique_ptr<light_call<T>> call, home_share home) noexcept
      : state_{std::move(call), std::move(home)} {}

  operation(operation&&) noexcept = default;

  operation& operator=(operation&& other) noexcept {
    operation{std::move(*this)};
    state_ = std::move(other.state_);
    return *this;
  }

  ~operation() {
    auto state = state_.state();
    if (!state)
      return;
    if (state->started())
      leave_unobserved(*state);
    else
      state->forget();
  }

  // -- modifiers --------------------------------------------------------------

  // Those of a gather are for each of its parts: what a part has set itself
  // stays, and of two limits the stricter one holds.

  /// Names the operation in failures, completions and receipts.
  operation& label(std::string text) & {
    unstarted("label").set_label(std::move(text));
    return *this;
  }

  operation&& label(std::string text) && {
    return std::move(label(std::move(text)));
  }

  /// Cancels the operation when `token` is stopped: what is queued never runs;
  /// what runs sees its stop token and has its hooks called, on the thread that
  /// stops. If it had been stopped before, nothing begins. A second one takes
  /// the place of the first.
  operation& stop_with(std::stop_token token) & {
    unstarted("stop_with").set_stop_token(std::move(token));
    return *this;
  }

  operation&& stop_with(std::stop_token token) && {
    return std::move(stop_with(std::move(token)));
  }

  /// Sets `target`, an event, when the operation is complete, whatever came of
  /// it.
  template <notifiable Event>
  operation& notify(const Event& target) & {
    unstarted("notify").set_notify(target.sink());
    return *this;
  }

  template <notifiable Event>
  operation&& notify(const Event& target) && {
    return std::move(notify(target));
  }

  /// Sets a deadline `limit` after the start. Then the outcome is delivered, at
  /// that moment: `ec::deadline_exceeded`, unless the operation was complete.
  /// What is queued never runs; what runs is asked to stop and runs to its end
  /// on its worker, its result dropped. So it must not refer to the caller's
  /// variables: capture by value.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for less than 0.
  /// Source: asyncio.timeout, asyncio.wait_for.
  operation& timeout(std::chrono::nanoseconds limit) & {
    state_ = call_or_state<T>{with_timeout(shared("timeout"), limit)};
    return *this;
  }

  operation&& timeout(std::chrono::nanoseconds limit) && {
    return std::move(timeout(limit));
  }

  /// As `timeout`, at a point in time. One in the past: nothing runs.
  /// Source: asyncio.timeout_at.
  operation& deadline(clock::time_point when) & {
    state_ = call_or_state<T>{with_deadline(shared("deadline"), when)};
    return *this;
  }

  operation&& deadline(clock::time_point when) && {
    return std::move(deadline(when));
  }

  /// Starts a copy of the call if it is not complete `delay` after its start,
  /// and takes the first success; the slower copy is cancelled. For calls that
  /// may run twice without harm. A failure is delivered when no other copy
  /// runs.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for less than 0, and if
  ///         this is not a single call that can be copied.
  /// Source: hedged requests (Dean and Barroso, The Tail at Scale, 2013).
  operation& hedge_after(std::chrono::nanoseconds delay) & {
    state_ = call_or_state<T>{hedge(shared("hedge_after"), delay)};
    return *this;
  }

  operation&& hedge_after(std::chrono::nanoseconds delay) && {
    return std::move(hedge_after(delay));
  }

  /// Sets where the batch stands among those that wait. Of a gather: each of
  /// its parts.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for what is none of the
  ///         three.
  operation& priority(troupe::priority p) & {
    return modify("priority", {.priority = p});
  }

  operation&& priority(troupe::priority p) && { return std::move(priority(p)); }

  /// Lets at most `n` requests of the batch run at once: of a `map`, or of the
  /// single calls in a gather.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for 0.
  /// Source: the semaphore that asyncio programs put around each call.
  operation& max_in_flight(std::uint32_t n) & {
    return modify("max_in_flight", {.max_in_flight = n});
  }

  operation&& max_in_flight(std::uint32_t n) && {
    return std::move(max_in_flight(n));
  }

  /// Lets at most `limit` requests with this key run at once in the pool;
  /// others pass by. If they disagree, the latest limit holds.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for 0, and for an empty
  ///         name.
  /// Source: limits per host in HTTP clients.
  operation& key(std::string name, std::uint32_t limit) & {
    return modify("key", {.key = key_limit{std::move(name), limit}});
  }

  operation&& key(std::string name, std::uint32_t limit) && {
    return std::move(key(std::move(name), limit));
  }

  /// Has each request that fails tried again. Not beyond a deadline. The
  /// function is called with lvalues then, and its input kept until the end.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for a policy that is
  ///         out of range, and for a function that cannot be called twice.
  operation& retry(retry_policy policy) & {
    return modify("retry", {.retry = std::make_shared<const retry_policy>(
                                std::move(policy))});
  }

  operation&& retry(retry_policy policy) && {
    return std::move(retry(std::move(policy)));
  }

  /// Calls `fn(const progress&)` while the operation makes progress, at most
  /// every 50 ms, and once at the end, before the outcome is delivered. Of a
  /// gather: for all of it. `fn` runs on workers, never twice at once; it must
  /// be short and not throw.
  operation& on_progress(std::function<void(const progress&)> fn) & {
    return modify("on_progress",
                  {.progress = make_ref<progress_meter>(std::move(fn))});
  }

  operation&& on_progress(std::function<void(const progress&)> fn) && {
    return std::move(on_progress(std::move(fn)));
  }

  /// Sets a key-value pair that requests see by `context::tag`, those made
  /// inside of them too, and that failures tell.
  operation& tag(std::string key, std::string value) & {
    return modify("tag", {.tag = std::pair{std::move(key), std::move(value)}});
  }

  operation&& tag(std::string key, std::string value) && {
    return std::move(tag(std::move(key), std::move(value)));
  }

  // -- starting and consuming -------------------------------------------------

  /// Begins at once and returns the operation, to be consumed as any other. If
  /// it is dropped instead, it runs to its end, and a failure goes to the sink
  /// of `set_unobserved_sink`.
  ///
  /// On a thread of its own the call blocks while more than `max-queued`
  /// submissions wait in the pool, unless the pool is told to reject. It does
  /// not on workers and in event-based actors, as far as these can be told:
  /// there `admit` waits for room.
  operation start() {
    auto state = consume();
    state->start();
    operation result{std::move(state)};
    await_room(*result.state_.state());
    return result;
  }

  /// Begins at once and yields the operation, to be consumed as any other, as
  /// soon as no more than `max-queued` submissions wait in the pool: for actors
  /// and tasks that start many operations, and hold no thread while they wait
  /// for room.
  ///
  /// Shape:  `auto op = co_await io.run(hash, path).admit();`
  /// Errors: none of its own; one that the pool refuses is yielded, too, and
  ///         says so when it is consumed. Cancelling it cancels the operation.
  /// Source: asyncio.Queue.put before a worker, in one step.
  operation<operation> admit() {
    return operation<operation>{make_ref<admission<T>>(consume())};
  }

  /// Blocks until there is an outcome; returns the value or throws.
  ///
  /// Not for the thread of an event-based actor, which it would hold up. A
  /// worker that waits for a batch of its own pool runs requests of it itself.
  /// Where it cannot, and where pools wait for each other, so that no worker is
  /// left for what they wait for, one of these requests fails with
  /// `ec::would_deadlock`. Not noticed: a request that waits for something else
  /// than an operation, such as a std::future or an event, that only a queued
  /// request would set.
  ///
  /// Errors: throws `failure` with `ec::would_deadlock`, and is not consumed,
  ///         inside a task or a callback of `then`, on the threads of CAF's
  ///         scheduler, and for the shutdown of the worker's own pool; a
  ///         detached actor's own handlers are not noticed.
  T get() {
    refuse_to_block("get()", state_.state());
    auto state = consume();
    state->start();
    state->wait();
    return take_result<T>(*state);
  }

  /// Starts and calls `on_value(T)`, or `on_value()` for void, or
  /// `on_error(caf::error)`, in `self`, later. The actor stays alive until
  /// then; if it ends before, what it had asked for is cancelled. To be called
  /// on the thread of `self`, in one of its handlers. A callback that throws
  /// ends the actor.
  template <class OnValue, class OnError>
  void then(caf::event_based_actor* self, OnValue on_value, OnError on_error);

  /// As above; a failure ends the actor, with the failure as its reason.
  template <class OnValue>
  void then(caf::event_based_actor* self, OnValue on_value) {
    then(self, std::move(on_value),
         [self](caf::error why) { self->quit(std::move(why)); });
  }

  /// Starts and returns a future of the outcome. Its destructor does not wait.
  /// Blocks where `start` does.
  std::future<T> as_future();

  /// Gives up the state, for those who combine operations. Throws if the
  /// operation was consumed.
  ref_ptr<op_state> consume() {
    auto state = state_.take_state();
    if (!state)
      throw failure{ec::already_consumed,
                    "the operation was consumed before; each can be waited "
                    "for once"};
    return state;
  }

  /// Takes the calls out of `ops`, if none of them is more than a call, and all
  /// are for one pool; else leaves all as they are and returns nothing. For
  /// those who combine operations.
  static std::optional<call_list<T>> take_calls(std::vector<operation>& ops);

private:
  op_state& unstarted(const char* modifier) {
    auto state = state_.ensure_state();
    if (!state)
      throw failure{ec::already_consumed,
                    std::string{"cannot set ."} + modifier
                        + " of an operation that was consumed before"};
    if (state->started())
      throw failure{ec::already_consumed,
                    std::string{"cannot set ."} + modifier
                        + " of an operation that has started; set it before"};
    return *state;
  }

  ref_ptr<op_state> shared(const char* modifier) {
    return ref_ptr<op_state>{&unstarted(modifier)};
  }

  operation& modify(const char* modifier, const modifiers& mods) {
    apply_modifiers(unstarted(modifier), modifier, mods);
    return *this;
  }

  call_or_state<T> state_;
};

template <class T>
std::optional<call_list<T>>
operation<T>::take_calls(std::vector<operation>& ops) {
  if (ops.empty() || !ops.front().state_.home())
    return std::nullopt;
  call_list<T> found;
  found.calls.reserve(ops.size());
  for (auto& op : ops) {
    auto home = op.state_.home();
    if (!home || (found.home.get() && home != found.home.get()))
      break;
    // Their shares are dropped together; the list needs one.
    found.home.adopt(op.state_.release_home());
    found.calls.push_back(op.state_.take_call());
  }
  auto n = found.calls.size();
  if (n == ops.size()) {
    found.home.drop_others(static_cast<std::uint32_t>(n - 1));
    return found;
  }
  for (std::size_t i = 0; i < n; ++i)
    ops[i].state_.put_back(found.calls.take(i), found.home.get());
  static_cast<void>(found.home.release());
  return std::nullopt;
}

// -- then ---------------------------------------------------------------------

/// Waits for an operation on behalf of two callbacks.
template <class T, class OnValue, class OnError>
class then_waiter final : public port_waiter {
public:
  then_waiter(ref_ptr<op_state> op, port& home, OnValue on_value,
              OnError on_error)
      : port_waiter{std::move(op), home},
        on_value_(std::move(on_value)),
        on_error_(std::move(on_error)) {}

private:
  void deliver() override {
    std::unique_ptr<then_waiter> owned{this};
    if (const auto& why = op().failed())
      on_error_(to_error(why));
    else if constexpr (std::is_void_v<T>)
      on_value_();
    else
      on_value_(std::move(*static_cast<T*>(op().result())));
  }

  void discard() noexcept override {
    report_unobserved(op());
    delete this;
  }

  OnValue on_value_;
  OnError on_error_;
};

/// A call that runs in a burst, on behalf of two callbacks.
template <class T, class OnValue, class OnError>
class then_call final : public burst_call {
public:
  then_call(std::unique_ptr<light_call<T>> call, OnValue on_value,
            OnError on_error)
      : what_{std::in_place_index<0>, std::move(call)},
        on_value_(std::move(on_value)),
        on_error_(std::move(on_error)) {}

  then_call(const then_call&) = delete;
  then_call& operator=(const then_call&) = delete;

  run_result run(context& ctx) noexcept override {
    try {
      if constexpr (std::is_void_v<T>) {
        std::get<0>(what_).make(ctx);
        what_.template emplace<1>();
      } else {
        T value = std::get<0>(what_).make(ctx);
        what_.template emplace<1>(std::move(value));
      }
      return run_result::value;
    } catch (...) {
      what_.template emplace<2>(make_failure(
          std::current_exception(), {}, ctx.cell().id(), ctx.cell().name()));
      return run_result::failed;
    }
  }

  void drop(const failure_ptr& why) noexcept override {
    what_.template emplace<2>(why);
  }

  void deliver() override {
    struct end {
      then_call* call;
      ~end() { std::destroy_at(call); }
    } guard{this};
    if (auto why = std::get_if<2>(&what_))
      on_error_(to_error(*why));
    else if constexpr (std::is_void_v<T>)
      on_value_();
    else
      on_value_(std::move(std::get<1>(what_)));
  }

  failure_ptr discard() noexcept override {
    auto why = std::get_if<2>(&what_);
    auto result = why ? std::move(*why) : nullptr;
    std::destroy_at(this);
    return result;
  }

private:
  using slot_type = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

  // The call, until it has run; then its result, or why there is none.
  std::variant<held_call<T>, slot_type, failure_ptr> what_;
  OnValue on_value_;
  OnError on_error_;
};

template <class T>
template <class OnValue, class OnError>
void operation<T>::then(caf::event_based_actor* self, OnValue on_value,
                        OnError on_error) {
  using call = then_call<T, OnValue, OnError>;
  if constexpr (burst_page::fits(sizeof(call), alignof(call)))
    if (auto& home = port::of(self);
        state_.may_join_burst() && !home.closed()) {
      auto what = state_.take_call();
      home.template make_call<call>(state_.take_home(), std::move(what),
                                    std::move(on_value), std::move(on_error));
      return;
    }
  auto state = consume();
  auto waiter = std::make_unique<then_waiter<T, OnValue, OnError>>(
      std::move(state), port::of(self), std::move(on_value),
      std::move(on_error));
  auto& op = waiter->op();
  auto& home = waiter->home();
  op.start();
  home.add(*waiter);
  // Never called from in here: a callback that runs before `then` returns would
  // surprise its writer.
  if (!op.attach(*waiter))
    home.post(*waiter);
  // From here on the port sees to it that the waiter is deleted.
  static_cast<void>(waiter.release());
}

// -- as_future ----------------------------------------------------------------

/// Fulfills a std::promise.
template <class T>
class promise_continuation final : public continuation {
public:
  explicit promise_continuation(ref_ptr<op_state> op) : op_{std::move(op)} {}

  std::future<T> future() { return promise_.get_future(); }

  void on_complete(op_state& op) noexcept override {
    std::unique_ptr<promise_continuation> owned{this};
    try {
      if constexpr (std::is_void_v<T>) {
        take_result<T>(op);
        promise_.set_value();
      } else {
        promise_.set_value(take_result<T>(op));
      }
    } catch (...) {
      promise_.set_exception(std::current_exception());
    }
  }

private:
  ref_ptr<op_state> op_;
  std::promise<T> promise_;
};

template <class T>
std::future<T> operation<T>::as_future() {
  auto state = consume();
  auto next = std::make_unique<promise_continuation<T>>(state);
  auto result = next->future();
  state->start();
  if (!state->attach(*next))
    next.release()->on_complete(*state);
  else
    static_cast<void>(next.release());
  await_room(*state);
  return result;
}

} // namespace troupe
