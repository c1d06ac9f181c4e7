// What a running request can know and use: its label, its worker, the token
// that tells it to stop, and the worker's resource.

#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "troupe/batch.hpp"
#include "troupe/fast_clock.hpp"
#include "troupe/null_function.hpp"
#include "troupe/worker_cell.hpp"

namespace troupe {

/// Is passed to functions that take a `context&` first. Valid during the call,
/// on the worker's thread only.
class context {
public:
  context(batch& owner, worker_cell& cell) noexcept
      : context{owner, cell, owner} {}

  /// `stopper` is the batch that says when to stop; not the owner if that one
  /// runs as a part of it.
  context(batch& owner, worker_cell& cell, batch& stopper) noexcept
      : batch_{owner}, cell_{cell}, stopper_{stopper} {}

  context(const context&) = delete;
  context& operator=(const context&) = delete;

  /// Returns the token that is stopped when nobody wants the outcome any more:
  /// the operation was cancelled, or a sibling failed.
  std::stop_token stop_token() const { return stopper_.stop_token(); }

  /// Calls `hook()` when the request is asked to stop, at once and on the
  /// thread that asks; right here if that has happened already.
  ///
  /// The hook must unblock the call it belongs to: `shutdown(fd)` for a socket,
  /// never `close`, which does not wake `recv` and may hit a reused number. It
  /// must not throw.
  ///
  /// Returns a registration; its destructor waits for a running hook.
  /// Errors: throws `failure` with `ec::invalid_option` for a null function.
  template <class Hook>
  [[nodiscard]] auto on_cancel(Hook&& hook) const {
    refuse_null(hook, "call on_cancel with");
    return std::stop_callback<std::decay_t<Hook>>{stop_token(),
                                                  std::forward<Hook>(hook)};
  }

  /// Returns the number of the worker, from 1.
  int worker() const noexcept { return cell_.id(); }

  /// Returns when nobody will want the outcome any more; the clock's `max()` if
  /// there is no deadline.
  clock::time_point deadline() const noexcept {
    return std::min(batch_.deadline(), stopper_.deadline());
  }

  /// Returns the label of the operation, or an empty text. A request that is
  /// made inside another one without a label of its own has that one's.
  std::string_view label() const noexcept { return batch_.label(); }

  /// Returns the value that `operation::tag` set for `key`, on this operation
  /// or on one inside of which it was made; or an empty text.
  std::string_view tag(std::string_view key) const noexcept {
    return batch_.tag(key);
  }

  /// Returns what tells this request from others in a line of a log:
  /// "'load' (tenant=42) on worker io-3".
  std::string describe() const;

  /// Returns the worker's resource, which was opened, and is closed, on the
  /// worker's own thread; checked first if it has been idle for long. Good
  /// until the end of the request, or until `discard_resource`.
  ///
  /// Errors: throws `failure` with `ec::resource_unavailable` if the pool has
  ///         none of type `T`. Throws what `open` throws if one has to be
  ///         opened now that the request is running: after `discard_resource`,
  ///         after a check that fails, or inside another request's wait.
  template <class T>
  T& resource() const {
    return *static_cast<T*>(cell_.resource(typeid(T)));
  }

  /// Says that the worker's resource is of no more use: a connection that
  /// broke, or one with something half done. Once the request has returned, it
  /// is closed, and the worker opens another one before it takes the next
  /// request. `resource` called by this request does so at once; then what it
  /// returned before is gone.
  ///
  /// A resource with a function `broken()` is asked after each request that
  /// used it, and needs nobody to say so.
  /// Source: SQLAlchemy's Connection.invalidate, r2d2's has_broken.
  void discard_resource() const noexcept { cell_.discard_resource(); }

  /// Returns what the dispatcher knows of the worker.
  worker_cell& cell() const noexcept { return cell_; }

  /// Has the batch, of this one request, count as so many. Who makes these
  /// calls measures them. Does nothing in a batch of more.
  void stand_for(std::uint32_t requests, std::uint32_t failed) noexcept {
    if (batch_.size() == 1)
      batch_.stand_for(requests, failed);
  }

private:
  friend class group_batch;
  template <class T>
  friend class settled_calls;

  // One look at the clock for each request: where one ends, the next begins.
  fast_clock::time_point begin_of(std::uint32_t index) noexcept {
    return next_ == index && boundary_ != fast_clock::time_point{}
               ? boundary_
               : clock_.now();
  }

  fast_clock::time_point end_of(std::uint32_t index) noexcept {
    boundary_ = clock_.now();
    next_ = index + 1;
    return boundary_;
  }

  batch& batch_;
  worker_cell& cell_;
  batch& stopper_;
  // The submitter has looked at steady_clock itself.
  fast_clock clock_{batch_.submitted_at()};
  // When the request before `next_` ended: that one begins then.
  fast_clock::time_point boundary_;
  std::uint32_t next_ = 0;
};

// -- how requests are called --------------------------------------------------

/// Whether `Fn` takes these arguments as they are. A function that can be
/// called with and without a context is called without.
template <class Fn, class... Ts>
inline constexpr bool is_plain_call = std::is_invocable_v<Fn, Ts...>;

template <class Fn, class... Ts>
concept request_function =
    std::is_invocable_v<Fn, Ts...> || std::is_invocable_v<Fn, context&, Ts...>;

template <class Fn, class... Ts>
requires request_function<Fn, Ts...>
decltype(auto) call_request(context& ctx, Fn&& fn, Ts&&... xs) {
  if constexpr (is_plain_call<Fn, Ts...>)
    return std::invoke(std::forward<Fn>(fn), std::forward<Ts>(xs)...);
  else
    return std::invoke(std::forward<Fn>(fn), ctx, std::forward<Ts>(xs)...);
}

/// What a request yields: the decayed result of the call.
template <class Fn, class... Ts>
using request_result_t = std::decay_t<decltype(call_request(
    std::declval<context&>(), std::declval<Fn>(), std::declval<Ts>()...))>;

} // namespace troupe
