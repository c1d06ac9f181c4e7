// Says when some process has begun to read a file, so that a test can act while
// it goes on.
#pragma once

#include <sys/inotify.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

namespace test {

class read_watch {
public:
  explicit read_watch(const std::string& path)
      : fd_{inotify_init1(IN_CLOEXEC)} {
    if (inotify_add_watch(fd_, path.c_str(), IN_ACCESS) < 0)
      throw std::runtime_error{"cannot watch " + path};
  }

  ~read_watch() { close(fd_); }

  read_watch(const read_watch&) = delete;
  read_watch& operator=(const read_watch&) = delete;

  /// Blocks until somebody has read from the file.
  void wait() const {
    char event[4096];
    if (read(fd_, event, sizeof(event)) <= 0)
      throw std::runtime_error{"cannot watch a file any more"};
  }

private:
  int fd_;
};

} // namespace test
