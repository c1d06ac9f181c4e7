// What the fuzzing programs share: one function that takes any bytes, and a way
// to say that a promise is broken.

#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace fuzz {

/// Each program has its own.
void run(std::string_view input);

/// Ends the process if `holds` is false.
inline void require(bool holds, const char* otherwise) {
  if (holds)
    return;
  std::fprintf(stderr, "fuzz: %s\n", otherwise);
  std::abort();
}

} // namespace fuzz
