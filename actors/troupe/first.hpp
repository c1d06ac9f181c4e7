// Waits for the first of several operations: select. Delivers at once, without
// waiting for the others, which are cancelled or left running.

#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "troupe/gather.hpp"
#include "troupe/operation.hpp"
#include "troupe/outcome_of.hpp"

namespace troupe {

/// What becomes of the operations that were not first.
enum class rest : std::uint8_t {
  /// They are cancelled: what has not started never will, what runs is asked to
  /// stop.
  cancel,
  /// They run to their end, unheard. All of them are started; cancelling the
  /// wait does not cancel them.
  run_on,
};

/// The common part of the waits for a first one: starts the parts, picks the
/// winner, and deals with the rest.
class race_state : public plain_op {
public:
  /// What ends the race.
  enum class goal : std::uint8_t { completion, success };

  race_state(std::vector<ref_ptr<op_state>> parts, goal wanted, rest others);

  ~race_state() override;

  void help() noexcept override;

protected:
  void begin() override;

  void stop(ec why) noexcept override;

  void drop(ec why) noexcept override;

  /// Returns which one was first.
  /// @pre `done() && !failed()`
  std::size_t winner() const noexcept { return winner_; }

  op_state& winning_part() const noexcept { return *parts_[winner_]; }

private:
  // Hears from one part. Keeps the race alive, since parts may outlive it.
  struct lane_end final : continuation {
    void on_complete(op_state& part) noexcept override;

    race_state* race = nullptr;
    std::size_t index = 0;
  };

  void arrive(std::size_t index, op_state& part) noexcept;
  void cancel_parts(ec why) noexcept;
  void forget_parts(std::size_t from) noexcept;
  failure_ptr all_failed(const failure_record& last) const;

  std::vector<ref_ptr<op_state>> parts_;
  std::unique_ptr<lane_end[]> ends_;
  const goal goal_;
  const rest rest_;
  // How many have begun, from the first on: only they can be stopped by other
  // threads.
  std::atomic<std::size_t> begun_{0};
  std::atomic<std::size_t> failures_{0};
  // Why parts that begin late must stop again.
  std::atomic<ec> stop_reason_{ec{}};
  std::atomic<bool> over_{false};
  std::size_t winner_ = 0;
};

/// Delivers the first of several of one type.
template <class T>
class first_arrival final : public race_state {
public:
  using race_state::race_state;

  void* result() override {
    if (!result_)
      result_.emplace(outcome_of<T>(winning_part()), winner());
    return &*result_;
  }

private:
  std::optional<arrival<T>> result_;
};

/// Delivers the first of several different ones, each as `Wrap<T>` makes it.
template <template <class> class Wrap, class... Ts>
class first_variant final : public race_state {
public:
  using result_type = std::variant<typename Wrap<Ts>::type...>;

  using race_state::race_state;

  void* result() override {
    if (!result_)
      pick(std::index_sequence_for<Ts...>{});
    return &*result_;
  }

private:
  template <std::size_t... Is>
  void pick(std::index_sequence<Is...>) {
    static_cast<void>(((Is == winner()
                        && (result_.emplace(std::in_place_index<Is>,
                                            Wrap<Ts>::take(winning_part())),
                            true))
                       || ...));
  }

  std::optional<result_type> result_;
};

/// How a first completion appears in a variant.
template <class T>
struct as_outcome {
  using type = outcome<T>;

  static type take(op_state& part) { return outcome_of<T>(part); }
};

/// How a first success appears in a variant.
template <class T>
struct as_value {
  using type = gathered_t<T>;

  static type take(op_state& part) {
    if constexpr (std::is_void_v<T>)
      return {};
    else
      return std::move(*static_cast<T*>(part.result()));
  }
};

/// Takes the states out of several operations.
template <awaitable_operation... Ops>
std::vector<ref_ptr<op_state>> consume_all(Ops&&... ops) {
  std::vector<ref_ptr<op_state>> parts;
  parts.reserve(sizeof...(Ops));
  (parts.push_back(
       operation<typename std::decay_t<Ops>::value_type>(std::forward<Ops>(ops))
           .consume()),
   ...);
  return parts;
}

template <awaitable_operation Op>
std::vector<ref_ptr<op_state>> consume_all(std::vector<Op> ops) {
  std::vector<ref_ptr<op_state>> parts;
  parts.reserve(ops.size());
  for (auto& op : ops)
    parts.push_back(
        operation<typename Op::value_type>(std::move(op)).consume());
  return parts;
}

/// Waits for the first of `ops` to be complete, with a value or a failure.
///
/// Shape:  n operations of one type in, one arrival out: the outcome, and whose
///         it is. It has a value or a failure; the wait itself does not fail
///         for it. The others are dealt with as `others` says before it is
///         delivered, but not waited for: capture by value.
/// Errors: `failure` with `ec::invalid_option` for no operations, of which none
///         can be first. With `ec::cancelled` if the wait is cancelled; that
///         ends it at once, and cancels the operations unless they run on.
/// Source: asyncio.wait(return_when=FIRST_COMPLETED), but the others are
///         cancelled unless told otherwise; select.
template <awaitable_operation Op>
operation<arrival<typename Op::value_type>>
first_completed(std::vector<Op> ops, rest others = rest::cancel) {
  using value = typename Op::value_type;
  return operation<arrival<value>>{make_ref<first_arrival<value>>(
      consume_all(std::move(ops)), race_state::goal::completion, others)};
}

/// As above, for operations of different types.
///
/// Shape:  a variant of outcomes, whose index is the position of the operation.
template <awaitable_operation... Ops>
requires(sizeof...(Ops) > 0) auto first_completed(rest others, Ops&&... ops) {
  using state =
      first_variant<as_outcome, typename std::decay_t<Ops>::value_type...>;
  return operation<typename state::result_type>{
      make_ref<state>(consume_all(std::forward<Ops>(ops)...),
                      race_state::goal::completion, others)};
}

template <awaitable_operation... Ops>
requires(sizeof...(Ops) > 0) auto first_completed(Ops&&... ops) {
  return first_completed(rest::cancel, std::forward<Ops>(ops)...);
}

/// Waits for the first of `ops` that succeeds; failures are passed over.
///
/// Shape:  n operations of one type in, one arrival out, which has a value.
/// Errors: if all fail, a `failure` that says how many did, with the code of
///         the last one, whose own exception is nested in it
///         (std::rethrow_if_nested). Otherwise as `first_completed`.
/// Source: Promise.any; ExecutorService.invokeAny.
template <awaitable_operation Op>
operation<arrival<typename Op::value_type>>
first_succeeded(std::vector<Op> ops, rest others = rest::cancel) {
  using value = typename Op::value_type;
  return operation<arrival<value>>{make_ref<first_arrival<value>>(
      consume_all(std::move(ops)), race_state::goal::success, others)};
}

/// As above, for operations of different types.
///
/// Shape:  a variant of values, whose index is the position of the operation; a
///         void one yields std::monostate.
template <awaitable_operation... Ops>
requires(sizeof...(Ops) > 0) auto first_succeeded(rest others, Ops&&... ops) {
  using state =
      first_variant<as_value, typename std::decay_t<Ops>::value_type...>;
  return operation<typename state::result_type>{
      make_ref<state>(consume_all(std::forward<Ops>(ops)...),
                      race_state::goal::success, others)};
}

template <awaitable_operation... Ops>
requires(sizeof...(Ops) > 0) auto first_succeeded(Ops&&... ops) {
  return first_succeeded(rest::cancel, std::forward<Ops>(ops)...);
}

} // namespace troupe
