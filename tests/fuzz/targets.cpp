// Every text that the demos parse: what a user types as a target of fanout, a
// URL's place in a mirror, a command of tune, the lines of a list, and bytes on
// their way to a terminal, to JSON or into a sha256sum list.

#include "fuzz.hpp"

#include "mirror/place.hpp"
#include "parts/line_reader.hpp"
#include "parts/text.hpp"
#include "targets/target.hpp"
#include "tune/command.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace {

void check_target(const std::string& text) {
  auto made = targets::parse_target(text);
  fuzz::require(made.text == text || !made.problem.empty(),
                "a target that changed its text");
  if (auto parts = targets::split_sqlite(text))
    fuzz::require(!parts->file.empty() && !parts->query.empty(),
                  "a query without file or text");
}

// A place is a path below the folder, whatever the URL.
void check_place(const std::string& url) {
  mirror::place found;
  try {
    found = mirror::place_of(url);
  } catch (const std::invalid_argument&) {
    return;
  }
  std::string_view rest = found.path;
  fuzz::require(!rest.empty() && rest.front() != '/', "no relative path");
  while (true) {
    auto end = std::min(rest.find('/'), rest.size());
    auto part = rest.substr(0, end);
    fuzz::require(!part.empty() && part != "." && part != ".."
                      && part.size() <= 255,
                  "a part that is no name of a file");
    fuzz::require(std::all_of(part.begin(), part.end(),
                              [](char c) { return c > ' ' && c < '\x7f'; }),
                  "a byte that is not visible");
    if (end == rest.size())
      return;
    rest.remove_prefix(end + 1);
  }
}

// A command has a program, and the same words for every line but for the line.
void check_command(const std::string& text) {
  try {
    tune::command made{text};
    auto words = made.words_for("a b");
    fuzz::require(!made.program().empty() && words.front() == made.program(),
                  "a command without its program");
    fuzz::require(words.size() == made.words_for("").size(),
                  "a line that was taken apart");
    fuzz::require((words == made.words_for("c")) == !made.takes_line(),
                  "a line that is not where it belongs");
  } catch (const std::invalid_argument&) {
  }
  tune::error_lines lines;
  lines.add(text);
  fuzz::require(lines.text().find('\n') == std::string::npos,
                "a line of errors with a line break inside");
}

void check_text(const std::string& text) {
  auto shown = parts::printable(text);
  fuzz::require(parts::is_utf8(shown), "printable text that is not UTF-8");
  auto quoted = parts::json_string(text);
  fuzz::require(std::none_of(quoted.begin(), quoted.end(),
                             [](char c) { return c >= 0 && c < ' '; }),
                "a control character in JSON");
  auto line = parts::sha256sum_line("00", text);
  fuzz::require(line.find('\n') == std::string::npos
                    || line.find('\n') + 1 == line.size(),
                "a list line with a line break inside");
}

void check_lines(std::string_view input) {
  auto fd = ::memfd_create("list", 0);
  if (fd < 0)
    return;
  static_cast<void>(::write(fd, input.data(), input.size()));
  ::lseek(fd, 0, SEEK_SET);
  std::size_t bytes = 0;
  {
    parts::line_reader reader{"/proc/self/fd/" + std::to_string(fd)};
    while (auto line = reader.next()) {
      fuzz::require(line->text.find('\n') == std::string::npos,
                    "a line with a line break inside");
      bytes += line->text.size();
    }
  }
  ::close(fd);
  fuzz::require(bytes <= input.size(), "more text than was read");
}

} // namespace

void fuzz::run(std::string_view input) {
  std::string text{input};
  check_target(text);
  check_target("sqlite:" + text);
  check_place(text);
  check_place("http://" + text);
  check_place("http://example.org/" + text);
  check_command(text);
  check_text(text);
  check_lines(input);
}
