// The rounds, the child processes and the medians of harness.hpp. A child tells
// its parent what it measured as lines of text through a pipe; whatever else
// happens to it (a crash, a hang) is told as an error of that one contestant.

#include "harness.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

namespace bench {

namespace {

using clock = std::chrono::steady_clock;

/// How long a sample may take before it counts as hung. A guess: the slowest
/// contestant needs a twentieth of it on two cores.
constexpr auto patience = std::chrono::seconds{180};

std::atomic<bool> interrupt_seen{false};

std::string to_text(const sample& from) {
  if (!from.error.empty())
    return "error " + from.error + "\n";
  std::string text;
  for (const auto& [key, value] : from.values)
    text += fmt::format("{} {}\n", key, value);
  return text + "end\n";
}

sample to_sample(const std::string& text) {
  sample result;
  auto complete = false;
  for (std::size_t at = 0; at < text.size();) {
    auto line_end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, line_end - at);
    at = line_end + 1;
    auto space = line.find(' ');
    auto key = line.substr(0, space);
    if (key == "end")
      complete = true;
    else if (key == "error" && space != std::string::npos)
      result.error = line.substr(space + 1);
    else if (space != std::string::npos)
      result.values[key] = std::strtod(line.c_str() + space, nullptr);
  }
  if (!complete && result.error.empty())
    result.error = "ended without a result";
  return result;
}

void write_all(int fd, const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    auto written = write(fd, text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return; // the parent has gone, and so has whoever would read this
    at += static_cast<std::size_t>(written);
  }
}

sample run_guarded(const std::function<sample()>& measure) {
  try {
    return measure();
  } catch (const std::exception& problem) {
    return {{}, problem.what()};
  } catch (...) {
    return {{}, "an exception that is no std::exception"};
  }
}

/// One sample in the making, in a process of its own.
class child {
public:
  explicit child(const contestant& who) {
    int ends[2];
    if (pipe(ends) != 0)
      throw std::runtime_error{std::string{"cannot make a pipe for a sample: "}
                               + std::strerror(errno)};
    pid_ = fork();
    if (pid_ < 0)
      throw std::runtime_error{std::string{"cannot fork for a sample: "}
                               + std::strerror(errno)};
    if (pid_ == 0) {
      // A group of its own, so that what it starts ends with it.
      setpgid(0, 0);
      // Nobody would ever read what an orphan measured.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::signal(SIGINT, SIG_DFL);
      close(ends[0]);
      write_all(ends[1], to_text(run_guarded(who.measure)));
      // Not exit: static objects belong to the parent, a peer's included.
      _exit(0);
    }
    close(ends[1]);
    from_ = ends[0];
  }

  child(const child&) = delete;
  child& operator=(const child&) = delete;

  ~child() {
    close(from_);
    if (pid_ > 0) {
      kill(-pid_, SIGKILL);
      kill(pid_, SIGKILL); // it may not have its group yet
      waitpid(pid_, nullptr, 0);
    }
  }

  sample result() {
    std::string text;
    const auto give_up = clock::now() + patience;
    for (;;) {
      if (interrupt_seen)
        throw interrupted{};
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          give_up - clock::now());
      if (left.count() <= 0)
        return {
            {},
            fmt::format("no result within {} s; was ended", patience.count())};
      pollfd readable{from_, POLLIN, 0};
      if (poll(&readable, 1, static_cast<int>(left.count())) <= 0)
        continue;
      char buffer[4096];
      auto got = read(from_, buffer, sizeof(buffer));
      if (got < 0)
        continue;
      if (got == 0)
        break;
      text.append(buffer, static_cast<std::size_t>(got));
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    if (WIFSIGNALED(status))
      return {{},
              fmt::format("ended by signal {} ({})", WTERMSIG(status),
                          strsignal(WTERMSIG(status)))};
    return to_sample(text);
  }

private:
  pid_t pid_ = -1;
  int from_ = -1;
};

void keep(contestant_result& into, sample&& one) {
  if (!one.error.empty()) {
    into.error = std::move(one.error);
    return;
  }
  for (const auto& [key, value] : one.values)
    into.samples[key].push_back(value);
}

void show_progress(const row& what, int round, int rounds,
                   const std::string& who) {
  if (!isatty(STDERR_FILENO))
    return;
  if (who.empty())
    fmt::print(stderr, "\r\x1b[K");
  else
    fmt::print(stderr, "\r\x1b[K{}: round {} of {}: {}", what.name, round,
               rounds, who);
  std::fflush(stderr);
}

void run_round(const row& what, row_result& result, int round, int rounds) {
  std::vector<std::pair<std::size_t, std::unique_ptr<child>>> running;
  for (std::size_t i = 0; i < what.contestants.size(); ++i) {
    const auto& who = what.contestants[i];
    if (!result.contestants[i].error.empty())
      continue;
    show_progress(what, round, rounds, who.name);
    running.emplace_back(i, std::make_unique<child>(who));
    if (!what.side_by_side) {
      keep(result.contestants[i], running.back().second->result());
      running.clear();
    }
  }
  for (auto& [i, one] : running)
    keep(result.contestants[i], one->result());
}

target compare(std::string text, std::string who, std::string key, double limit,
               reference other, bool less) {
  auto judge = [=](const row_result& in) -> std::optional<verdict> {
    const auto* subject = in.find(who);
    const auto* base = other(in);
    if (!subject || !base)
      return std::nullopt;
    auto mine = subject->median(key);
    auto theirs = base->median(key);
    if (!mine || !theirs || *theirs == 0)
      return std::nullopt;
    auto ratio = *mine / *theirs;
    return verdict{ratio, limit, less ? ratio <= limit : ratio >= limit,
                   base->name};
  };
  return {std::move(text), std::move(judge)};
}

} // namespace

std::optional<double> contestant_result::median(const std::string& key) const {
  auto found = samples.find(key);
  if (!error.empty() || found == samples.end() || found->second.empty())
    return std::nullopt;
  auto sorted = found->second;
  std::sort(sorted.begin(), sorted.end());
  auto middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle]
                                : (sorted[middle - 1] + sorted[middle]) / 2;
}

const contestant_result* row_result::find(const std::string& who) const {
  for (const auto& one : contestants)
    if (one.name == who)
      return &one;
  return nullptr;
}

const contestant_result* row_result::best_peer(const std::string& key,
                                               bool less_is_better) const {
  const contestant_result* best = nullptr;
  for (const auto& one : contestants) {
    auto value = one.median(key);
    if (one.role != role::peer || !value)
      continue;
    if (!best || (*value < *best->median(key)) == less_is_better)
      best = &one;
  }
  return best;
}

void watch_for_interrupt() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupt_seen = true; };
  // No SA_RESTART: poll has to return.
  sigaction(SIGINT, &action, nullptr);
}

row_result measure(const row& what, int rounds) {
  row_result result;
  result.name = what.name;
  result.title = what.title;
  result.columns = what.columns;
  result.plot = what.plot;
  result.rounds = rounds;
  for (const auto& who : what.contestants)
    result.contestants.push_back({who.name, who.role, who.requests, {}, {}});
  for (int round = 1; round <= rounds; ++round)
    run_round(what, result, round, rounds);
  show_progress(what, rounds, rounds, "");
  for (const auto& goal : what.targets)
    result.targets.push_back({goal.text, goal.judge(result)});
  return result;
}

reference named(std::string who) {
  return [who = std::move(who)](const row_result& in) { return in.find(who); };
}

reference best_peer(std::string key, bool less_is_better) {
  return [key = std::move(key), less_is_better](const row_result& in) {
    return in.best_peer(key, less_is_better);
  };
}

target at_most(std::string text, std::string who, std::string key, double limit,
               reference other) {
  return compare(std::move(text), std::move(who), std::move(key), limit,
                 std::move(other), true);
}

target at_least(std::string text, std::string who, std::string key,
                double limit, reference other) {
  return compare(std::move(text), std::move(who), std::move(key), limit,
                 std::move(other), false);
}

} // namespace bench
