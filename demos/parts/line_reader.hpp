// Reads a list of any length line by line: a file, a pipe, or what somebody
// types, for which it need not wait for ever. Leans on nothing but the kernel.
#pragma once

#include "unique_fd.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace parts {

/// Reads one line at a time.
class line_reader {
public:
  struct line {
    std::string text;
    /// The line was longer than `longest`; `text` is its beginning.
    bool too_long = false;
  };

  /// No path, URL or query is longer; without a limit, a list without line
  /// ends would fill the memory.
  static constexpr std::size_t longest = std::size_t{1} << 20;

  /// Opens `path`, or standard input for `-`.
  ///
  /// @param stop_fd becomes readable when nothing more shall be read, so that
  ///        an interrupt ends the wait for a pipe or a terminal; -1: none.
  /// @throws std::system_error if it cannot be read.
  explicit line_reader(const std::string& path, int stop_fd = -1);

  /// Returns the next line without its end; nothing at the end, or when it
  /// would have to wait and is told to stop.
  /// @throws std::system_error if reading fails.
  std::optional<line> next();

  /// Returns the part read so far, from 0 to 1; nothing for what has no size.
  std::optional<double> position() const;

  /// Returns whether asking for the next line could wait for somebody to
  /// write it (a pipe, a terminal).
  bool may_block() const noexcept { return !regular_; }

private:
  // Reads the next block; false at the end.
  bool fill();

  unique_fd own_;
  int fd_ = 0;
  int stop_fd_;
  std::vector<char> block_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool regular_ = false;
  // Bytes; as doubles, since only their ratio matters.
  double size_ = 0;
  double read_ = 0;
};

} // namespace parts
