// The options of cluster; see the header.
#include "options.hpp"

#include "troupe/node_network.hpp"
#include "troupe/options.hpp"

#include <stdexcept>

namespace cluster {

namespace {

constexpr std::size_t default_nodes = 4;

// Guesses; whoever needs more has a typing error.
constexpr std::size_t most_nodes = 64;
constexpr std::size_t most_processes = 1024;

// On every machine that builds this program, and some seconds of work.
constexpr auto default_input = "/usr/include";

} // namespace

options::options() {
  describe_arguments(
      "[PATH ...]", "A PATH is a file, or a folder, which stands for all files "
                    "below it; without any,\n/usr/include is packed. As a node "
                    "(--troupe-node) it has other options: see "
                    "--troupe-node --help.");
  opt_group{custom_options_, "global"}
      .add(nodes_, "nodes",
           "how many nodes to start on this machine (default: 4; with "
           "--tls-cert "
           "0)")
      .add(processes_, "processes",
           "how many worker processes each of them offers (default: 1)")
      .add(no_kill_, "no-kill", "do not kill one of them half-way")
      .add(into_, "into",
           "a folder for the packed files; made if it is not there (default: "
           "they are only checked)")
      .add(listen_, "listen",
           "HOST:PORT where nodes dial in (default: 127.0.0.1, any port)")
      .add(cert_, "tls-cert", "certificate of this program, PEM")
      .add(key_, "tls-key", "its private key, PEM")
      .add(ca_, "tls-ca",
           "certificate of the authority that signed all of them");
}

void options::check() {
  address_ = troupe::parse_address("listen", listen_);
  troupe::tls_files tls{cert_, key_, ca_};
  // What the pool would say is meant for programmers.
  if (tls.empty() && !troupe::is_loopback(address_.host))
    throw std::runtime_error{
        "listen = '" + listen_
        + "': others than this machine can reach it, which takes --tls-cert, "
          "--tls-key and --tls-ca; "
        + troupe::how_to_certify};
  process_count_ =
      troupe::parse_count("processes", processes_, 1, most_processes);
  node_count_ = nodes_.empty()
                    ? (tls.empty() ? default_nodes : 0)
                    : troupe::parse_count("nodes", nodes_, 0, most_nodes);
  if (node_count_ > 0 && !tls.empty())
    throw std::runtime_error{
        "nodes = '" + nodes_
        + "': with certificates, start nodes by hand (accepted: 0)"};
  troupe::load_nodes(*this, {.tls = tls});
}

std::optional<std::string> options::into() const {
  return into_.empty() ? std::nullopt : std::optional{into_};
}

std::vector<std::string> options::inputs() const {
  auto given = arguments();
  if (given.empty())
    return {default_input};
  return {given.begin(), given.end()};
}

} // namespace cluster
