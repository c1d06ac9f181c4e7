// What users may set on the command line of mirror, beside what troupe and CAF
// bring.
#pragma once

#include "run.hpp"

#include "troupe/config.hpp"

#include <optional>
#include <string>

namespace mirror {

/// The configuration of mirror.
class options : public troupe::config {
public:
  options();

  /// Checks what the command line had, after it was parsed.
  ///
  /// @throws std::runtime_error, its text the line to print, without the
  ///         program's name, before leaving with status 2.
  void check();

  // -- properties -------------------------------------------------------------

  /// Returns the file of URLs, if one was given; `-` is standard input.
  std::optional<std::string> list() const;

  const std::string& into() const noexcept { return into_; }

  /// Returns what else was said, once it was checked.
  const settings& how() const noexcept { return how_; }

private:
  // Returns the value of an option, if it was given.
  std::optional<std::string> given(const char* key,
                                   const std::string& value) const;

  std::string list_;
  std::string into_;
  std::string per_host_ = "4";
  std::string attempts_ = "3";
  std::string hedge_after_;
  std::string deadline_;
  settings how_;
};

} // namespace mirror
