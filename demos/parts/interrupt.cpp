// Watching for signals; see the header.
#include "interrupt.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <system_error>

namespace parts {

namespace {

unique_fd checked(int fd) {
  if (fd < 0)
    throw std::system_error{errno, std::generic_category(),
                            "cannot watch for signals"};
  return unique_fd{fd};
}

} // namespace

interrupt::interrupt() : done_{checked(eventfd(0, EFD_CLOEXEC))} {
  // A shell that starts a program in the background of a script has it ignore
  // SIGINT, and then blocking would lose it; whoever sends it means it.
  ::signal(SIGINT, SIG_DFL);
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGINT);
  sigaddset(&watched, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &watched, nullptr);
  signals_ = checked(signalfd(-1, &watched, SFD_CLOEXEC));
  watcher_ = std::thread{[this] { watch(); }};
}

interrupt::~interrupt() {
  std::uint64_t one = 1;
  // Cannot fail: the counter is far from full.
  [[maybe_unused]] auto written = write(done_.get(), &one, sizeof(one));
  watcher_.join();
}

void interrupt::watch() {
  for (;;) {
    pollfd both[] = {{signals_.get(), POLLIN, 0}, {done_.get(), POLLIN, 0}};
    if (poll(both, 2, -1) < 0)
      continue;
    if (both[1].revents != 0)
      return;
    signalfd_siginfo info;
    if (read(signals_.get(), &info, sizeof(info)) != sizeof(info))
      continue;
    auto number = static_cast<int>(info.ssi_signo);
    if (signal_ != 0)
      _exit(128 + number);
    signal_ = number;
    source_.request_stop();
  }
}

} // namespace parts
