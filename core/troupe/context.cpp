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

} // namespace troupe
