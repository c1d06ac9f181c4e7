// Taking words apart into targets; see the header.
#include "target_source.hpp"

#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace targets {

std::string in_words(const std::string& without_any) {
  return "A TARGET is a URL (http://, https://), a file, a folder (all files "
         "below it),\nsqlite:FILE?QUERY, or - for a list of targets on "
         "standard "
         "input; "
         + without_any + ".";
}

std::optional<std::string>
why_not_readable(const std::vector<std::string>& arguments,
                 const std::optional<std::string>& list) {
  auto from_stdin = std::count(arguments.begin(), arguments.end(), "-")
                    + (list == "-" ? 1 : 0);
  if (from_stdin > 1)
    return "standard input: given as a list more than once (accepted: one "
           "'-', or one --list=-)";
  return std::nullopt;
}

target_source::target_source(options what)
    : options_{std::move(what)}, closed_{eventfd(0, EFD_CLOEXEC)} {
  if (!closed_)
    throw std::system_error{errno, std::generic_category(),
                            "cannot watch for an end of the input"};
  if (options_.list)
    final_list_.emplace(*options_.list, closed_.get());
}

std::optional<double> target_source::position(double part) const {
  auto words =
      static_cast<double>(options_.arguments.size() + (options_.list ? 1 : 0));
  if (!list_)
    return (static_cast<double>(argument_) - 1 + part) / words;
  if (!line_from_ || !line_to_)
    return std::nullopt;
  // The list given by option comes after the last argument.
  auto before = static_cast<double>(argument_);
  if (final_list_ || !options_.list)
    before -= 1;
  return (before + *line_from_ + (*line_to_ - *line_from_) * part) / words;
}

std::optional<target> target_source::take(std::string word) {
  auto result = parse_target(std::move(word));
  struct stat info;
  if (result.what == kind::file && result.problem.empty()
      && stat(result.text.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    walk_.emplace(std::move(result.text), options_.follow);
    return std::nullopt;
  }
  result.position = position(1);
  return result;
}

std::optional<target> target_source::take_line() {
  auto unreadable = [this](std::string problem) {
    return target{kind::file, list_name_, std::move(problem), position(1)};
  };
  try {
    line_from_ = list_->position();
    auto line = list_->next();
    line_to_ = list_->position();
    if (!line) {
      list_.reset();
      return std::nullopt;
    }
    if (line->too_long)
      return unreadable("a line of this list is longer than 1 MiB");
    if (line->text.empty())
      return std::nullopt;
    return take(std::move(line->text));
  } catch (const std::system_error& error) {
    list_.reset();
    return unreadable("cannot read the rest of this list: "
                      + error.code().message());
  }
}

std::optional<target> target_source::next() {
  for (;;) {
    std::optional<target> found;
    if (walk_) {
      found = walk_->next();
      if (found) {
        found->position = position(*found->position);
      } else {
        auto passed = walk_->passed_by();
        walked_.links += passed.links;
        walked_.specials += passed.specials;
        walk_.reset();
      }
    } else if (list_) {
      found = take_line();
    } else if (argument_ < options_.arguments.size()) {
      auto& word = options_.arguments[argument_++];
      if (word == "-") {
        list_name_ = "(standard input)";
        try {
          list_.emplace(word, closed_.get());
        } catch (const std::system_error& error) {
          found = target{kind::file, list_name_,
                         "cannot read this list: " + error.code().message(),
                         position(1)};
        }
      } else {
        found = take(word);
      }
    } else if (final_list_) {
      list_name_ = *options_.list == "-" ? "(standard input)" : *options_.list;
      list_ = std::exchange(final_list_, std::nullopt);
    } else {
      return std::nullopt;
    }
    if (found) {
      ++count_;
      return found;
    }
  }
}

void target_source::close() const {
  std::uint64_t one = 1;
  // Cannot fail: the counter is far from full.
  [[maybe_unused]] auto written = write(closed_.get(), &one, sizeof(one));
}

folder_walk::skipped target_source::passed_by() const {
  auto result = walked_;
  if (walk_) {
    result.links += walk_->passed_by().links;
    result.specials += walk_->passed_by().specials;
  }
  return result;
}

bool target_source::may_block() const noexcept {
  auto rest =
      options_.arguments.begin() + static_cast<std::ptrdiff_t>(argument_);
  return (list_ && list_->may_block())
         || (final_list_ && final_list_->may_block())
         || std::find(rest, options_.arguments.end(), "-")
                != options_.arguments.end();
}

} // namespace targets
