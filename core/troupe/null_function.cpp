#include "troupe/null_function.hpp"

#include <string>

#include "troupe/error.hpp"

namespace troupe {

void throw_null_function(const char* operation) {
  throw failure{ec::invalid_option,
                std::string{"cannot "} + operation
                    + " a null function: it would crash the worker; check it "
                      "before"};
}

} // namespace troupe
