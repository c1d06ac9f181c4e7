// Handing out URLs; see the header.
#include "url_source.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace mirror {

namespace {

std::string trimmed(const std::string& line) {
  constexpr auto blanks = " \t\r";
  auto from = line.find_first_not_of(blanks);
  if (from == std::string::npos)
    return {};
  return line.substr(from, line.find_last_not_of(blanks) + 1 - from);
}

} // namespace

url_source::url_source(std::vector<std::string> arguments,
                       const std::optional<std::string>& list)
    : arguments_{std::move(arguments)}, closed_{eventfd(0, EFD_CLOEXEC)} {
  if (!closed_)
    throw std::system_error{errno, std::generic_category(),
                            "cannot make an event"};
  if (list)
    list_.emplace(*list, closed_.get());
}

std::optional<url_source::entry> url_source::next() {
  if (argument_ < arguments_.size()) {
    ++count_;
    return entry{arguments_[argument_++], {}};
  }
  while (list_) {
    auto line = list_->next();
    if (!line)
      break;
    if (line->too_long) {
      ++count_;
      return entry{line->text.substr(0, 60) + "...",
                   "the line is longer than 1 MiB"};
    }
    auto url = trimmed(line->text);
    if (url.empty())
      continue;
    ++count_;
    return entry{std::move(url), {}};
  }
  return std::nullopt;
}

void url_source::close() const {
  std::uint64_t one = 1;
  // Cannot fail: the counter is far from full.
  [[maybe_unused]] auto written = write(closed_.get(), &one, sizeof(one));
}

std::optional<double> url_source::position() const {
  if (list_)
    return list_->position();
  if (arguments_.empty())
    return std::nullopt;
  return static_cast<double>(argument_)
         / static_cast<double>(arguments_.size());
}

} // namespace mirror
