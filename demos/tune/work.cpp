// Asking for targets, and running commands; see the header.
#include "work.hpp"

#include "targets/clients.hpp"

#include "troupe/spawn_settings.hpp"
#include "troupe/unique_fd.hpp"
#include "troupe/worker_process.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace tune {

namespace {

using troupe::unique_fd;

// -- targets ------------------------------------------------------------------

class target_work : public work {
public:
  explicit target_work(std::vector<targets::target> list)
      : list_{std::move(list)} {}

  std::size_t items() const override { return list_.size(); }

  std::string name(std::size_t item) const override { return list_[item].text; }

  bool repeatable() const override { return true; }

  bool elsewhere() const override { return false; }

  std::unique_ptr<asker> open() const override {
    return std::make_unique<client>(list_);
  }

private:
  class client : public asker {
  public:
    explicit client(const std::vector<targets::target>& list) : list_{list} {}

    answer ask(std::size_t item, const std::stop_token& stop) override {
      auto got = clients_.ask(list_[item], stop);
      return {.error = std::move(got.error), .stopped = got.stopped};
    }

  private:
    const std::vector<targets::target>& list_;
    targets::clients clients_;
  };

  std::vector<targets::target> list_;
};

// -- commands -----------------------------------------------------------------

// How long a command that was told to end may take to tidy up. A guess.
constexpr auto grace = std::chrono::seconds{1};

unique_fd checked(int fd, const char* what) {
  if (fd < 0)
    throw std::system_error{errno, std::generic_category(), what};
  return unique_fd{fd};
}

std::chrono::nanoseconds in_nanoseconds(const timeval& time) {
  return std::chrono::seconds{time.tv_sec}
         + std::chrono::microseconds{time.tv_usec};
}

// Returns how long a process has waited for a core, also one that has ended and
// was not waited for. Nothing where the kernel does not tell.
std::chrono::nanoseconds waited_for_core(pid_t process) {
  std::ifstream file{fmt::format("/proc/{}/schedstat", process)};
  std::int64_t ran = 0;
  std::int64_t waited = 0;
  file >> ran >> waited;
  return std::chrono::nanoseconds{file ? waited : 0};
}

std::string end_text(int status) {
  if (WIFEXITED(status))
    return fmt::format("exit status {}", WEXITSTATUS(status));
  const auto* name = ::sigabbrev_np(WTERMSIG(status));
  return name ? fmt::format("SIG{}", name)
              : fmt::format("signal {}", WTERMSIG(status));
}

// A process that runs, and the end of the pipe that its errors come from.
class running_command {
public:
  /// @param stop an event for its own use.
  running_command(pid_t process, unique_fd errors, unique_fd stop) noexcept
      : process_{process},
        ended_{troupe::open_end_signal(process)},
        errors_{std::move(errors)},
        stop_{std::move(stop)} {}

  running_command(const running_command&) = delete;
  running_command& operator=(const running_command&) = delete;

  // Leaves nothing behind, whatever went wrong.
  ~running_command() {
    if (process_ > 0) {
      ::kill(-process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
  }

  answer wait(const std::stop_token& stop) {
    if (ended_.get() < 0)
      throw std::system_error{errno, std::generic_category(),
                              "cannot watch a process"};
    {
      std::stop_callback wake{stop, [this] {
                                std::uint64_t one = 1;
                                // Cannot fail: the counter is far from full.
                                [[maybe_unused]] auto written =
                                    ::write(stop_.get(), &one, sizeof(one));
                              }};
      watch();
    }
    // Its number is its group's, and free for others once it is waited for.
    if (stop.stop_requested())
      ::kill(-process_, SIGKILL);
    drain();
    answer result;
    result.elsewhere = waited_for_core(process_);
    int status = 0;
    rusage used = {};
    while (::wait4(process_, &status, 0, &used) < 0 && errno == EINTR) {
    }
    process_ = -1;
    result.elsewhere +=
        in_nanoseconds(used.ru_utime) + in_nanoseconds(used.ru_stime);
    if (status != 0) {
      result.stopped = stop.stop_requested();
      result.error = end_text(status);
      if (auto told = lines_.text(); !told.empty())
        result.error += ": " + told;
    }
    return result;
  }

private:
  // Returns when the process has ended.
  void watch() {
    using clock = std::chrono::steady_clock;
    constexpr auto never = clock::time_point::max();
    auto last_moment = never;
    pollfd all[] = {{ended_.get(), POLLIN, 0},
                    {errors_.get(), POLLIN, 0},
                    {stop_.get(), POLLIN, 0}};
    for (;;) {
      auto patience = -1;
      if (last_moment != never) {
        auto left = std::chrono::ceil<std::chrono::milliseconds>(last_moment
                                                                 - clock::now())
                        .count();
        patience = left > 0 ? static_cast<int>(left) : 0;
      }
      auto ready = ::poll(all, std::size(all), patience);
      if (ready < 0)
        continue;
      if (ready == 0) {
        ::kill(-process_, SIGKILL);
        last_moment = never;
        continue;
      }
      if (all[0].revents != 0)
        return;
      if (all[1].revents != 0 && !drain())
        all[1].fd = -1;
      if (all[2].revents != 0) {
        all[2].fd = -1;
        ::kill(-process_, SIGTERM);
        last_moment = clock::now() + grace;
      }
    }
  }

  // Reads what is there. False if nothing more will come.
  bool drain() {
    if (errors_.get() < 0)
      return false;
    char block[4096];
    for (;;) {
      auto got = ::read(errors_.get(), block, sizeof(block));
      if (got > 0)
        lines_.add({block, static_cast<std::size_t>(got)});
      else if (got == 0 || errno != EINTR)
        return got < 0 && errno == EAGAIN;
    }
  }

  pid_t process_;
  unique_fd ended_;
  unique_fd errors_;
  unique_fd stop_;
  error_lines lines_;
};

class command_work : public work {
public:
  command_work(command what, std::vector<std::string> lines, bool show)
      : command_{std::move(what)}, lines_{std::move(lines)}, show_{show} {}

  std::size_t items() const override { return lines_.size(); }

  std::string name(std::size_t item) const override { return lines_[item]; }

  bool repeatable() const override { return false; }

  bool elsewhere() const override { return true; }

  std::unique_ptr<asker> open() const override {
    return std::make_unique<runner>(*this);
  }

private:
  class runner : public asker {
  public:
    explicit runner(const command_work& owner)
        : owner_{owner},
          nowhere_{checked(::open("/dev/null", O_WRONLY | O_CLOEXEC),
                           "cannot open /dev/null")} {}

    answer ask(std::size_t item, const std::stop_token& stop) override {
      try {
        return run(owner_.lines_[item], stop);
      } catch (const std::system_error& error) {
        return {.error = error.what()};
      }
    }

  private:
    answer run(const std::string& line, const std::stop_token& stop) {
      if (stop.stop_requested())
        return {.error = "stopped before it began", .stopped = true};
      troupe::spawn_settings how{SIGPIPE};
      unique_fd from;
      unique_fd to;
      if (owner_.show_) {
        how.place(STDERR_FILENO, STDOUT_FILENO);
      } else {
        int both[2];
        if (::pipe2(both, O_CLOEXEC) != 0)
          throw std::system_error{errno, std::generic_category(),
                                  "cannot make a pipe"};
        from = unique_fd{both[0]};
        to = unique_fd{both[1]};
        ::fcntl(from.get(), F_SETFL, O_NONBLOCK);
        how.place(nowhere_.get(), STDOUT_FILENO);
        how.place(to.get(), STDERR_FILENO);
      }
      how.close_from(STDERR_FILENO + 1);
      auto event = checked(::eventfd(0, EFD_CLOEXEC), "cannot make an event");
      pid_t made = -1;
      if (auto error = how.start(made, owner_.command_.words_for(line)))
        return {.error = fmt::format("cannot execute '{}': {}",
                                     owner_.command_.program(),
                                     std::strerror(error))};
      // Only the process writes there now, so that the end of it is an end.
      to.reset();
      return running_command{made, std::move(from), std::move(event)}.wait(
          stop);
    }

    const command_work& owner_;
    unique_fd nowhere_;
  };

  command command_;
  std::vector<std::string> lines_;
  bool show_;
};

} // namespace

std::unique_ptr<work> work_on(std::vector<targets::target> list) {
  return std::make_unique<target_work>(std::move(list));
}

std::unique_ptr<work> work_on(command what, std::vector<std::string> lines,
                              bool show) {
  return std::make_unique<command_work>(std::move(what), std::move(lines),
                                        show);
}

} // namespace tune
