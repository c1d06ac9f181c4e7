// Turns the state of an operation that is complete into an outcome: the step
// that all who deliver outcomes share.

#pragma once

#include <string_view>
#include <type_traits>
#include <utility>

#include "troupe/op_state.hpp"
#include "troupe/outcome.hpp"

namespace troupe {

/// Returns a record that carries nothing but the label, for an outcome with a
/// value; null for none.
inline failure_ptr label_record(std::string_view label) {
  if (label.empty())
    return nullptr;
  auto record = make_ref<failure_record>();
  record->label = label;
  return record;
}

/// Moves the result of `part` out, or says why there is none.
/// @pre `part.done()`, and its result has type `T`
template <class T>
outcome<T> outcome_of(op_state& part) {
  auto report = part.report();
  if (const auto& why = part.failed()) {
    auto state = part.runs_on() ? outcome_state::still_running
                                : failed_state(*why, part.asked_to_stop());
    if (report.worker == 0)
      report.worker = why->worker;
    return outcome<T>{why, state, report};
  }
  auto label = label_record(part.label_text());
  if constexpr (std::is_void_v<T>)
    return outcome<T>{report, std::move(label)};
  else
    return outcome<T>{std::move(*static_cast<T*>(part.result())), report,
                      std::move(label)};
}

} // namespace troupe
