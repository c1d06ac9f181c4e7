// Keeps a cancel away from an operation: asyncio.shield. Whoever waits may give
// up; what was shielded runs on to its end.

#pragma once

#include <atomic>
#include <type_traits>
#include <utility>

#include "troupe/gather.hpp"
#include "troupe/operation.hpp"

namespace troupe {

/// Waits for another operation without ever cancelling it.
class shield_state final : public plain_op, private continuation {
public:
  explicit shield_state(ref_ptr<op_state> inner);

  ~shield_state() override;

  void* result() override { return inner_->result(); }

  void help() noexcept override { inner_->help(); }

  bool hangs(hang_check& check) noexcept override {
    return !inner_->done() && inner_->hangs(check);
  }

  dispatcher* queue() const noexcept override { return inner_->queue(); }

  std::chrono::nanoseconds spin() const noexcept override {
    return inner_->spin();
  }

  void measure() noexcept override {
    plain_op::measure();
    if (!inner_->started())
      inner_->measure();
  }

  call_report report() const noexcept override {
    return inner_->done() ? inner_->report() : plain_op::report();
  }

  bool runs_on() const noexcept override { return runs_on_; }

  std::string tags_text() const override { return inner_->tags_text(); }

  std::string_view label_text() const noexcept override {
    return label().empty() ? inner_->label_text() : label();
  }

protected:
  void begin() override;

  void stop(ec why) noexcept override;

  void drop(ec why) noexcept override;

private:
  void on_complete(op_state&) noexcept override;

  ref_ptr<op_state> inner_;
  std::atomic<bool> over_{false};
  // Written before the wait is complete.
  bool runs_on_ = false;
};

/// Waits for `op`, but cancelling the wait does not cancel `op`: the wait ends
/// at once, and `op` runs on to its end, unheard.
///
/// What `op` refers to must outlive it, not only the wait; capture by value.
///
/// Errors: those of `op`; `failure` with `ec::cancelled` (or why else it was
///         cancelled) if the wait ended first; `started()` is true then. One
///         that is cancelled before it was consumed starts nothing. Stop tokens
///         of `op` itself still reach it.
/// Source: asyncio.shield; anyio.CancelScope(shield=True).
template <awaitable_operation Op>
auto shield(Op&& op) {
  using value = typename std::decay_t<Op>::value_type;
  return operation<value>{
      make_ref<shield_state>(operation<value>(std::forward<Op>(op)).consume())};
}

} // namespace troupe
