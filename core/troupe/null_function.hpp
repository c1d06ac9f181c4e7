// Refuses functions that cannot be called where they are given, by name, and
// not where a worker would crash on them.

#pragma once

#include <cstddef>
#include <type_traits>

namespace troupe {

[[noreturn]] void throw_null_function(const char* operation);

/// Throws `failure` with `ec::invalid_option` if `fn` is an empty std::function
/// or a null pointer; "cannot OPERATION a null function".
template <class F>
void refuse_null(const F& fn, const char* operation) {
  if constexpr (std::is_pointer_v<F> || std::is_member_pointer_v<F>) {
    if (fn == nullptr)
      throw_null_function(operation);
  } else if constexpr (std::is_constructible_v<F, std::nullptr_t> && requires {
                         static_cast<bool>(fn);
                       }) {
    if (!static_cast<bool>(fn))
      throw_null_function(operation);
  }
}

} // namespace troupe
