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

private:
  bool partly() const noexcept { return still_running_ != nullptr; }

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
class settled_vector final : public settled_state {
public:
  using settled_state::settled_state;

  void* result() override {
    if (!result_)
      collect();
    return &*result_;
  }

private:
  void collect() override {
    auto& all = result_.emplace();
    all.reserve(parts().size());
    advise_huge_pages(all.data(), all.capacity() * sizeof(outcome<T>));
    for (std::size_t i = 0; i < parts().size(); ++i)
      all.push_back(take<T>(i));
  }

  std::optional<std::vector<outcome<T>>> result_;
};

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
  return operation<std::vector<outcome<value>>>{
      make_ref<settled_vector<value>>(consume_all(std::move(ops)))};
}

} // namespace troupe
