// Reading lines; see the header.
#include "lines.hpp"

#include "parts/line_reader.hpp"
#include "parts/unique_fd.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <system_error>

namespace tune {

namespace {

void add_all(std::vector<std::string>& to, parts::line_reader& from) {
  while (auto line = from.next()) {
    if (line->too_long)
      throw std::runtime_error{"line " + std::to_string(to.size() + 1)
                               + " of the list is longer than 1 MiB, more than "
                                 "a command can be given"};
    if (line->text.find('\0') != std::string::npos)
      throw std::runtime_error{"a line of the list contains a NUL byte, which "
                               "a command cannot be given"};
    if (!line->text.empty())
      to.push_back(std::move(line->text));
  }
}

} // namespace

std::vector<std::string> read_lines(const std::vector<std::string>& arguments,
                                    const std::optional<std::string>& list,
                                    const std::stop_token& stop) {
  parts::unique_fd stopped{eventfd(0, EFD_CLOEXEC)};
  if (!stopped)
    throw std::system_error{errno, std::generic_category(),
                            "cannot watch for an end of the input"};
  std::stop_callback close{stop, [&stopped] {
                             std::uint64_t one = 1;
                             // Cannot fail: the counter is far from full.
                             [[maybe_unused]] auto written =
                                 write(stopped.get(), &one, sizeof(one));
                           }};
  std::vector<std::string> result;
  // Opened first, so that a bad name is told before anybody types lines.
  std::optional<parts::line_reader> last;
  if (list)
    last.emplace(*list, stopped.get());
  for (const auto& word : arguments) {
    if (word == "-") {
      parts::line_reader typed{word, stopped.get()};
      add_all(result, typed);
    } else if (!word.empty()) {
      result.push_back(word);
    }
  }
  if (last)
    add_all(result, *last);
  return result;
}

} // namespace tune
