#include "troupe/admission.hpp"

#include "troupe/caf_compat.hpp"
#include "troupe/dispatcher.hpp"
#include "troupe/port.hpp"
#include "troupe/unobserved.hpp"

namespace troupe {

namespace {

/// Wakes a thread that waits for room.
class thread_waiter final : public room_waiter {
public:
  explicit thread_waiter(parker& sleeper) noexcept : sleeper_{sleeper} {}

  void on_room() noexcept override { sleeper_.unpark(); }

private:
  parker& sleeper_;
};

} // namespace

void await_room(const op_state& op) {
  auto home = op.queue();
  if (home == nullptr || !home->crowded() || worker_cell::current() != nullptr
      || port::draining_here() || compat::on_scheduler_thread())
    return;
  thread_waiter waiter{this_thread_parker()};
  if (home->await_room(waiter))
    this_thread_parker().park();
}

admission_state::~admission_state() {
  if (!taken_ && inner_->started())
    leave_unobserved(*inner_);
}

void admission_state::begin() {
  inner_->start();
  auto home = inner_->queue();
  if (home == nullptr || !home->await_room(*this))
    finish();
}

void admission_state::stop(ec why) noexcept {
  // First, since the cancel makes room.
  auto home = inner_->queue();
  auto waited = home != nullptr && home->forget_room(*this);
  inner_->cancel(why);
  if (waited)
    finish_with(make_failure(why,
                             "the wait for room in the queue was cancelled",
                             false, std::string{label_text()}));
}

void admission_state::drop(ec why) noexcept {
  inner_->forget();
  plain_op::drop(why);
}

} // namespace troupe
