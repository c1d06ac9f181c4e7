// The nodes that this program starts on its own machine: processes of its own
// binary, as `cluster --troupe-node` would be on another one.
#pragma once

#include "troupe/node_address.hpp"

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace cluster {

/// Some nodes. Not thread-safe.
class local_nodes {
public:
  /// A node, and whether it runs.
  struct node {
    std::string name;
    pid_t process = -1;
    bool runs = true;
  };

  /// Starts `count` nodes called node-1, node-2 ... which dial `pool` and offer
  /// it `processes` each.
  ///
  /// @throws std::runtime_error if one cannot be started; then none runs.
  local_nodes(std::size_t count, std::size_t processes,
              const troupe::node_address& pool);

  /// Lets all of them go, and waits until they have gone.
  ~local_nodes();

  local_nodes(const local_nodes&) = delete;
  local_nodes& operator=(const local_nodes&) = delete;

  const std::vector<node>& all() const noexcept { return nodes_; }

  /// Throws std::runtime_error if one has ended by itself.
  void check() const;

  /// Ends a node by SIGKILL, with no chance to say goodbye.
  void kill(std::size_t index);

private:
  void end_all() noexcept;

  std::vector<node> nodes_;
};

} // namespace cluster
