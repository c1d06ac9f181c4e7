// Quoting rules; see the header.
#include "command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace tune {

namespace {

constexpr std::string_view place = "{}";
constexpr std::string_view blanks = " \t\r\n\v\f";

bool is_blank(char what) {
  return blanks.find(what) != std::string_view::npos;
}

constexpr std::array shell_only = {"|",  "||", "&",  "&&",  ";",
                                   "<",  ">",  ">>", "2>",  "2>&1",
                                   "&>", "|&", "<<", "2>>", ">|"};

bool has_place(std::string_view word) {
  return word.find(place) != std::string_view::npos;
}

} // namespace

command::command(std::string_view text) {
  std::string word;
  auto begun = false;
  auto quoted = false;
  auto end_word = [&] {
    if (!begun)
      return;
    if (!quoted
        && std::find(shell_only.begin(), shell_only.end(), word)
               != shell_only.end())
      throw std::invalid_argument{fmt::format(
          "'{}' means nothing without a shell (accepted: sh -c '... \"$1\" "
          "...' sh {{}}, or \\{} for the word itself)",
          word, word)};
    words_.push_back(std::move(word));
    word.clear();
    begun = quoted = false;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto now = text[i];
    if (is_blank(now)) {
      end_word();
      continue;
    }
    begun = true;
    if (now == '\'' || now == '"') {
      auto end = text.find(now, i + 1);
      if (end == std::string_view::npos)
        throw std::invalid_argument{
            fmt::format("a quote {} is not closed (accepted: another one, or "
                        "\\{} for the character itself)",
                        now, now)};
      word += text.substr(i + 1, end - i - 1);
      quoted = true;
      i = end;
    } else if (now == '\\') {
      if (i + 1 == text.size())
        throw std::invalid_argument{"nothing follows the last backslash "
                                    "(accepted: \\\\ for the character "
                                    "itself)"};
      word += text[++i];
      quoted = true;
    } else {
      word += now;
    }
  }
  end_word();
  if (words_.empty() || words_.front().empty())
    throw std::invalid_argument{"no program (accepted: a program and its "
                                "arguments, '{}' where the line belongs)"};
  if (has_place(program()))
    throw std::invalid_argument{"the program is a line of the input "
                                "(accepted: a program that is there before, "
                                "such as env {})"};
}

bool command::takes_line() const {
  return std::any_of(words_.begin(), words_.end(), has_place);
}

std::vector<std::string> command::words_for(const std::string& line) const {
  std::vector<std::string> result;
  result.reserve(words_.size());
  for (const auto& word : words_) {
    auto& made = result.emplace_back();
    std::size_t done = 0;
    for (;;) {
      auto at = word.find(place, done);
      made += word.substr(done, at - done);
      if (at == std::string::npos)
        break;
      made += line;
      done = at + place.size();
    }
  }
  return result;
}

std::string command::as_xargs(std::size_t workers) const {
  auto text = fmt::format("xargs -d '\\n' -P {} -I {{}}", workers);
  for (const auto& word : words_)
    text += fmt::format(" {}", shell_word(word));
  return text;
}

std::string shell_word(std::string_view word) {
  constexpr std::string_view harmless =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
      "_-+=./:,@%{}";
  if (!word.empty()
      && word.find_first_not_of(harmless) == std::string_view::npos)
    return std::string{word};
  std::string result = "'";
  for (auto byte : word)
    if (byte == '\'')
      result += "'\\''";
    else
      result += byte;
  return result += '\'';
}

// -- error_lines --------------------------------------------------------------

void error_lines::keep(std::string_view line, std::string& first,
                       std::string& last) {
  if (line.find_first_not_of(blanks) == std::string_view::npos)
    return;
  (first.empty() ? first : last) = line;
}

void error_lines::add(std::string_view bytes) {
  for (auto byte : bytes)
    if (byte == '\n') {
      keep(line_, first_, last_);
      line_.clear();
    } else if (line_.size() < longest) {
      line_ += byte;
    }
}

std::string error_lines::text() const {
  auto first = first_;
  auto last = last_;
  keep(line_, first, last);
  return last.empty() ? first : first + " ... " + last;
}

} // namespace tune
