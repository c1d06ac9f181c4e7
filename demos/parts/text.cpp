// Bytes as text; see the header.
#include "text.hpp"

#include <fmt/format.h>

#include <array>

namespace parts {

namespace {

// Returns the length of the UTF-8 character that `bytes` begins with, or 0 if
// it begins with none. The table is that of the Unicode standard (3-7):
// no overlong forms, no surrogates, nothing above U+10FFFF.
std::size_t utf8_length(std::string_view bytes) {
  auto at = [&](std::size_t index) {
    return index < bytes.size() ? static_cast<unsigned char>(bytes[index]) : 0u;
  };
  auto within = [&](std::size_t index, unsigned least, unsigned most) {
    return at(index) >= least && at(index) <= most;
  };
  auto follows = [&](std::size_t index) { return within(index, 0x80, 0xBF); };
  auto first = at(0);
  if (first < 0x80)
    return bytes.empty() ? 0 : 1;
  if (first >= 0xC2 && first <= 0xDF)
    return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    auto least = first == 0xE0 ? 0xA0u : 0x80u;
    auto most = first == 0xED ? 0x9Fu : 0xBFu;
    return within(1, least, most) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    auto least = first == 0xF0 ? 0x90u : 0x80u;
    auto most = first == 0xF4 ? 0x8Fu : 0xBFu;
    return within(1, least, most) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

// Calls `valid` with each UTF-8 character and `invalid` with each other byte.
template <class Valid, class Invalid>
void for_each_character(std::string_view bytes, Valid valid, Invalid invalid) {
  while (!bytes.empty()) {
    auto length = utf8_length(bytes);
    if (length > 0)
      valid(bytes.substr(0, length));
    else
      invalid(static_cast<unsigned char>(bytes[0]));
    bytes.remove_prefix(length > 0 ? length : 1);
  }
}

// C0 controls, DEL, and the C1 controls that UTF-8 writes as C2 80 to C2 9F.
bool is_control(std::string_view character) {
  auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1)
    return first < 0x20 || first == 0x7F;
  return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

} // namespace

bool is_utf8(std::string_view bytes) {
  auto result = true;
  for_each_character(
      bytes, [](std::string_view) {}, [&](unsigned char) { result = false; });
  return result;
}

std::string printable(std::string_view bytes) {
  std::string result;
  auto escape = [&](unsigned char byte) {
    if (byte == '\n')
      result += "\\n";
    else
      result += fmt::format("\\x{:02x}", byte);
  };
  for_each_character(
      bytes,
      [&](std::string_view character) {
        if (!is_control(character))
          result += character;
        else
          for (auto byte : character)
            escape(static_cast<unsigned char>(byte));
      },
      escape);
  return result;
}

std::string json_string(std::string_view bytes) {
  std::string result = "\"";
  for_each_character(
      bytes,
      [&](std::string_view character) {
        if (character == "\"" || character == "\\")
          result += '\\';
        if (is_control(character) && character.size() == 1)
          result +=
              fmt::format("\\u{:04x}", static_cast<unsigned>(character[0]));
        else
          result += character;
      },
      [&](unsigned char) { result += "\\ufffd"; });
  return result += '"';
}

std::string hex(std::string_view bytes) {
  std::string result;
  for (auto byte : bytes)
    result += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return result;
}

std::string sha256sum_line(std::string_view digest, std::string_view path) {
  std::string name;
  for (auto byte : path) {
    switch (byte) {
    case '\\':
      name += "\\\\";
      break;
    case '\n':
      name += "\\n";
      break;
    case '\r':
      name += "\\r";
      break;
    default:
      name += byte;
    }
  }
  auto escaped = name.size() != path.size();
  return fmt::format("{}{}  {}", escaped ? "\\" : "", digest, name);
}

std::string human(std::chrono::nanoseconds time) {
  struct unit {
    double ns;
    const char* name;
  };
  static constexpr unit units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}};
  auto value = static_cast<double>(time.count());
  for (const auto& [ns, name] : units) {
    if (value < ns)
      continue;
    auto scaled = value / ns;
    auto digits = scaled < 10 ? 2 : scaled < 100 ? 1 : 0;
    return fmt::format("{:.{}f} {}", scaled, digits, name);
  }
  return fmt::format("{} ns", time.count());
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr std::array units = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, units[unit]);
}

std::string human_count(std::uint64_t count) {
  auto digits = std::to_string(count);
  std::string result;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0)
      result += ',';
    result += digits[i];
  }
  return result;
}

} // namespace parts
