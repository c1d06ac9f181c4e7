// What one request is about: a page to fetch, a file to hash, or a
// query to run. Turns the words that a user types into targets; touches no
// disk and no network.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace targets {

/// Names the blocking client that answers a target.
enum class kind { http, file, sqlite };

/// Returns the name that `--output=json` uses: "http", "file" or "sqlite".
std::string_view to_string(kind what);

/// One thing to ask for.
struct target {
  kind what = kind::file;

  /// The URL, the path, or `sqlite:FILE?QUERY`; any bytes.
  std::string text;

  /// Why this target cannot be asked for, found while looking for it (a folder
  /// that cannot be listed, a line that is no target). Empty: it can be.
  std::string problem;

  /// How much of all input lies before the end of this target, from 0 to 1.
  /// Nothing if the input is of unknown length.
  std::optional<double> position;
};

/// The two parts of `sqlite:FILE?QUERY`; they refer to the parsed text.
struct sqlite_parts {
  std::string_view file;
  std::string_view query;
};

/// Splits a target of kind `sqlite` at its first question mark. Nothing if
/// the file or the query is missing.
std::optional<sqlite_parts> split_sqlite(std::string_view text);

/// Makes a target of one word.
///
/// Shape:  `http://` and `https://` (in any case) are URLs, `sqlite:` is a
///         query, all else is a path; a file called like one of these can be
///         given as `./NAME`.
/// Errors: never throws. What cannot be a target has its `problem` set.
target parse_target(std::string text);

} // namespace targets
