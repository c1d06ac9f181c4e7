#include "troupe/shield.hpp"

namespace troupe {

shield_state::shield_state(ref_ptr<op_state> inner)
    : inner_{std::move(inner)} {}

shield_state::~shield_state() {
  if (!started())
    inner_->forget();
}

void shield_state::begin() {
  // Released by `on_complete`, since the inner one may outlive the wait.
  ref();
  inner_->start();
  if (!inner_->attach(*this))
    on_complete(*inner_);
}

void shield_state::on_complete(op_state&) noexcept {
  ref_ptr<shield_state> keep{this, adopt_ref};
  if (!over_.exchange(true, std::memory_order_acq_rel))
    finish_with(inner_->failed());
}

void shield_state::stop(ec why) noexcept {
  if (over_.exchange(true, std::memory_order_acq_rel))
    return;
  runs_on_ = true;
  finish_with(make_failure(why,
                           "the wait for a shielded operation was cancelled; "
                           "the operation runs on",
                           true, std::string{label_text()}));
}

void shield_state::drop(ec why) noexcept {
  if (!inner_->started())
    inner_->end_progress();
  inner_->forget();
  plain_op::drop(why);
}

} // namespace troupe
