// Says when some process opens a file, so that a test can act while the file is
// being read.
#pragma once

#include <sys/inotify.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

namespace test {

class open_watch {
public:
  explicit open_watch(const std::string& path)
      : fd_{inotify_init1(IN_CLOEXEC)} {
    if (inotify_add_watch(fd_, path.c_str(), IN_OPEN) < 0)
      throw std::runtime_error{"cannot watch " + path};
  }

  ~open_watch() { close(fd_); }

  open_watch(const open_watch&) = delete;
  open_watch& operator=(const open_watch&) = delete;

  /// Blocks until the file is opened.
  void wait() const {
    char event[4096];
    if (read(fd_, event, sizeof(event)) <= 0)
      throw std::runtime_error{"cannot watch a file any more"};
  }

private:
  int fd_;
};

} // namespace test
