// The URLs of one run, from the command line and from a list of any length, one
// after another: none is kept.
#pragma once

#include "parts/line_reader.hpp"
#include "parts/unique_fd.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace mirror {

/// Hands out URLs, the arguments first. For one thread at a time.
class url_source {
public:
  /// One line, as it was given but for blanks at both ends.
  struct entry {
    std::string url;
    /// Why this cannot be a URL. Empty: it may be one.
    std::string problem;
  };

  /// @param list a file with one URL a line, `-` is standard input; nothing:
  ///        there is none.
  /// @throws std::system_error if the list cannot be opened, and names it.
  url_source(std::vector<std::string> arguments,
             const std::optional<std::string>& list);

  /// Returns the next one, passing over lines with nothing in them; nothing at
  /// the end, or when it would have to wait and the source is closed.
  ///
  /// @throws std::system_error if reading fails.
  std::optional<entry> next();

  /// Ends the wait for a list that comes from a pipe or a terminal, and lets
  /// nobody wait for one again. Callable from any thread.
  void close() const;

  // -- properties -------------------------------------------------------------

  /// Returns how many were handed out.
  std::size_t count() const noexcept { return count_; }

  /// Returns the part of the input that was handed out, from 0 to 1; nothing if
  /// its size is not known.
  std::optional<double> position() const;

  /// Returns whether the next one may have to be waited for.
  bool may_block() const noexcept { return list_ && list_->may_block(); }

private:
  std::vector<std::string> arguments_;
  std::size_t argument_ = 0;
  // An event that is set by close().
  parts::unique_fd closed_;
  std::optional<parts::line_reader> list_;
  std::size_t count_ = 0;
};

} // namespace mirror
