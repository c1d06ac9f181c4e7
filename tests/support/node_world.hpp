// A pool of nodes, and real nodes that dial in on loopback, for tests of what
// both promise.

#pragma once

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "child_process.hpp"
#include "programs.hpp"
#include "test_procedures.hpp"

#include "troupe/config.hpp"
#include "troupe/node_pool.hpp"
#include "troupe/settled.hpp"

namespace test {

/// An actor system that takes part in the network.
struct network {
  explicit network(const troupe::node_network& how = {}) {
    load_nodes(cfg, how);
    system.emplace(cfg);
  }

  troupe::config cfg;
  std::optional<caf::actor_system> system;
};

/// A pool of nodes.
struct hall {
  explicit hall(troupe::node_options options = {},
                const troupe::node_network& how = {})
      : net{how}, pool{*net.system, all_procedures(), std::move(options)} {}

  network net;
  troupe::node_pool pool;
};

/// A node of so many processes.
inline child_process start_node(std::uint16_t port, const std::string& name,
                                int processes = 1,
                                const std::string& output = {},
                                const std::vector<std::string>& more = {}) {
  std::vector<std::string> command{TROUPE_NODE,
                                   "--connect",
                                   "127.0.0.1:" + std::to_string(port),
                                   "--load",
                                   TROUPE_PROCEDURES_MODULE,
                                   "--name",
                                   name,
                                   "--processes",
                                   std::to_string(processes)};
  command.insert(command.end(), more.begin(), more.end());
  return child_process{std::move(command),
                       output.empty() ? "/dev/null" : output};
}

/// What an operation failed with; the code is `ec{}` if it did not.
struct failed {
  troupe::ec code{};
  std::string text;
};

template <class T>
failed failure_of(troupe::operation<T> op) {
  auto outcome = troupe::gather_settled(std::move(op)).get();
  const auto& first = std::get<0>(outcome);
  return {first.code(), std::string{first.what()}};
}

inline std::size_t letters_in(const std::string& path) {
  std::ifstream file{path};
  return static_cast<std::size_t>(
      std::distance(std::istreambuf_iterator<char>{file}, {}));
}

inline std::string text_of(const std::string& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

inline std::ptrdiff_t lines_of(const std::string& path) {
  auto text = text_of(path);
  return std::count(text.begin(), text.end(), '\n');
}

/// Waits until the pool has noticed.
template <class Condition>
void eventually(Condition holds) {
  while (!holds())
    std::this_thread::yield();
}

} // namespace test
