// Running programs; see the header.
#include "child.hpp"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace test {

namespace {

void check(bool good, const char* operation) {
  if (!good)
    throw std::runtime_error{std::string{"cannot "} + operation + ": "
                             + std::strerror(errno)};
}

struct channel {
  int read_end = -1;
  int write_end = -1;

  channel() {
    int both[2];
    check(pipe2(both, O_CLOEXEC) == 0, "make a pipe");
    read_end = both[0];
    write_end = both[1];
  }
};

} // namespace

child::child(const std::vector<std::string>& command, settings how) {
  std::vector<char*> argv;
  for (const auto& word : command)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  channel in;
  int from_out;
  int from_err = -1;
  int to_out;
  int to_err;
  if (how.terminal) {
    check(openpty(&from_out, &to_out, nullptr, nullptr, nullptr) == 0,
          "open a terminal");
    fcntl(from_out, F_SETFD, FD_CLOEXEC);
    fcntl(to_out, F_SETFD, FD_CLOEXEC);
    to_err = to_out;
  } else {
    channel out;
    channel err;
    from_out = out.read_end;
    to_out = out.write_end;
    from_err = err.read_end;
    to_err = err.write_end;
  }
  pid_ = fork();
  check(pid_ >= 0, "start a process");
  if (pid_ == 0) {
    dup2(in.read_end, STDIN_FILENO);
    dup2(to_out, STDOUT_FILENO);
    dup2(to_err, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(in.read_end);
  close(to_out);
  if (to_err != to_out)
    close(to_err);
  input_ = in.write_end;
  readers_.emplace_back([=, this] { drain(from_out, result_.out); });
  if (from_err >= 0)
    readers_.emplace_back([=, this] { drain(from_err, result_.err); });
  if (!how.hold_input)
    readers_.emplace_back(
        [to = std::exchange(input_, -1), text = std::move(how.input)] {
          sigset_t pipe;
          sigemptyset(&pipe);
          sigaddset(&pipe, SIGPIPE);
          pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
          std::size_t done = 0;
          while (done < text.size()) {
            auto put = write(to, text.data() + done, text.size() - done);
            if (put <= 0)
              break;
            done += static_cast<std::size_t>(put);
          }
          close(to);
        });
}

child::~child() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    wait();
  }
}

void child::drain(int from, std::string& into) {
  char buffer[4096];
  for (;;) {
    auto got = read(from, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR)
      continue;
    std::lock_guard guard{mutex_};
    // A terminal says with EIO that nobody is left.
    if (got > 0)
      into.append(buffer, static_cast<std::size_t>(got));
    else if (&into == &result_.out)
      out_ended_ = true;
    changed_.notify_all();
    if (got <= 0)
      break;
  }
  close(from);
}

void child::wait_for_output(std::string_view text) {
  std::unique_lock lock{mutex_};
  auto seen = [&] { return result_.out.find(text) != std::string::npos; };
  changed_.wait(lock, [&] { return out_ended_ || seen(); });
  if (!seen())
    throw std::runtime_error{"it has ended without printing "
                             + std::string{text}};
}

std::string child::shown() {
  std::lock_guard guard{mutex_};
  return result_.out;
}

void child::signal(int number) const {
  check(kill(pid_, number) == 0, "send a signal");
}

void child::write_input(std::string_view text) const {
  check(::write(input_, text.data(), text.size())
            == static_cast<ssize_t>(text.size()),
        "write to a process");
}

void child::close_input() {
  if (input_ >= 0)
    close(std::exchange(input_, -1));
}

exited child::wait() {
  int status = 0;
  rusage used = {};
  check(wait4(pid_, &status, 0, &used) == pid_, "wait for a process");
  pid_ = -1;
  close_input();
  for (auto& reader : readers_)
    reader.join();
  readers_.clear();
  result_.status =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result_.peak_kib = used.ru_maxrss;
  return std::move(result_);
}

exited run(const std::vector<std::string>& command, child::settings how) {
  return child{command, std::move(how)}.wait();
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> result;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);)
    result.push_back(line);
  return result;
}

} // namespace test
