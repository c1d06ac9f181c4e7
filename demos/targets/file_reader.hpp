// Reads one file from begin to end with blocking calls, and says so if it was
// not the same file all the while. Leans on nothing but the kernel.
#pragma once

#include "parts/unique_fd.hpp"

#include <sys/stat.h>

#include <cstddef>
#include <span>
#include <string>

namespace targets {

/// One open regular file.
///
/// Errors: all operations throw `std::runtime_error`, its text fit to follow
///         the file's name and a colon.
class file_reader {
public:
  /// Opens `path`. Anything but a regular file is refused, without opening it:
  /// a FIFO would wait for its writer, a device may act on being opened.
  explicit file_reader(std::string path);

  /// Reads the next bytes; 0 at the end of the file.
  std::size_t read(std::span<char> buffer);

  /// Checks that the file is as it was when it was opened: same size, same
  /// time of last change, still there under its name. Call it after the last
  /// `read`.
  ///
  /// A change that keeps the size and happens within one tick of the file
  /// system's clock after the last one before it goes unseen.
  void check_unchanged() const;

private:
  std::string path_;
  parts::unique_fd fd_;
  struct stat before_ = {};
};

} // namespace targets
