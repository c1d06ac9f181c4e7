// Turns arguments into a stream of targets, those in folders and lists among
// them, one at a time, so that 100,000 targets take no more memory than ten.
// Used by one thread, the one that reads the stream.
#pragma once

#include "folder_walk.hpp"
#include "parts/line_reader.hpp"
#include "parts/unique_fd.hpp"
#include "target.hpp"

#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace targets {

/// Returns why these words cannot all be read, as a line for who typed them:
/// there is but one standard input. Nothing if they can.
std::optional<std::string>
why_not_readable(const std::vector<std::string>& arguments,
                 const std::optional<std::string>& list);

/// Returns what a target is, in a few lines for the help of a program;
/// `without_any` says what it does if none is given.
std::string in_words(const std::string& without_any);

/// All targets of one run, in input order: a C++20 input range.
///
/// Arguments come first, then the lines of the list. A folder stands for the
/// files below it. An argument `-` reads standard input as a list.
class target_source {
public:
  struct options {
    std::vector<std::string> arguments = {};
    /// A file of targets, one a line, empty lines skipped; `-` is standard
    /// input.
    std::optional<std::string> list = {};
    bool follow = false;
  };

  class iterator {
  public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = target;
    using difference_type = std::ptrdiff_t;

    iterator() = default;

    explicit iterator(target_source* source) : source_{source} { ++*this; }

    target& operator*() const noexcept { return source_->current_; }

    iterator& operator++() {
      if (auto found = source_->next())
        source_->current_ = std::move(*found);
      else
        source_ = nullptr;
      return *this;
    }

    void operator++(int) { ++*this; }

    friend bool operator==(const iterator& lhs,
                           std::default_sentinel_t) noexcept {
      return lhs.source_ == nullptr;
    }

  private:
    target_source* source_ = nullptr;
  };

  /// @throws std::system_error if the list cannot be opened, and names it.
  explicit target_source(options what);

  // -- as a range -------------------------------------------------------------

  /// Begins, or goes on where the last iterator stood.
  iterator begin() { return iterator{this}; }

  std::default_sentinel_t end() const noexcept { return {}; }

  // -- operations -------------------------------------------------------------

  /// Returns the next target; nothing at the end.
  std::optional<target> next();

  /// Ends the wait for a list that comes from a pipe or a terminal, and lets
  /// nobody wait for one again. Callable from any thread.
  void close() const;

  // -- properties -------------------------------------------------------------

  /// Returns how many targets were handed out.
  std::size_t count() const noexcept { return count_; }

  /// Returns what walking folders has passed by so far.
  folder_walk::skipped passed_by() const;

  /// Returns whether the next target may have to wait for a pipe or terminal.
  bool may_block() const noexcept;

private:
  // Takes one word: begins to walk the folder that it names, or returns it as
  // a target.
  std::optional<target> take(std::string word);

  std::optional<target> take_line();

  // Says where in all input a target lies that ends at `part` (0 to 1) of the
  // current word.
  std::optional<double> position(double part) const;

  options options_;
  // An event that is set by close().
  parts::unique_fd closed_;
  // Opened at once, so that a bad name is told before anything starts; read
  // after the last argument.
  std::optional<parts::line_reader> final_list_;
  std::size_t argument_ = 0;
  // What is being read now, innermost last: an argument or list, one of its
  // lines, the folder that this names.
  std::optional<parts::line_reader> list_;
  std::string list_name_;
  std::optional<folder_walk> walk_;
  folder_walk::skipped walked_;
  // The part of its list that lies before and behind the current line.
  std::optional<double> line_from_;
  std::optional<double> line_to_;
  std::size_t count_ = 0;
  target current_;
};

} // namespace targets
