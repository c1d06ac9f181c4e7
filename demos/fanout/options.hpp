// What users may set on the command line of fanout, beside what troupe and CAF
// bring.
#pragma once

#include "troupe/config.hpp"

#include <optional>
#include <string>
#include <vector>

namespace fanout {

/// How results are printed.
enum class format { text, json };

/// The configuration of fanout.
class options : public troupe::config {
public:
  options();

  /// Checks what the command line had, after it was parsed.
  ///
  /// Returns: nothing when all is well; otherwise the line to print, without
  ///          the program's name, before leaving with status 2.
  std::optional<std::string> check() const;

  // -- properties -------------------------------------------------------------

  /// Returns whether no targets were given, so that fanout is its own world.
  bool own_world() const { return arguments().empty() && !list(); }

  /// Returns the file of targets, if one was given; `-` is standard input.
  std::optional<std::string> list() const;

  format output() const {
    return output_ == "json" ? format::json : format::text;
  }

  bool follow() const noexcept { return follow_; }

  bool compare() const noexcept { return compare_; }

  /// Returns the file to write a trace to, if one was given.
  std::optional<std::string> trace() const;

private:
  // Returns the value of an option, if it was given.
  std::optional<std::string> given(const char* key,
                                   const std::string& value) const;

  std::string list_;
  std::string output_ = "text";
  bool follow_ = false;
  bool compare_ = false;
  std::string trace_;
};

} // namespace fanout
