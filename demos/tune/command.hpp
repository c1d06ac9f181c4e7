// What a user means by `--command`: words, a place for the line, and what is
// told of the errors that a command prints. Text only; starts nothing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tune {

/// A command with a place for one line of input.
class command {
public:
  /// Takes `text` apart into words, by the rules of xargs: blanks are between
  /// words; '...' and "..." keep what is inside as it is, also blanks and the
  /// other quotes; elsewhere a backslash keeps the next character. No variable
  /// and no `*` is replaced, since no shell sees the words.
  ///
  /// Errors: throws `std::invalid_argument`, its text fit to follow the option
  ///         and a colon: an open quote, no word, a program that depends on the
  ///         line, or a word such as `|` that would mean something to a shell
  ///         and is not quoted.
  explicit command(std::string_view text);

  /// Returns the words to run for `line`: each `{}` in any word but the first
  /// is replaced by the whole line, which is never taken apart.
  std::vector<std::string> words_for(const std::string& line) const;

  /// Returns whether there is a `{}`; if not, all lines run the same.
  bool takes_line() const;

  /// Returns the program: a path, or a name to look for in PATH.
  const std::string& program() const noexcept { return words_.front(); }

  /// Returns the command for a shell with xargs, which runs the same with
  /// `workers` at once, with the lines on its standard input.
  std::string as_xargs(std::size_t workers) const;

private:
  std::vector<std::string> words_;
};

/// Returns `word` as a shell has to see it to take it for one word.
std::string shell_word(std::string_view word);

/// Keeps the lines of an error output that say most, the first and the last
/// one that are not blank, in little memory.
class error_lines {
public:
  void add(std::string_view bytes);

  /// Returns "FIRST ... LAST", or the one line that there is, or nothing.
  std::string text() const;

private:
  // Bytes of a line; more than anybody reads.
  static constexpr std::size_t longest = 300;

  // Takes a line that is complete.
  static void keep(std::string_view line, std::string& first,
                   std::string& last);

  std::string first_;
  std::string last_;
  std::string line_;
};

} // namespace tune
