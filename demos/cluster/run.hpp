// Packs files on the nodes of a pool, and keeps account of who packed what.
#pragma once

#include "local_nodes.hpp"

#include "parts/folder.hpp"
#include "parts/progress_bar.hpp"

#include "troupe/node_pool.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace cluster {

/// A file to pack.
struct input {
  /// Where to read it; shown in failures, too.
  std::string path;
  /// What it is called in the folder for packed files, without ".gz".
  std::string place;
  /// Why it cannot be read, if that is known already.
  std::string problem;
};

/// Finds the files below `words`, which are files and folders.
std::vector<input> find_inputs(const std::vector<std::string>& words);

/// What a node has done.
struct share {
  std::size_t files = 0;
  std::uint64_t bytes = 0;
  /// Those of the files that came in after a node was killed.
  std::size_t files_after = 0;
};

/// What came of a run.
struct ending {
  std::size_t files = 0;
  std::size_t failed = 0;
  std::size_t never_started = 0;
  std::uint64_t bytes = 0;
  std::uint64_t packed_bytes = 0;
  std::chrono::nanoseconds elapsed{0};
  /// By the name of the node.
  std::map<std::string, share> by_node;
  /// The name of the node that was killed, and after how many files.
  std::string killed;
  std::size_t killed_after = 0;
  /// How many files were on their way there, and were packed elsewhere.
  std::uint64_t moved = 0;
};

/// One run. `execute` is called once.
class run {
public:
  struct settings {
    /// Kill one of the local nodes half-way.
    bool kills = false;
    /// Where the packed files go, if anywhere.
    std::shared_ptr<const parts::folder> into = {};
    std::stop_token stop = {};
    /// Told of each file that failed, and why.
    std::function<void(const std::string&, const std::string&)> on_failure;
  };

  run(troupe::node_pool& pool, local_nodes& own, settings how);

  /// Returns how far the run is. From any thread.
  parts::progress look() const;

  ending execute(const std::vector<input>& files);

private:
  struct packed_file {
    std::uint64_t bytes = 0;
    std::uint64_t packed_bytes = 0;
    std::string by;
  };

  void note(ending& all, const packed_file& one);
  void kill_one(ending& all);

  troupe::node_pool& pool_;
  local_nodes& own_;
  settings how_;
  // How the local nodes are called by what their processes say of themselves.
  std::map<std::string, std::string> names_;
  std::atomic<std::size_t> done_{0};
  std::atomic<std::size_t> failed_{0};
  std::atomic<std::size_t> total_{0};
};

} // namespace cluster
