// What came of asking for one target. A failed target is a result like any
// other, so that it never ends the stream that it is part of.
#pragma once

#include "target.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace targets {

struct result {
  target what;

  /// Why it failed, in words that follow the target's name and a colon; empty
  /// if it succeeded.
  std::string error;

  /// It failed because the run was stopped while it was under way.
  bool stopped = false;

  /// How long the blocking call took.
  std::chrono::nanoseconds took{0};

  /// Of the bytes of a file: 64 hexadecimal digits. Empty for other kinds.
  std::string sha256;

  /// Size of a file or of the body of a page.
  std::uint64_t bytes = 0;

  /// HTTP status; 0 if no answer came.
  long status = 0;

  /// Rows that a query gave.
  std::uint64_t rows = 0;

  bool ok() const noexcept { return error.empty(); }
};

} // namespace targets
