// A call of which nothing is set but what it is and where it goes: what `run`
// makes. Of a million of them that are gathered none needs to be more; one that
// is started by itself, or modified, becomes a batch. Not what `pool::call`
// makes: that calls a procedure, which is a batch at once.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "troupe/fetch_early.hpp"
#include "troupe/fwd.hpp"
#include "troupe/home_share.hpp"
#include "troupe/op_memory.hpp"
#include "troupe/run_batch.hpp"

namespace troupe {

/// What can be called once, for a `T`. Belongs to one thread at a time.
template <class T>
class one_call {
public:
  one_call() = default;

  one_call(const one_call&) = delete;
  one_call& operator=(const one_call&) = delete;

  virtual ~one_call() = default;

  /// Makes the call, once: moves the arguments into it.
  virtual T make(context& ctx) = 0;
};

/// A function with its arguments that yields a `T`.
template <class T>
class light_call : public one_call<T>, public in_op_memory {
public:
  /// Returns whether the function takes no context: then it cannot see what
  /// batch the request is part of.
  virtual bool is_plain() const noexcept = 0;

  /// Moves it to `place`, of `held_bytes`, if it fits and that cannot throw.
  /// Returns whether it did.
  virtual bool move_to(void* place) noexcept = 0;

  /// What a call takes at the most that is part of something larger: a pointer
  /// to a function with two arguments of a word.
  static constexpr std::size_t held_bytes = 32;

  /// Returns the batch of this one request, for that pool, into which the
  /// function and its arguments are moved. If that throws, `home` is as before.
  virtual ref_ptr<op_state> to_batch(home_share& home) = 0;
};

/// Whether a request may be a light call before it is a batch. A procedure
/// tells its batch what came of it in another process; what cannot be moved
/// stays where it is made.
template <class Fn, class... Args>
inline constexpr bool can_be_light =
    std::conjunction_v<std::bool_constant<!is_procedure<Fn>>,
                       std::is_move_constructible<Fn>,
                       std::is_move_constructible<Args>...>;

/// `Fn(Args...)` or `Fn(context&, Args...)`, both decayed.
template <class Fn, class... Args>
class bound_call final : public light_call<request_result_t<Fn, Args...>> {
public:
  using result_type = request_result_t<Fn, Args...>;

  template <class F, class... Ts>
  explicit bound_call(F&& fn, Ts&&... xs)
      : input_{std::forward<F>(fn), std::forward<Ts>(xs)...} {}

  bool is_plain() const noexcept override { return is_plain_call<Fn, Args...>; }

  bool move_to(void* place) noexcept override {
    constexpr auto fits = sizeof(bound_call) <= bound_call::held_bytes
                          && alignof(bound_call) <= alignof(void*)
                          && std::is_nothrow_move_constructible_v<input_type>;
    if constexpr (fits)
      ::new (place) bound_call{std::move(input_), nullptr};
    return fits;
  }

  result_type make(context& ctx) override {
    return std::apply(
        [&](Fn& fn, Args&... xs) -> decltype(auto) {
          return call_request(ctx, std::move(fn), std::move(xs)...);
        },
        input_);
  }

  ref_ptr<op_state> to_batch(home_share& home) override {
    auto made = std::apply(
        [](Fn& fn, Args&... xs) {
          return make_ref<run_batch<Fn, Args...>>(std::move(fn),
                                                  std::move(xs)...);
        },
        input_);
    made->set_home(home.take());
    return made;
  }

private:
  using input_type = std::tuple<Fn, Args...>;

  bound_call(input_type&& input, std::nullptr_t) noexcept
      : input_{std::move(input)} {}

  input_type input_;
};

/// A light call that is somewhere else.
template <class T>
class boxed_call final : public one_call<T> {
public:
  explicit boxed_call(std::unique_ptr<light_call<T>> call) noexcept
      : call_{std::move(call)} {}

  T make(context& ctx) override { return call_->make(ctx); }

private:
  std::unique_ptr<light_call<T>> call_;
};

/// A light call that is part of something larger; in place, if it is small.
template <class T>
class held_call {
public:
  explicit held_call(std::unique_ptr<light_call<T>> call) noexcept {
    if (!call->move_to(memory_.data()))
      ::new (memory_.data()) boxed_call<T>{std::move(call)};
  }

  held_call(const held_call&) = delete;
  held_call& operator=(const held_call&) = delete;

  ~held_call() { std::destroy_at(&call()); }

  T make(context& ctx) { return call().make(ctx); }

private:
  // Whatever class it is of, it begins with this base.
  one_call<T>& call() noexcept {
    return *std::launder(reinterpret_cast<one_call<T>*>(memory_.data()));
  }

  alignas(void*) std::array<std::byte, light_call<T>::held_bytes> memory_;
};

/// An operation as its owner holds it: a state, a light call that becomes one
/// when it is asked for, or nothing. In two words, since there may be a million
/// of these in a row.
template <class T>
class call_or_state {
public:
  // -- construction -----------------------------------------------------------

  explicit call_or_state(ref_ptr<op_state> state) noexcept
      : what_{state.release()} {}

  call_or_state(std::unique_ptr<light_call<T>> call, home_share home) noexcept
      : what_{call.release()}, home_{std::move(home)} {}

  call_or_state(call_or_state&& other) noexcept
      : what_{std::exchange(other.what_, nullptr)},
        home_{std::move(other.home_)} {}

  call_or_state& operator=(call_or_state&& other) noexcept {
    std::swap(what_, other.what_);
    std::swap(home_, other.home_);
    return *this;
  }

  ~call_or_state() {
    if (!what_)
      return;
    if (is_call())
      delete as_call();
    else
      as_state()->deref();
  }

  // -- properties -------------------------------------------------------------

  /// Returns the state, if it is one by now, else null.
  op_state* state() const noexcept { return is_call() ? nullptr : as_state(); }

  /// Returns the pool of a light call, else null.
  dispatcher* home() const noexcept { return home_.get(); }

  // -- changes ----------------------------------------------------------------

  /// Returns the state, which it is from now on; null for nothing.
  op_state* ensure_state() {
    if (is_call()) {
      auto call = as_call();
      // In this order: it stays a call if there is no memory.
      what_ = call->to_batch(home_).release();
      delete call;
    }
    return as_state();
  }

  /// Gives up the state; null for nothing.
  ref_ptr<op_state> take_state() {
    ensure_state();
    return {static_cast<op_state*>(std::exchange(what_, nullptr)), adopt_ref};
  }

  /// Returns whether it is a call that may be added to a burst.
  bool may_join_burst() const noexcept {
    return is_call() && home_.takes_calls() && as_call()->is_plain();
  }

  /// Gives up the share, after the call.
  home_share take_home() noexcept { return std::move(home_); }

  /// Gives up the light call, but not the share in its pool.
  /// @pre `home()`
  std::unique_ptr<light_call<T>> take_call() noexcept {
    return std::unique_ptr<light_call<T>>{
        static_cast<light_call<T>*>(std::exchange(what_, nullptr))};
  }

  /// Gives up the share, after the call.
  [[nodiscard]] dispatcher* release_home() noexcept { return home_.release(); }

  /// Takes back what was given up.
  void put_back(std::unique_ptr<light_call<T>> call,
                dispatcher* home) noexcept {
    what_ = call.release();
    home_.adopt(home);
  }

private:
  bool is_call() const noexcept { return home_.get() != nullptr; }

  light_call<T>* as_call() const noexcept {
    return static_cast<light_call<T>*>(what_);
  }

  op_state* as_state() const noexcept { return static_cast<op_state*>(what_); }

  // A light call if there is a home, else a state.
  void* what_;
  home_share home_;
};

/// How much of a light call to fetch: one with a small function.
inline constexpr std::size_t light_bytes = 64;

/// Light calls in a row, which are taken one by one, each by one thread.
template <class T>
class call_row {
public:
  call_row() = default;

  call_row(call_row&&) noexcept = default;

  call_row& operator=(call_row&& other) noexcept {
    std::swap(calls_, other.calls_);
    return *this;
  }

  ~call_row() {
    for (auto call : calls_)
      delete call;
  }

  std::size_t size() const noexcept { return calls_.size(); }

  void reserve(std::size_t n) { calls_.reserve(n); }

  /// @pre there is room for it
  void push_back(std::unique_ptr<light_call<T>> call) noexcept {
    calls_.push_back(call.release());
  }

  /// Returns a call; null if it was taken.
  light_call<T>* get(std::size_t index) noexcept {
    return at(index).load(std::memory_order_relaxed);
  }

  std::unique_ptr<light_call<T>> take(std::size_t index) noexcept {
    auto place = at(index);
    std::unique_ptr<light_call<T>> call{place.load(std::memory_order_relaxed)};
    place.store(nullptr, std::memory_order_relaxed);
    return call;
  }

  /// Has the processor fetch a call that may be wanted soon.
  void fetch(std::size_t index) noexcept {
    if (index < calls_.size())
      fetch_early(get(index), light_bytes);
  }

private:
  // Who fetches early looks at places that others take from.
  std::atomic_ref<light_call<T>*> at(std::size_t index) noexcept {
    return std::atomic_ref<light_call<T>*>{calls_[index]};
  }

  std::vector<light_call<T>*> calls_;
};

/// Calls for one pool.
template <class T>
struct call_list {
  home_share home;
  call_row<T> calls;
};

} // namespace troupe
