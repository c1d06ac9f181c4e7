// The batch behind a `gather_settled` of many light calls of one pool. What
// came of each stands where the caller will read it, so that at the end there
// is nothing to collect.

#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "troupe/fast_clock.hpp"
#include "troupe/fetch_early.hpp"
#include "troupe/huge_pages.hpp"
#include "troupe/light_call.hpp"
#include "troupe/outcome_of.hpp"

namespace troupe {

/// One request per call. One that fails does not concern the others.
///
/// Invariants: (1) An outcome belongs to the worker that has claimed its call
///                 until its state is `ended`, and then to who collects.
///             (2) While the state is `running`, all may read when and where
///                 the call began: that is not written any more.
///             (3) Of a call that was dropped the outcome says nothing, and
///                 nobody reads it.
/// `T` can be moved without an exception.
template <class T>
class settled_calls final : public batch_loop<settled_calls<T>> {
public:
  explicit settled_calls(call_row<T> calls)
      : batch_loop<settled_calls>{static_cast<std::uint32_t>(calls.size())},
        calls_{std::move(calls)},
        states_{std::make_unique<member_state[]>(this->size())} {
    outcomes_.reserve(this->size());
    advise_huge_pages(outcomes_.data(), this->size() * sizeof(outcome<T>));
    for (std::uint32_t i = 0; i < this->size(); ++i)
      outcomes_.emplace_back(nullptr, outcome_state::never_started);
  }

  run_result run_one(std::uint32_t index, context& ctx) noexcept {
    calls_.fetch(index + fetch_distance);
    auto begin = ctx.begin_of(index);
    auto& mine = outcomes_[index];
    // Before it is seen to run.
    mine.begin_call(begin - this->submitted_at(), ctx.worker());
    if (leave_waiting(index, member_state::running) != member_state::waiting) {
      this->drop({index, index + 1});
      // It is counted, and there is nothing more to be said about it.
      return run_result::again;
    }
    auto result = run(index, begin, ctx);
    state(index).store(member_state::ended, std::memory_order_release);
    ctx.cell().end_request();
    return result;
  }

  /// Returns the calls, for who makes them in another way. Before the start.
  call_row<T>& calls() noexcept { return calls_; }

  /// Sees to it that the call does not start, unless it has. Returns whether
  /// its outcome is there.
  bool ended(std::uint32_t index) noexcept {
    return leave_waiting(index, member_state::dropped) == member_state::ended;
  }

  /// Returns when and where a call began for which `ended` says no; nothing if
  /// it never will.
  std::optional<call_report> began(std::uint32_t index) noexcept {
    if (state(index).load(std::memory_order_acquire) == member_state::dropped)
      return std::nullopt;
    auto& that = outcomes_[index];
    return call_report{that.waited(), {}, that.worker(), 1};
  }

  /// Moves out the outcome of a call that has ended.
  outcome<T> take(std::uint32_t index) noexcept {
    return std::move(outcomes_[index]);
  }

  /// Moves all out.
  /// @pre each has ended
  std::vector<outcome<T>> take_all() noexcept { return std::move(outcomes_); }

private:
  using member_state = batch::member_state;

  std::atomic_ref<member_state> state(std::uint32_t index) noexcept {
    return std::atomic_ref<member_state>{states_[index]};
  }

  // Returns the state before; only if that was `waiting` has it changed.
  member_state leave_waiting(std::uint32_t index, member_state to) noexcept {
    auto before = member_state::waiting;
    state(index).compare_exchange_strong(before, to, std::memory_order_acq_rel);
    return before;
  }

  run_result run(std::uint32_t index, fast_clock::time_point begin,
                 context& ctx) noexcept {
    auto& mine = outcomes_[index];
    // It goes as soon as it has run, while it is in the cache.
    auto call = calls_.take(index);
    try {
      if constexpr (std::is_void_v<T>)
        call->make(ctx);
      else
        mine.put(call->make(ctx));
      auto ran = ctx.end_of(index) - begin;
      mine.end_call(outcome_state::done, label_record(this->label()), ran);
      return run_result::value;
    } catch (...) {
      if constexpr (!std::is_void_v<T>)
        mine.drop_value();
      auto why =
          make_failure(std::current_exception(), std::string{this->label()},
                       ctx.cell().id(), ctx.cell().name());
      auto how = failed_state(*why, this->stop_requested());
      mine.end_call(how, std::move(why), ctx.end_of(index) - begin);
      return run_result::failed;
    }
  }

  void destroy_input() noexcept override { calls_ = {}; }

  call_row<T> calls_;
  const std::unique_ptr<member_state[]> states_;
  std::vector<outcome<T>> outcomes_;
};

} // namespace troupe
