// Owns one file descriptor, so that no early return leaks it.

#pragma once

#include <unistd.h>

#include <utility>

namespace troupe {

/// Closes its file descriptor when it goes away; holds -1 if it owns none.
class unique_fd {
public:
  unique_fd() noexcept = default;

  explicit unique_fd(int fd) noexcept : fd_{fd} {}

  unique_fd(unique_fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}

  unique_fd& operator=(unique_fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  ~unique_fd() { reset(); }

  void reset() noexcept {
    if (fd_ >= 0)
      ::close(std::exchange(fd_, -1));
  }

  int get() const noexcept { return fd_; }

private:
  int fd_ = -1;
};

} // namespace troupe
