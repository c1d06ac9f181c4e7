// The batch of one request, behind `pool::run`: a function, its arguments, and
// a slot for what it returns.

#pragma once

#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "troupe/batch_loop.hpp"
#include "troupe/batch_ref.hpp"

namespace troupe {

/// One request: `Fn(Args...)` or `Fn(context&, Args...)`, both decayed.
template <class Fn, class... Args>
class run_batch final : public batch_loop<run_batch<Fn, Args...>> {
public:
  using result_type = request_result_t<Fn, Args...>;

  template <class F, class... Ts>
  explicit run_batch(F&& fn, Ts&&... xs)
      : batch_loop<run_batch>{1},
        input_{std::in_place, std::forward<F>(fn), std::forward<Ts>(xs)...} {}

  run_result run_one(std::uint32_t index, context& ctx) noexcept {
    return this->guard(index, ctx, [&] {
      std::apply(
          [&](Fn& fn, Args&... xs) {
            if constexpr (can_repeat)
              if (this->may_repeat())
                return keep([&]() -> decltype(auto) {
                  return call_request(ctx, fn, xs...);
                });
            keep([&]() -> decltype(auto) {
              return call_request(ctx, std::move(fn), std::move(xs)...);
            });
          },
          *input_);
    });
  }

  ref_ptr<op_state> copy() const override {
    if constexpr ((std::is_copy_constructible_v<Fn> && ...
                   && std::is_copy_constructible_v<Args>) ) {
      auto made = std::apply(
          [](const Fn& fn, const Args&... xs) {
            return make_ref<run_batch>(fn, xs...);
          },
          *input_);
      made->copy_settings(*this);
      return made;
    } else {
      return nullptr;
    }
  }

  bool is_single() const noexcept override { return true; }

  void* result() override {
    if constexpr (std::is_void_v<result_type>)
      return nullptr;
    else
      return &*slot_;
  }

private:
  // Whether the call can be made without moving the input into it, with the
  // same result.
  static constexpr bool can_repeat = [] {
    if constexpr (request_function<Fn&, Args&...>)
      return std::is_same_v<request_result_t<Fn&, Args&...>, result_type>;
    else
      return false;
  }();

  template <class Call>
  void keep(Call call) {
    if constexpr (std::is_void_v<result_type>)
      call();
    else
      slot_.emplace(call());
  }

  bool repeatable() const noexcept override { return can_repeat; }

  void destroy_input() noexcept override { input_.reset(); }

  using slot_type = std::conditional_t<std::is_void_v<result_type>,
                                       std::monostate, result_type>;

  std::optional<std::tuple<Fn, Args...>> input_;
  std::optional<slot_type> slot_;
};

/// Makes a batch of one request for those who submit it by message; function
/// and arguments are decay-copied in.
template <class F, class... Ts>
requires request_function<std::decay_t<F>, std::decay_t<Ts>...>
auto make_batch(F&& fn, Ts&&... xs) {
  using type = run_batch<std::decay_t<F>, std::decay_t<Ts>...>;
  return typed_batch<typename type::result_type>{
      make_ref<type>(std::forward<F>(fn), std::forward<Ts>(xs)...)};
}

} // namespace troupe
