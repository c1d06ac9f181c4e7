#include "troupe/op_state.hpp"

#include "troupe/wait_graph.hpp"
#include "troupe/worker_cell.hpp"

namespace troupe {

parker& this_thread_parker() noexcept {
  static thread_local parker instance;
  return instance;
}

bool op_state::modify(const modifiers&) {
  return false;
}

void op_state::set_deadline(clock::time_point) noexcept {}

ref_ptr<op_state> op_state::copy() const {
  return nullptr;
}

bool op_state::complete_partly(ec) noexcept {
  return false;
}

bool op_state::hangs(hang_check&) noexcept {
  return false;
}

void op_state::wait() {
  help();
  if (auto patience = spin(); patience.count() > 0) {
    auto until = std::chrono::steady_clock::now() + patience;
    while (!done() && std::chrono::steady_clock::now() < until)
      pause();
  }
  if (auto cell = worker_cell::current()) {
    blocked_worker{*cell, *this}.wait();
    return;
  }
  unpark_thread wake{this_thread_parker()};
  if (attach(wake))
    this_thread_parker().park();
}

// -- plain_op -----------------------------------------------------------------

void plain_op::set_label(std::string label) {
  label_ = std::move(label);
}

void plain_op::set_stop_token(std::stop_token token) {
  token_ = std::move(token);
}

void plain_op::set_notify(ref_ptr<completion_sink> sink) {
  notify_ = std::move(sink);
}

void plain_op::cancel(ec why) noexcept {
  if (skip_start()) {
    // Released by `finish`.
    ref();
    drop(why);
  } else if (!done()) {
    // Else it may have been dropped, and does not know how to stop.
    asked_to_stop_.store(true, std::memory_order_release);
    stop(why);
  }
}

void plain_op::drop(ec why) noexcept {
  finish_with(make_failure(why,
                           "it was cancelled before it had begun" + tags_text(),
                           false, std::string{label_text()}));
}

void plain_op::do_start() {
  // Released by `finish`.
  ref();
  ref_ptr<plain_op> keep{this};
  if (token_.stop_requested()) {
    drop(ec::cancelled);
    return;
  }
  if (measured_)
    began_at_ = std::chrono::steady_clock::now();
  begin();
  // After `begin`, so that the cancel finds something to cancel. A token that
  // was stopped meanwhile calls back right here.
  if (token_.stop_possible() && !done())
    on_stop_.emplace(token_, cancel_op{this});
}

void plain_op::finish() noexcept {
  auto notify = std::move(notify_);
  if (measured_ && began_at_ != std::chrono::steady_clock::time_point{})
    ended_at_ = std::chrono::steady_clock::now();
  complete();
  if (notify)
    notify->on_operation_complete();
  deref();
}

void plain_op::finish_with(failure_ptr failure) noexcept {
  failure_ = std::move(failure);
  finish();
}

} // namespace troupe
