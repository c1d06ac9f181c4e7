// Reading lines; see the header.
#include "line_reader.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace parts {

line_reader::line_reader(const std::string& path, int stop_fd)
    : stop_fd_{stop_fd}, block_(64 * 1024) {
  auto fail = [&](int error) {
    throw std::system_error{error, std::generic_category(),
                            "cannot read the list '" + path + "'"};
  };
  if (path != "-") {
    // Not blocking: opening a FIFO must not wait for its writer here, where
    // nothing could end the wait.
    own_ = unique_fd{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!own_)
      fail(errno);
    fd_ = own_.get();
  }
  struct stat info;
  if (fstat(fd_, &info) != 0)
    fail(errno);
  // A closed standard input is one that cannot be read.
  if ((fcntl(fd_, F_GETFL) & O_ACCMODE) == O_WRONLY)
    fail(EBADF);
  // Opening a folder works; only reading it fails, when it is too late to say
  // so before anything starts.
  if (S_ISDIR(info.st_mode))
    fail(EISDIR);
  regular_ = S_ISREG(info.st_mode);
  if (regular_)
    size_ = static_cast<double>(info.st_size);
}

bool line_reader::fill() {
  for (;;) {
    if (may_block()) {
      pollfd both[] = {{fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
      if (poll(both, 2, -1) < 0) {
        if (errno == EINTR)
          continue;
        break;
      }
      if (both[1].revents != 0)
        return false;
    }
    auto got = read(fd_, block_.data(), block_.size());
    if (got >= 0) {
      begin_ = 0;
      end_ = static_cast<std::size_t>(got);
      return got > 0;
    }
    if (errno != EINTR && errno != EAGAIN)
      break;
  }
  throw std::system_error{errno, std::generic_category(),
                          "cannot read the list"};
}

std::optional<line_reader::line> line_reader::next() {
  line result;
  for (;;) {
    if (begin_ == end_ && !fill()) {
      begin_ = end_ = 0;
      if (result.text.empty())
        return std::nullopt;
      return result;
    }
    auto* from = block_.data() + begin_;
    auto* to = block_.data() + end_;
    auto* stop = std::find(from, to, '\n');
    auto room = longest - result.text.size();
    auto length = static_cast<std::size_t>(stop - from);
    result.text.append(from, std::min(length, room));
    result.too_long = result.too_long || length > room;
    auto used = length + (stop == to ? 0 : 1);
    begin_ += used;
    read_ += static_cast<double>(used);
    if (stop != to)
      return result;
  }
}

std::optional<double> line_reader::position() const {
  if (size_ == 0)
    return std::nullopt;
  // A list may grow while it is read.
  return std::min(1.0, read_ / size_);
}

} // namespace parts
