// A pool of nodes, and real nodes that dial in on loopback, for tests of what
// both promise.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "child_process.hpp"
#include "far_outcomes.hpp"
#include "programs.hpp"
#include "test_procedures.hpp"

#include "troupe/config.hpp"
#include "troupe/node_pool.hpp"

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

} // namespace test
