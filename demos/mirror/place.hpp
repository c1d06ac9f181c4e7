// Where the file of a URL belongs: a path below the folder that is mirrored
// into, safe whatever the URL says. Text only; touches no disk and no network.
#pragma once

#include <string>

namespace mirror {

/// What a URL says about its file.
struct place {
  /// Whom to ask, such as "example.org" or "example.org:8080".
  std::string host;

  /// The path of the file, from the folder on: the host, then the path of the
  /// URL, with its query.
  std::string path;
};

/// Returns the place of `url`.
///
/// Shape:  different URLs have different places, except that scheme, user and
///         fragment do not count, and that a folder is its `index.html`. No
///         part of the path is empty, `.`, `..` or longer than a file system
///         takes; none has a byte other than visible ASCII. Other bytes, and
///         `^`, `\` and `/` in a query, become `^HH`; what is too long ends in
///         `^~` and a SHA-256. Escapes of the URL itself (`%20`) stay.
/// Errors: throws `std::invalid_argument`, its text fit to follow the URL and a
///         colon, for what is no URL that can be fetched.
place place_of(const std::string& url);

} // namespace mirror
