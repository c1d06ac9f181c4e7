// Turns the state of an operation that is complete into an outcome: the step
// that all who deliver outcomes share.

#pragma once

#include <type_traits>
#include <utility>

#include "troupe/op_state.hpp"
#include "troupe/outcome.hpp"

namespace troupe {

/// Moves the result of `part` out, or says why there is none.
/// @pre `part.done()`, and its result has type `T`
template <class T>
outcome<T> outcome_of(op_state& part) {
  auto report = part.report();
  if (const auto& why = part.failed()) {
    auto state = failed_state(*why, part.asked_to_stop());
    if (report.worker == 0)
      report.worker = why->worker;
    return outcome<T>{why, state, report};
  }
  if constexpr (std::is_void_v<T>)
    return outcome<T>{report};
  else
    return outcome<T>{std::move(*static_cast<T*>(part.result())), report};
}

} // namespace troupe
