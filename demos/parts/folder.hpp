// A folder that a program fills. A file appears there under its name when it is
// whole, and at no other time, however the program ends.
#pragma once

#include "unique_fd.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace parts {

/// A folder for this process alone. Usable from any thread.
///
/// Files are written in a hidden folder inside it, named after the program, and
/// renamed when they are whole. What a run that was killed has left there goes
/// when the next one begins.
class folder {
public:
  /// Makes the folder if it is not there, and locks it. `program` is what does
  /// so, such as "mirror".
  ///
  /// @throws std::runtime_error, naming the folder, if it cannot be written
  ///         to, or if another process has locked it.
  folder(std::string path, const std::string& program);

  /// Leaves no hidden folder behind.
  ~folder();

  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;

  /// Returns whether a file is at `place`, a path from this folder on.
  ///
  /// @throws std::runtime_error if a folder is.
  bool has(const std::string& place) const;

private:
  friend class part;

  // Makes the folders on the way to `place`.
  void make_way(const std::string& place) const;

  std::string path_;
  std::string hidden_;
  unique_fd fd_;
  unique_fd parts_;
  mutable std::atomic<std::uint64_t> made_ = 0;
};

/// A file that is being written. Goes when it was not kept.
///
/// Errors: all operations throw `std::runtime_error`, its text fit to follow a
///         URL and a colon.
class part {
public:
  /// @param home must outlive it.
  explicit part(const folder& home);

  ~part();

  part(const part&) = delete;
  part& operator=(const part&) = delete;

  void write(std::string_view bytes);

  /// Puts the file in place, whole and on the disk. The last call.
  void keep_as(const std::string& place);

private:
  const folder& home_;
  std::string name_;
  unique_fd fd_;
  bool kept_ = false;
};

} // namespace parts
