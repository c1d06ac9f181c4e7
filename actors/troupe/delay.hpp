// Waiting for time, and for other actors: an awaitable delay and an awaitable
// CAF request, both bound to the actor that waits.

#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <caf/all.hpp>

#include "troupe/caf_compat.hpp"
#include "troupe/operation.hpp"

namespace troupe {

/// Returns an operation that completes `delay` after its start.
///
/// Must be started on the thread of `self`, by a `co_await` or `then` there.
///
/// Errors: `failure` with `ec::cancelled`, at once when it is cancelled, or
///         with `ec::owner_gone` if `self` ends first.
/// Source: asyncio.sleep.
operation<void> sleep_for(caf::event_based_actor* self,
                          std::chrono::nanoseconds delay);

/// Is held by the handlers with which an actor waits on behalf of `State`. CAF
/// destroys them when the actor ends; then the state completes at once, and no
/// one waits for ever.
template <class State>
struct owner_tie {
  explicit owner_tie(ref_ptr<State> target) noexcept
      : state{std::move(target)} {}
  owner_tie(const owner_tie&) = delete;
  owner_tie& operator=(const owner_tie&) = delete;
  ~owner_tie() { state->lose_owner(); }

  ref_ptr<State> state;
  compat::response_timer timer;
};

/// A request of one actor to another, as an operation.
template <class T>
class ask_state final : public plain_op {
public:
  using send_function = std::function<caf::message_id(caf::event_based_actor*,
                                                      ref_ptr<ask_state>)>;

  ask_state(caf::event_based_actor* self, send_function send)
      : self_{self}, send_{std::move(send)} {}

  void* result() override {
    if constexpr (std::is_void_v<T>)
      return nullptr;
    else
      return &*value_;
  }

  template <class... Ts>
  void fulfil(Ts&&... xs) {
    if (over_.exchange(true))
      return;
    actor_ = nullptr;
    if constexpr (!std::is_void_v<T>)
      value_.emplace(std::forward<Ts>(xs)...);
    this->finish();
  }

  void refuse(const caf::error& why) {
    if (over_.exchange(true))
      return;
    actor_ = nullptr;
    this->finish_with(failure_of(why));
  }

  void lose_owner() noexcept {
    if (over_.exchange(true))
      return;
    actor_ = nullptr;
    this->finish_with(make_failure(
        ec::owner_gone, "the actor that waited for an answer has ended", true,
        this->label()));
  }

protected:
  void begin() override {
    actor_ = caf::strong_actor_ptr{self_->ctrl()};
    id_ = send_(self_, ref_ptr<ask_state>{this});
  }

  void stop(ec why) noexcept override {
    if (over_.exchange(true))
      return;
    // Answers in place of the other actor, so that this one expects nothing
    // more.
    compat::respond(std::exchange(actor_, nullptr), id_,
                    caf::make_error(caf::sec::request_timeout));
    this->finish_with(
        make_failure(why, "the wait for an actor's answer was cancelled", true,
                     this->label()));
  }

private:
  using slot = std::conditional_t<std::is_void_v<T>, char, T>;

  caf::event_based_actor* self_;
  send_function send_;
  caf::strong_actor_ptr actor_;
  caf::message_id id_;
  std::optional<slot> value_;
  std::atomic<bool> over_{false};
};

/// Returns an operation that sends `xs` to `to` as a request and completes with
/// the answer, of type `R`; `void` for an empty one.
///
/// Must be started on the thread of `self`.
///
/// Units:  `timeout` is elapsed time from the start of the operation.
/// Errors: `failure` with the code that troupe's actors answer, or else with
///         `ec::request_failed` and the text of the other actor's error, or of
///         CAF's own, such as a timeout; `ec::owner_gone` if `self` ends first.
///         Cancelling ends the wait at once; the other actor does not hear of
///         it.
template <class R, class... Ts>
operation<R> ask(caf::event_based_actor* self, const caf::actor& to,
                 std::chrono::nanoseconds timeout, Ts... xs) {
  using state = ask_state<R>;
  auto send = [=](caf::event_based_actor* from, ref_ptr<state> waiting) {
    auto tie = std::make_shared<owner_tie<state>>(std::move(waiting));
    auto refuse = [tie](const caf::error& why) { tie->state->refuse(why); };
    caf::behavior handlers;
    if constexpr (std::is_void_v<R>)
      handlers = caf::behavior{[tie] { tie->state->fulfil(); }, refuse};
    else
      handlers = caf::behavior{
          [tie](R& x) { tie->state->fulfil(std::move(x)); }, refuse};
    auto id = compat::send_request(from, to, std::move(handlers), xs...);
    tie->timer.start(from, id, timeout);
    return id;
  };
  return operation<R>{make_ref<state>(self, std::move(send))};
}

} // namespace troupe
