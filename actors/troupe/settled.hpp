// Waits for several operations and tells what came of each: asyncio.gather with
// return_exceptions=True. A failure concerns nobody else, and at a deadline
// what has finished is delivered all the same.

#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "troupe/first.hpp"
#include "troupe/gather.hpp"
#include "troupe/huge_pages.hpp"
#include "troupe/outcome_of.hpp"
#include "troupe/settled_calls.hpp"

namespace troupe {

/// The common part of all settled gathers.
///
/// Invariant: whoever sets `over_` collects the outcomes and completes: the end
///            of the last part, or a deadline. In the latter case each outcome
///            is read whole or not at all, since members of a group publish
///            theirs, and others are read only when they are done.
class settled_state : public gather_state {
public:
  explicit settled_state(std::vector<ref_ptr<op_state>> parts)
      : gather_state{std::move(parts), on_failure::settle_each} {}

  bool complete_partly(ec why) noexcept override;

protected:
  void begin() override;

  void drop(ec why) noexcept override;

  void end() noexcept override;

  /// Makes the outcomes of all parts.
  virtual void collect() = 0;

  /// What is known of a part that is not done.
  struct unfinished {
    failure_ptr why;
    outcome_state state;
    call_report report;
  };

  template <class T>
  outcome<T> take(std::size_t index) {
    // Once all have ended, each part goes as soon as it has been read, while it
    // is in the cache. Before, workers may still be in it.
    auto part = partly() ? parts()[index] : take_part(index);
    if (ended(*part))
      return outcome_of<T>(*part);
    auto rest = look_at(*part);
    return outcome<T>{std::move(rest.why), rest.state, rest.report};
  }

  /// Returns what is known of one that was never begun with.
  unfinished never_begun();

  /// Returns what is known of a request of `group` that has not ended. `began`
  /// says when and where it began; nothing if it was dropped.
  unfinished look_at(batch& group, std::optional<call_report> began,
                     std::string_view label);

  /// Returns whether it completes before all parts have ended.
  bool partly() const noexcept { return still_running_ != nullptr; }

private:
  bool ended(op_state& part) const noexcept;
  unfinished look_at(op_state& part);
  failure_ptr labelled(const failure_ptr& why, std::string_view label);
  void deliver_partly() noexcept;

  enum class phase : std::uint8_t { beginning, begun, expired };

  std::atomic<phase> phase_{phase::beginning};
  std::atomic<bool> over_{false};
  // Why it ends before all parts have, and what that means for a part that
  // waits and for one that runs; set by who set `over_`.
  ec reason_{};
  failure_ptr never_started_;
  failure_ptr still_running_;
};

template <class... Ts>
class settled_tuple final : public settled_state {
public:
  using result_type = std::tuple<outcome<Ts>...>;

  using settled_state::settled_state;

  void* result() override {
    if (!result_)
      collect();
    return &*result_;
  }

private:
  void collect() override { fill(std::index_sequence_for<Ts...>{}); }

  template <std::size_t... Is>
  void fill(std::index_sequence<Is...>) {
    result_.emplace(take<Ts>(Is)...);
  }

  std::optional<result_type> result_;
};

template <class T>
class settled_vector : public settled_state {
public:
  using settled_state::settled_state;

  void* result() override {
    if (!result_)
      collect();
    return &*result_;
  }

protected:
  void collect() override {
    auto& all = make_result(parts().size());
    for (std::size_t i = 0; i < parts().size(); ++i)
      all.push_back(take<T>(i));
  }

  std::vector<outcome<T>>& make_result(std::size_t n) {
    auto& all = result_.emplace();
    all.reserve(n);
    advise_huge_pages(all.data(), all.capacity() * sizeof(outcome<T>));
    return all;
  }

  std::optional<std::vector<outcome<T>>> result_;
};

template <class T>
class settled_call_vector final
    : public gather_of_calls<settled_vector<T>, settled_calls<T>, T> {
public:
  using gather_of_calls<settled_vector<T>, settled_calls<T>,
                        T>::gather_of_calls;

private:
  void collect() override {
    auto group = this->made();
    if (!group) {
      settled_vector<T>::collect();
    } else if (group->done() && !group->failed()) {
      this->result_ = group->take_all();
    } else {
      auto& all = this->make_result(group->size());
      for (std::uint32_t i = 0; i < group->size(); ++i)
        all.push_back(take(*group, i));
    }
  }

  outcome<T> take(settled_calls<T>& group, std::uint32_t index) {
    if (!group.started() && !group.done())
      return rest(this->never_begun());
    if (group.ended(index))
      return group.take(index);
    return rest(this->look_at(group, group.began(index), this->label()));
  }

  static outcome<T> rest(settled_state::unfinished of) {
    return outcome<T>{std::move(of.why), of.state, of.report};
  }
};

/// Whether an outcome can be put into its place for certain.
template <class T>
inline constexpr bool settles_in_place =
    std::is_void_v<T> || std::is_nothrow_move_constructible_v<T>;

/// Waits for all of `ops`, which may be of different types, and tells what came
/// of each.
///
/// Shape:  n operations in, a tuple of n outcomes out, in input order.
/// Errors: none of its own: a failed part is an outcome, and the others go on.
///         Cancelled, it yields an outcome for each part too, when all that had
///         started has returned. With `.timeout` or `.deadline` it delivers at
///         that moment: what has finished, and `ec::deadline_exceeded` for the
///         rest, whose state says whether it ran. What still runs may outlive
///         the wait then: capture by value.
/// Source: asyncio.gather(return_exceptions=True); Promise.allSettled.
template <awaitable_operation... Ops>
auto gather_settled(Ops&&... ops) {
  using state = settled_tuple<typename std::decay_t<Ops>::value_type...>;
  return operation<typename state::result_type>{
      make_ref<state>(consume_all(std::forward<Ops>(ops)...))};
}

/// As above, for operations of the same type.
///
/// Shape:  a vector of outcomes in input order. Single calls of one pool become
///         one batch, and so one submission and one completion.
template <awaitable_operation Op>
operation<std::vector<outcome<typename Op::value_type>>>
gather_settled(std::vector<Op> ops) {
  using value = typename Op::value_type;
  if constexpr (std::is_same_v<Op, operation<value>> && settles_in_place<value>)
    if (auto calls = Op::take_calls(ops))
      return operation<std::vector<outcome<value>>>{
          make_ref<settled_call_vector<value>>(std::move(*calls))};
  return operation<std::vector<outcome<value>>>{
      make_ref<settled_vector<value>>(consume_all(std::move(ops)))};
}

} // namespace troupe
