#include "troupe/context.hpp"

#include <fmt/format.h>

namespace troupe {

std::string context::describe() const {
  std::string text;
  if (!label().empty())
    text = fmt::format("'{}'", label());
  text += batch_.tags_text();
  text += text.empty() ? "worker " : " on worker ";
  text += cell_.name();
  return text;
}

void throw_null_function(const char* operation) {
  throw failure{ec::invalid_option,
                std::string{"cannot "} + operation
                    + " a null function: it would crash the worker; check it "
                      "before"};
}

} // namespace troupe
