#include "troupe/worker_process.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "troupe/error.hpp"
#include "troupe/spawn_settings.hpp"

namespace troupe {

namespace {

[[noreturn]] void throw_not_started(const process_plan& plan, const char* what,
                                    int error) {
  throw failure{ec::resource_unavailable,
                fmt::format("cannot start a worker process of {}: {} '{}': {}",
                            plan.owner, what, plan.title,
                            std::strerror(error))};
}

// Keeps a descriptor away from the numbers that the process will find it under:
// putting one in its place would overwrite the next.
unique_fd out_of_the_way(int fd) {
  unique_fd low{fd};
  return unique_fd{::fcntl(fd, F_DUPFD_CLOEXEC, worker_page + 1)};
}

struct fd_pair {
  unique_fd mine;
  unique_fd theirs;
};

} // namespace

// The header of glibc 2.36 declares pidfd_open without saying that it is C.
int open_end_signal(pid_t process) noexcept {
  return static_cast<int>(::syscall(SYS_pidfd_open, process, 0));
}

std::string why_not_executable(const std::string& program) {
  auto check = [](const std::string& path) {
    struct stat info = {};
    if (::stat(path.c_str(), &info) != 0)
      return errno;
    if (!S_ISREG(info.st_mode))
      return EACCES;
    return ::access(path.c_str(), X_OK) == 0 ? 0 : errno;
  };
  int error = ENOENT;
  if (program.find('/') != program.npos) {
    error = check(program);
  } else if (const auto* path = std::getenv("PATH"); path && !program.empty()) {
    // The shell's rule: the first that can be executed counts.
    for (std::string_view rest{path}; error != 0;) {
      auto colon = rest.find(':');
      auto folder = rest.substr(0, colon);
      auto found = check(fmt::format("{}/{}", folder, program));
      if (found != ENOENT && found != ENOTDIR)
        error = found;
      if (colon == rest.npos)
        break;
      rest.remove_prefix(colon + 1);
    }
  }
  return error == 0 ? std::string{} : std::strerror(error);
}

std::shared_ptr<worker_process> worker_process::start(const process_plan& plan,
                                                      std::string worker) {
  std::shared_ptr<worker_process> made{new worker_process};
  int fds[2];
  fd_pair link;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    throw_not_started(plan, "no socket for", errno);
  link = {out_of_the_way(fds[0]), out_of_the_way(fds[1])};
  unique_fd page = call_page::make();
  if (page.get() < 0)
    throw_not_started(plan, "no memory to share with", errno);
  made->page_ = call_page{page.get()};
  if (!made->page_.valid())
    throw_not_started(plan, "no memory to share with", errno);
  page = unique_fd{::fcntl(page.get(), F_DUPFD_CLOEXEC, worker_page + 1)};
  fd_pair outputs[2];
  for (auto& pipe : outputs) {
    if (::pipe2(fds, O_CLOEXEC) != 0)
      throw_not_started(plan, "no pipe for", errno);
    pipe = {out_of_the_way(fds[0]), out_of_the_way(fds[1])};
    // Read by one thread for all, which must not wait for any.
    ::fcntl(pipe.mine.get(), F_SETFL, O_NONBLOCK);
  }
  spawn_settings how;
  for (int i = 0; i < 2; ++i)
    how.place(outputs[i].theirs.get(), i + 1);
  how.place(link.theirs.get(), worker_socket);
  how.place(page.get(), worker_page);
  how.close_from(worker_page + 1);
  // By an argument, not by a variable of the environment, which the processes
  // that it starts would inherit.
  std::vector words{plan.program, fmt::format("{}{}", worker_argument, worker)};
  words.insert(words.end(), plan.arguments.begin(), plan.arguments.end());
  auto error = how.start(made->pid_, std::move(words));
  if (error != 0)
    throw_not_started(plan, "cannot execute", error);
  made->started_at_ = std::chrono::steady_clock::now();
  made->worker_ = std::move(worker);
  made->socket_ = std::move(link.mine);
  made->output_ = std::move(outputs[0].mine);
  made->error_ = std::move(outputs[1].mine);
  made->end_signal_ = unique_fd{open_end_signal(made->pid_)};
  if (made->end_signal_.get() < 0) {
    error = errno;
    ::kill(-made->pid_, SIGKILL);
    ::waitpid(made->pid_, nullptr, 0);
    throw_not_started(plan, "cannot watch", error);
  }
  return made;
}

void worker_process::signal(int number) noexcept {
  std::lock_guard guard{mutex_};
  // Once it has been waited for, the number may be somebody else's.
  if (ended_)
    return;
  if (number == SIGKILL)
    killed_by_us_ = true;
  ::kill(-pid_, number);
}

void worker_process::hang_up() noexcept {
  ::shutdown(socket_.get(), SHUT_RDWR);
}

void worker_process::end(std::chrono::nanoseconds grace) {
  signal(SIGTERM);
  if (wait_for_end(grace))
    return;
  signal(SIGKILL);
  // The kernel may take its time, for one that waits for a disk; the keeper
  // waits for as long as that takes.
  wait_for_end(std::chrono::seconds{10});
}

bool worker_process::ended() const {
  std::lock_guard guard{mutex_};
  return ended_;
}

bool worker_process::wait_for_end(std::chrono::nanoseconds patience) const {
  std::unique_lock guard{mutex_};
  return changed_.wait_for(guard, patience, [this] { return ended_; });
}

std::string worker_process::end_text() const {
  std::lock_guard guard{mutex_};
  if (!ended_)
    return "it has not ended yet";
  if (end_code_ == 0)
    return "how it ended was taken by something else in this program; let it "
           "neither ignore SIGCHLD nor wait for any child, by waitpid(-1) or "
           "wait()";
  if (end_code_ == CLD_EXITED)
    return fmt::format("exit status {}", end_status_);
  const auto* name = ::sigabbrev_np(end_status_);
  auto text =
      name ? fmt::format("SIG{}", name) : fmt::format("signal {}", end_status_);
  if (end_status_ == SIGKILL && !killed_by_us_)
    text += ", not from this pool: by somebody else, or by the kernel for lack "
            "of memory";
  return text;
}

void worker_process::reap() noexcept {
  {
    std::lock_guard guard{mutex_};
    if (ended_)
      return;
    // Before its number is free for others. What it has started must not go on
    // without it.
    ::kill(-pid_, SIGKILL);
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0) {
      if (errno == EINTR)
        continue;
      // Somebody else has waited for it, who ignores SIGCHLD or waits for any.
      info = {};
      break;
    }
    end_code_ = info.si_code;
    end_status_ = info.si_status;
    ended_ = true;
  }
  changed_.notify_all();
  // A process that it forked may hold the other end open.
  hang_up();
}

} // namespace troupe
