// Reading and watching one file; see the header.
#include "file_reader.hpp"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace targets {

namespace {

[[noreturn]] void fail(const std::string& text) {
  throw std::runtime_error{text};
}

[[noreturn]] void fail(const char* operation, int error) {
  auto text = std::string{operation} + ": " + std::strerror(error);
  if (error == ELOOP)
    text += " (a loop of them?)";
  fail(text);
}

void check_regular(const struct stat& info) {
  if (S_ISREG(info.st_mode))
    return;
  auto* what = S_ISDIR(info.st_mode)    ? "a folder"
               : S_ISFIFO(info.st_mode) ? "a FIFO"
               : S_ISSOCK(info.st_mode) ? "a socket"
                                        : "a device";
  fail(std::string{"not a regular file but "} + what);
}

bool same_time(const timespec& lhs, const timespec& rhs) {
  return lhs.tv_sec == rhs.tv_sec && lhs.tv_nsec == rhs.tv_nsec;
}

} // namespace

file_reader::file_reader(std::string path) : path_{std::move(path)} {
  if (stat(path_.c_str(), &before_) != 0)
    fail("cannot open", errno);
  check_regular(before_);
  // Should a FIFO have taken its place since, this does not wait for a writer,
  // and the second check sees it. Regular files ignore O_NONBLOCK.
  fd_ = parts::unique_fd{
      open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
  if (!fd_)
    fail("cannot open", errno);
  if (fstat(fd_.get(), &before_) != 0)
    fail("cannot open", errno);
  check_regular(before_);
}

std::size_t file_reader::read(std::span<char> buffer) {
  for (;;) {
    auto got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got >= 0)
      return static_cast<std::size_t>(got);
    if (errno != EINTR)
      fail("cannot read", errno);
  }
}

void file_reader::check_unchanged() const {
  struct stat after;
  if (fstat(fd_.get(), &after) != 0)
    fail("cannot read", errno);
  struct stat named;
  if (stat(path_.c_str(), &named) != 0) {
    if (errno == ENOENT || errno == ENOTDIR)
      fail("it vanished while it was read");
    fail("cannot read", errno);
  }
  if (named.st_dev != before_.st_dev || named.st_ino != before_.st_ino)
    fail("it was replaced by another file while it was read");
  if (after.st_size != before_.st_size
      || !same_time(after.st_mtim, before_.st_mtim))
    fail("it changed while it was read");
}

} // namespace targets
