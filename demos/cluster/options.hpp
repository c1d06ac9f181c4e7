// What users may set on the command line of cluster, beside what troupe and CAF
// bring.
#pragma once

#include "troupe/config.hpp"
#include "troupe/node_address.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace cluster {

/// The configuration of cluster.
class options : public troupe::config {
public:
  options();

  /// Checks what the command line had, after it was parsed, and loads what the
  /// network takes.
  ///
  /// @throws std::runtime_error, its text the line to print, without the
  ///         program's name, before leaving with status 2.
  void check();

  // -- properties, once checked -----------------------------------------------

  /// Returns how many nodes to start on this machine.
  std::size_t nodes() const noexcept { return node_count_; }

  /// Returns how many processes each of them offers.
  std::size_t processes() const noexcept { return process_count_; }

  const troupe::node_address& listen() const noexcept { return address_; }

  /// Returns whether a node is to be killed half-way.
  bool kills() const noexcept { return !no_kill_ && node_count_ > 1; }

  /// Returns the folder for the packed files, if there is one.
  std::optional<std::string> into() const;

  /// Returns the files and folders to pack.
  std::vector<std::string> inputs() const;

private:
  std::string nodes_;
  std::string processes_ = "1";
  std::string listen_ = "127.0.0.1:0";
  std::string into_;
  std::string cert_;
  std::string key_;
  std::string ca_;
  bool no_kill_ = false;
  std::size_t node_count_ = 0;
  std::size_t process_count_ = 0;
  troupe::node_address address_;
};

} // namespace cluster
