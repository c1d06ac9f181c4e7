// Parsing of targets; see the header.
#include "target.hpp"

#include <strings.h>

#include <utility>

namespace targets {

namespace {

constexpr std::string_view sqlite_prefix = "sqlite:";

bool starts_with_no_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size()
         && strncasecmp(text.data(), prefix.data(), prefix.size()) == 0;
}

} // namespace

std::string_view to_string(kind what) {
  switch (what) {
  case kind::http:
    return "http";
  case kind::sqlite:
    return "sqlite";
  case kind::file:
    break;
  }
  return "file";
}

std::optional<sqlite_parts> split_sqlite(std::string_view text) {
  if (!starts_with_no_case(text, sqlite_prefix))
    return std::nullopt;
  text.remove_prefix(sqlite_prefix.size());
  auto mark = text.find('?');
  if (mark == std::string_view::npos || mark == 0 || mark + 1 == text.size())
    return std::nullopt;
  return sqlite_parts{text.substr(0, mark), text.substr(mark + 1)};
}

target parse_target(std::string text) {
  target result;
  if (starts_with_no_case(text, "http://")
      || starts_with_no_case(text, "https://")) {
    result.what = kind::http;
  } else if (starts_with_no_case(text, sqlite_prefix)) {
    result.what = kind::sqlite;
    if (!split_sqlite(text))
      result.problem = "not of the form sqlite:FILE?QUERY";
  }
  // C interfaces end a name at its first NUL, so this one would silently ask
  // for something else.
  if (text.find('\0') != std::string::npos)
    result.problem = "contains a NUL byte";
  result.text = std::move(text);
  return result;
}

} // namespace targets
