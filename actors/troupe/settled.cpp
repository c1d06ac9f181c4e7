#include "troupe/settled.hpp"

#include <algorithm>
#include <chrono>

#include "troupe/batch.hpp"

namespace troupe {

using member_state = batch::member_state;

void settled_state::begin() {
  // Released by `end`, which may come long after a deadline.
  ref();
  gather_state::begin();
  // Only now is it certain what has started.
  if (phase_.exchange(phase::begun, std::memory_order_seq_cst)
      == phase::expired)
    deliver_partly();
}

void settled_state::end() noexcept {
  ref_ptr<settled_state> keep{this, adopt_ref};
  if (!over_.exchange(true, std::memory_order_acq_rel))
    gather_state::end();
}

void settled_state::drop(ec why) noexcept {
  if (why != ec::deadline_exceeded && has_started_part()) {
    stop(why);
    begin();
    return;
  }
  end_progress();
  for (auto& part : parts())
    if (part->started())
      part->cancel(why);
    else
      part->forget();
  never_started_ =
      make_failure(why,
                   why == ec::deadline_exceeded
                       ? "the deadline had passed before it was started"
                       : "it was cancelled before it had begun",
                   false, label());
  over_ = true;
  finish();
}

bool settled_state::complete_partly(ec why) noexcept {
  if (!started()) {
    cancel(why);
    return true;
  }
  reason_ = why;
  if (phase_.exchange(phase::expired, std::memory_order_seq_cst)
      == phase::begun)
    deliver_partly();
  return true;
}

void settled_state::deliver_partly() noexcept {
  if (over_.exchange(true, std::memory_order_acq_rel))
    return;
  stop(reason_);
  never_started_ = make_failure(
      reason_, "the deadline passed before a worker took it", false, label());
  still_running_ = make_failure(
      reason_,
      "the deadline passed while it was running; it was asked to stop, and its "
      "outcome will be dropped",
      true, label());
  collect();
  gather_state::end();
}

bool settled_state::ended(op_state& part) const noexcept {
  auto calls = part.as_batch();
  if (!calls || !calls->in_group())
    return part.done();
  // Dropped here, it cannot start any more.
  return !calls->drop_member() && calls->member() == member_state::ended;
}

settled_state::unfinished settled_state::look_at(op_state& part) {
  auto label = part.label_text();
  auto calls = part.as_batch();
  if (!calls || !calls->in_group()) {
    if (partly() && part.started())
      return {
          labelled(still_running_, label), outcome_state::still_running, {}};
    return {labelled(never_started_, label), outcome_state::never_started, {}};
  }
  // Those of one pool are in one group.
  batch* group = nullptr;
  for (auto each : groups())
    if (each->home() == calls->home())
      group = each;
  if (calls->member() == member_state::dropped)
    return look_at(*group, std::nullopt, label);
  return look_at(*group, calls->report(), label);
}

settled_state::unfinished
settled_state::look_at(batch& group, std::optional<call_report> began,
                       std::string_view label) {
  auto elapsed = std::chrono::steady_clock::now() - group.submitted_at();
  if (!began) {
    auto why = never_started_ ? never_started_ : group.failed();
    // Others of its group may have started.
    if (why->started)
      why = make_failure(why->code, why->text, false, why->label);
    return {labelled(why, label),
            outcome_state::never_started,
            {.waited = elapsed}};
  }
  // When it began was read from another clock.
  auto ran = std::max(elapsed - began->waited, std::chrono::nanoseconds{0});
  call_report so_far{began->waited, ran, began->worker, 1};
  if (partly())
    return {labelled(still_running_, label), outcome_state::still_running,
            so_far};
  // All that had started has returned, but for those whose worker never will.
  return {make_failure(ec::worker_lost,
                       "its worker ended while it ran the call", true,
                       std::string{label}, began->worker),
          outcome_state::failed, so_far};
}

settled_state::unfinished settled_state::never_begun() {
  return {labelled(never_started_, label()), outcome_state::never_started, {}};
}

failure_ptr settled_state::labelled(const failure_ptr& why,
                                    std::string_view label) {
  if (label.empty())
    return why;
  return make_failure(why->code, why->text, why->started, std::string{label});
}

} // namespace troupe
