// Lets libFuzzer make up the input.

#include "fuzz.hpp"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  fuzz::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
