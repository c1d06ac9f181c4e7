// Finds the files below one folder, one at a time and in an order that is the
// same on every run. Leans on nothing but the kernel.
#pragma once

#include "target.hpp"

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace targets {

/// Walks one folder and all below it, depth first, names in byte order.
///
/// Memory: the names in the folders on the current path, nothing else.
class folder_walk {
public:
  /// What the walk passed by without making a target of it.
  struct skipped {
    /// Symbolic links; none when they are followed.
    std::size_t links = 0;
    /// FIFOs, sockets and devices.
    std::size_t specials = 0;
  };

  /// @param follow whether symbolic links inside the folder are followed. The
  ///        folder itself may always be one.
  folder_walk(std::string path, bool follow);

  /// Returns the next regular file, or the next folder that cannot be walked
  /// (with its `problem` set); nothing at the end. `position` is the part of
  /// this walk that is behind, each folder's share split evenly among its
  /// entries.
  std::optional<target> next();

  const skipped& passed_by() const noexcept { return skipped_; }

private:
  // One folder on the current path. Its names lie in one buffer, each behind
  // a byte that says what it is and before a NUL.
  struct level {
    std::string path;
    dev_t device;
    ino_t inode;
    std::string names;
    std::vector<std::size_t> starts;
    std::size_t next = 0;
    double from;
    double width;
  };

  // Opens and lists a folder. Returns why it can't, or nothing.
  std::optional<std::string> enter(std::string path, bool may_be_link,
                                   double from, double width);

  std::vector<level> levels_;
  std::optional<target> first_problem_;
  bool follow_;
  skipped skipped_;
};

} // namespace targets
