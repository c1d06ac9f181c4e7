// Tags, attributes and entities; see the header.
#include "markup.hpp"

#include <cctype>
#include <vector>

namespace test {

namespace {

bool is_name(char what) {
  return std::isalnum(static_cast<unsigned char>(what)) != 0 || what == '-';
}

std::string_view name_of(std::string_view text) {
  std::size_t end = 0;
  while (end < text.size() && is_name(text[end]))
    ++end;
  return text.substr(0, end);
}

std::string why_not_text(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '>' || text[i] == '<')
      return "a bare " + std::string{text.substr(i, 20)};
    if (text[i] != '&')
      continue;
    auto entity = text.substr(i, text.substr(i).find(';') + 1);
    if (entity != "&amp;" && entity != "&lt;" && entity != "&gt;"
        && entity != "&quot;")
      return "no entity: " + std::string{text.substr(i, 20)};
  }
  return {};
}

// Takes a name, an equals sign and a value in double quotes off the front.
bool take_attribute(std::string_view& rest, std::string& problem) {
  auto blank = rest.find_first_not_of(" \n");
  if (blank == std::string_view::npos)
    return false;
  rest.remove_prefix(blank);
  auto name = name_of(rest);
  auto value = rest.substr(name.size());
  auto end = value.size() > 2 ? value.find('"', 2) : std::string_view::npos;
  if (name.empty() || !value.starts_with("=\"")
      || end == std::string_view::npos) {
    problem = "no attribute: " + std::string{rest.substr(0, 20)};
    return false;
  }
  problem = why_not_text(value.substr(2, end - 2));
  rest = value.substr(end + 1);
  return problem.empty();
}

} // namespace

std::string why_not_well_formed(std::string_view page) {
  constexpr std::string_view type = "<!DOCTYPE html>\n";
  if (!page.starts_with(type))
    return "no document type";
  page.remove_prefix(type.size());
  std::vector<std::string_view> open;
  while (!page.empty()) {
    auto text = page.substr(0, page.find('<'));
    if (auto problem = why_not_text(text); !problem.empty())
      return problem;
    page.remove_prefix(text.size());
    if (page.empty())
      break;
    auto end = page.find('>');
    if (end == std::string_view::npos)
      return "a tag without end";
    auto tag = page.substr(1, end - 1);
    page.remove_prefix(end + 1);
    if (tag.starts_with("/")) {
      if (open.empty() || open.back() != tag.substr(1))
        return "closes what is not open: " + std::string{tag};
      open.pop_back();
      continue;
    }
    auto alone = tag.ends_with("/");
    if (alone)
      tag.remove_suffix(1);
    auto name = name_of(tag);
    if (name.empty())
      return "no tag: " + std::string{tag};
    auto rest = tag.substr(name.size());
    std::string problem;
    while (take_attribute(rest, problem)) {
    }
    if (!problem.empty())
      return problem;
    if (!alone)
      open.push_back(name);
  }
  return open.empty() ? std::string{}
                      : "not closed: " + std::string{open.back()};
}

std::size_t occurrences(std::string_view text, std::string_view what) {
  std::size_t result = 0;
  for (auto at = text.find(what); at != std::string_view::npos;
       at = text.find(what, at + 1))
    ++result;
  return result;
}

} // namespace test
