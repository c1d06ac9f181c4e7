#include "troupe/escape.hpp"

#include <cstddef>

#include <fmt/format.h>

namespace troupe {

namespace {

// How many bytes the character takes that begins `text`; 0 if it is none.
std::size_t character_size(std::string_view text) noexcept {
  auto byte = [&](std::size_t i) {
    return static_cast<unsigned char>(text[i]);
  };
  auto first = byte(0);
  if (first < 0x80)
    return 1;
  auto size = first >= 0xF0   ? std::size_t{4}
              : first >= 0xE0 ? std::size_t{3}
                              : std::size_t{2};
  if (first < 0xC2 || first > 0xF4 || text.size() < size)
    return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xC0) != 0x80)
      return 0;
  // Longer than needed, a surrogate, or beyond the last character.
  auto second = byte(1);
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)
      || (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F))
    return 0;
  return size;
}

} // namespace

std::string valid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    auto size = character_size(text);
    if (size == 0)
      result += '?';
    else
      result += text.substr(0, size);
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return result;
}

std::string json_string(std::string_view text) {
  std::string result{'"'};
  for (auto c : valid_utf8(text))
    if (c == '"' || c == '\\')
      (result += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      result += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      result += c;
  return result += '"';
}

std::string metric_label(std::string_view text) {
  std::string result{'"'};
  for (auto c : valid_utf8(text))
    if (c == '"' || c == '\\')
      (result += '\\') += c;
    else if (c == '\n')
      result += "\\n";
    else
      result += c;
  return result += '"';
}

} // namespace troupe
