// Waits for the end of a process that is not a child of this one.

#pragma once

#include <poll.h>

#include "troupe/unique_fd.hpp"
#include "troupe/worker_process.hpp"

namespace test {

class end_of_process {
public:
  explicit end_of_process(pid_t pid) : end_{troupe::open_end_signal(pid)} {}

  bool known() const { return end_.get() >= 0; }

  /// Blocks until it has ended.
  void wait() const {
    pollfd fd{end_.get(), POLLIN, 0};
    while (::poll(&fd, 1, -1) < 0) {
    }
  }

private:
  troupe::unique_fd end_;
};

} // namespace test
