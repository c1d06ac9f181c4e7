// Taking closed descriptors; see the header.
#include "standard_files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <initializer_list>

namespace parts {

void fill_standard_files() noexcept {
  for (auto fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0)
      continue;
    // The other way round than it would be used. The lowest one that is free is
    // this one, since those below are taken.
    if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
      return;
  }
}

} // namespace parts
