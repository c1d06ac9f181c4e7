// Starting and ending a server; see the header.

#include "server_process.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace test {

namespace {

void check(bool good, const std::string& operation) {
  if (!good)
    throw std::runtime_error{"cannot " + operation + ": "
                             + std::strerror(errno)};
}

// Returns nothing at the end.
std::string read_some(int from) {
  std::array<char, 4096> buffer;
  for (;;) {
    auto got = ::read(from, buffer.data(), buffer.size());
    if (got >= 0)
      return {buffer.data(), static_cast<std::size_t>(got)};
    if (errno != EINTR)
      return {};
  }
}

} // namespace

server_process::server_process(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const auto& word : command)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  int both[2];
  check(::pipe2(both, O_CLOEXEC) == 0, "make a pipe");
  auto parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    // Only what is safe between fork and exec. A test that is killed leaves no
    // server behind.
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent)
      ::_exit(126);
    ::dup2(both[1], STDOUT_FILENO);
    ::dup2(both[1], STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(both[1]);
  output_ = both[0];
  check(pid_ > 0, "start " + command.front());
  // By whoever comes first: the group is there before anybody is killed.
  ::setpgid(pid_, pid_);
}

server_process::~server_process() {
  stop();
}

std::string server_process::word_behind(std::string_view text) {
  std::string said;
  for (;;) {
    if (auto at = said.find(text); at != said.npos) {
      auto begin = at + text.size();
      auto end = said.find_first_of(" \n", begin);
      if (end != said.npos) {
        drain_ = std::thread{[from = output_] {
          while (!read_some(from).empty())
            continue;
        }};
        return said.substr(begin, end - begin);
      }
    }
    auto more = read_some(output_);
    if (more.empty())
      throw std::runtime_error{"it has ended without saying '"
                               + std::string{text} + "': " + said};
    said += more;
  }
}

void server_process::stop() {
  if (pid_ > 0) {
    ::kill(-pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  if (drain_.joinable())
    drain_.join();
  if (output_ >= 0)
    ::close(std::exchange(output_, -1));
}

} // namespace test
