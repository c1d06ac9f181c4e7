// Nodes as child processes; see the header.
#include "local_nodes.hpp"

#include "troupe/spawn_settings.hpp"

#include <fmt/format.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace cluster {

namespace {

void reap(pid_t process) noexcept {
  while (waitpid(process, nullptr, 0) < 0 && errno == EINTR) {
  }
}

} // namespace

local_nodes::local_nodes(std::size_t count, std::size_t processes,
                         const troupe::node_address& pool) {
  // Not the link: the nodes' lines begin with the name of their program.
  auto program = std::filesystem::read_symlink("/proc/self/exe").string();
  troupe::spawn_settings how;
  how.close_from(3);
  for (std::size_t i = 1; i <= count; ++i) {
    node made{.name = fmt::format("node-{}", i)};
    // With --once, a node ends when this program is gone, whatever ended it.
    auto error =
        how.start(made.process,
                  {program, "--troupe-node", "--once",
                   "--connect=" + troupe::to_text(pool), "--name=" + made.name,
                   fmt::format("--processes={}", processes)});
    if (error != 0) {
      end_all();
      throw std::runtime_error{
          fmt::format("cannot start {}: {}", made.name, std::strerror(error))};
    }
    nodes_.push_back(std::move(made));
  }
}

local_nodes::~local_nodes() {
  end_all();
}

void local_nodes::check() const {
  for (const auto& x : nodes_) {
    siginfo_t ended{};
    if (x.runs
        && waitid(P_PID, static_cast<id_t>(x.process), &ended,
                  WEXITED | WNOHANG | WNOWAIT)
               == 0
        && ended.si_pid == x.process)
      throw std::runtime_error{fmt::format(
          "{} (process {}) has ended before it was of use", x.name, x.process)};
  }
}

void local_nodes::kill(std::size_t index) {
  auto& x = nodes_.at(index);
  ::kill(x.process, SIGKILL);
  reap(x.process);
  x.runs = false;
}

void local_nodes::end_all() noexcept {
  // All at once, so that their ends take no longer than one.
  for (const auto& x : nodes_)
    if (x.runs)
      ::kill(x.process, SIGTERM);
  for (auto& x : nodes_)
    if (x.runs) {
      reap(x.process);
      x.runs = false;
    }
}

} // namespace cluster
