#include "troupe/outcome.hpp"

namespace troupe {

std::string_view to_string(outcome_state state) noexcept {
  switch (state) {
  case outcome_state::done:
    return "done";
  case outcome_state::failed:
    return "failed";
  case outcome_state::never_started:
    return "never_started";
  case outcome_state::stopped:
    return "stopped";
  case outcome_state::still_running:
    return "still_running";
  }
  return "unknown state";
}

outcome_state failed_state(const failure_record& record,
                           bool asked_to_stop) noexcept {
  switch (record.code) {
  case ec::request_failed:
  case ec::worker_lost:
  case ec::node_lost:
    // These say by themselves that the call ran.
    break;
  default:
    if (!record.started)
      return outcome_state::never_started;
  }
  return asked_to_stop ? outcome_state::stopped : outcome_state::failed;
}

std::exception_ptr outcome_base::exception() const {
  if (*this)
    return nullptr;
  if (record_->exception)
    return record_->exception;
  return std::make_exception_ptr(failure{record_->code, record_->text,
                                         record_->started, record_->label,
                                         record_->worker});
}

} // namespace troupe
