#include "troupe/first.hpp"

#include <fmt/format.h>

namespace troupe {

race_state::race_state(std::vector<ref_ptr<op_state>> parts, goal wanted,
                       rest others)
    : parts_{std::move(parts)}, goal_{wanted}, rest_{others} {}

race_state::~race_state() {
  if (!started())
    forget_parts(0);
}

void race_state::begin() {
  if (parts_.empty()) {
    over_ = true;
    finish_with(make_failure(ec::invalid_option,
                             "cannot wait for the first of no operations: pass "
                             "at least one",
                             false, label()));
    return;
  }
  ends_ = std::make_unique<lane_end[]>(parts_.size());
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    auto& part = *parts_[i];
    auto why = stop_reason_.load(std::memory_order_seq_cst);
    // What was not started when the race was over never will.
    if (why != ec{}) {
      forget_parts(i);
      return;
    }
    ends_[i].race = this;
    ends_[i].index = i;
    // Released by `lane_end::on_complete`.
    ref();
    if (!part.started())
      part.measure();
    part.start();
    begun_.store(i + 1, std::memory_order_seq_cst);
    // Whoever ended the race meanwhile has passed over this part, unless it saw
    // that it had begun.
    why = stop_reason_.load(std::memory_order_seq_cst);
    if (why != ec{}) {
      part.cancel(why);
      part.end_progress();
    }
    if (!part.attach(ends_[i]))
      ends_[i].on_complete(part);
  }
}

void race_state::lane_end::on_complete(op_state& part) noexcept {
  ref_ptr<race_state> keep{race, adopt_ref};
  race->arrive(index, part);
}

void race_state::arrive(std::size_t index, op_state& part) noexcept {
  failure_ptr why;
  if (goal_ == goal::success && part.failed()) {
    if (failures_.fetch_add(1, std::memory_order_acq_rel) + 1 < parts_.size())
      return;
    why = all_failed(*part.failed());
  }
  if (over_.exchange(true, std::memory_order_acq_rel))
    return;
  winner_ = index;
  // First, so that nothing of the rest starts behind the delivery.
  if (rest_ == rest::cancel)
    cancel_parts(ec::cancelled);
  finish_with(std::move(why));
}

failure_ptr race_state::all_failed(const failure_record& last) const {
  auto text = parts_.size() == 1
                  ? fmt::format("the only operation failed: {}", last.text)
                  : fmt::format("all {} operations failed, the last with: {}",
                                parts_.size(), last.text);
  try {
    try {
      rethrow(last);
    } catch (...) {
      std::throw_with_nested(failure{last.code, text, true, label()});
    }
  } catch (...) {
    return make_failure(std::current_exception(), label(), 0, {});
  }
}

void race_state::cancel_parts(ec why) noexcept {
  auto none = ec{};
  stop_reason_.compare_exchange_strong(none, why, std::memory_order_seq_cst);
  auto begun = begun_.load(std::memory_order_seq_cst);
  for (std::size_t i = 0; i < begun; ++i)
    if (!parts_[i]->done()) {
      parts_[i]->cancel(why);
      // It may run on, unheard.
      parts_[i]->end_progress();
    }
}

void race_state::stop(ec why) noexcept {
  if (over_.exchange(true, std::memory_order_acq_rel))
    return;
  if (rest_ == rest::cancel)
    cancel_parts(why);
  finish_with(make_failure(
      why, "the wait for the first of several operations was cancelled", true,
      label()));
}

void race_state::forget_parts(std::size_t from) noexcept {
  for (auto i = from; i < parts_.size(); ++i)
    parts_[i]->forget();
}

void race_state::drop(ec why) noexcept {
  for (auto& part : parts_) {
    if (rest_ == rest::cancel && part->started())
      part->cancel(why);
    part->end_progress();
  }
  forget_parts(0);
  plain_op::drop(why);
}

void race_state::help() noexcept {
  // A worker that waits for its own pool must run one of them itself, and may
  // then be held up by it.
  auto begun = begun_.load(std::memory_order_seq_cst);
  for (std::size_t i = 0; i < begun && !done(); ++i)
    parts_[i]->help();
}

} // namespace troupe
