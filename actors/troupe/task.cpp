#include "troupe/task.hpp"

namespace troupe {

task_state::task_state(caf::event_based_actor* self,
                       std::coroutine_handle<> frame)
    : port_{&port::of(self)}, frame_{frame} {
  port_->add(static_cast<port_resident&>(*this));
}

// -- for the frame ------------------------------------------------------------

void task_state::set_awaited(op_state* op) noexcept {
  awaited_ = op;
  if (auto patron = port_->patron())
    patron->awaits(*this, op);
}

bool task_state::hangs(hang_check& check) noexcept {
  auto patron = port_->patron();
  return patron && patron->task_hangs(*this, check);
}

void task_state::set_exception(std::exception_ptr what) {
  failure_ = make_failure(std::move(what), label(), 0, {});
}

void task_state::end_of_body() noexcept {
  destroy_frame();
  finish();
}

void task_state::lose_frame() noexcept {
  destroy_frame();
  finish_with(make_failure(ec::owner_gone,
                           "the actor in which the task lived has ended", true,
                           label()));
}

void task_state::forget() noexcept {
  ref_ptr<task_state> keep{this};
  if (skip_start())
    destroy_frame();
}

void task_state::destroy_frame() noexcept {
  if (!frame_)
    return;
  port_->remove(static_cast<port_resident&>(*this));
  std::exchange(frame_, {}).destroy();
}

// -- operation ----------------------------------------------------------------

void task_state::begin() {
  port_->post(static_cast<port_item&>(*this));
}

void task_state::drop(ec why) noexcept {
  cancel_reason_.store(why, std::memory_order_seq_cst);
  begin();
}

void task_state::stop(ec why) noexcept {
  auto none = ec{};
  if (done()
      || !cancel_reason_.compare_exchange_strong(none, why,
                                                 std::memory_order_seq_cst))
    return;
  // Released when the item has run.
  ref();
  port_->post(cancel_item_);
}

// -- on the actor's thread ----------------------------------------------------

void task_state::run() {
  auto why = cancel_reason_.load(std::memory_order_seq_cst);
  if (why != ec{}) {
    destroy_frame();
    finish_with(make_failure(why, "the task was cancelled before it had begun",
                             false, label()));
    return;
  }
  entered_ = true;
  frame_.resume();
}

void task_state::abandon() noexcept {
  destroy_frame();
  finish_with(make_failure(ec::owner_gone,
                           "the actor in which the task was to live has ended",
                           false, label()));
}

void task_state::owner_gone() noexcept {
  // A frame that was entered is suspended in an operation, whose waiter sees to
  // it once the operation is complete.
  if (!entered_)
    destroy_frame();
}

void task_state::cancel_item::run() {
  ref_ptr<task_state> keep{&task, adopt_ref};
  if (!task.frame_ || !task.entered_)
    return;
  task.cancelled_ = true;
  if (task.awaited_)
    task.awaited_->cancel(task.cancel_reason_.load());
}

void task_state::cancel_item::abandon() noexcept {
  ref_ptr<task_state> keep{&task, adopt_ref};
}

} // namespace troupe
