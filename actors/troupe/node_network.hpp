// What an actor system needs so that pools and nodes can reach each other
// through it.

#pragma once

#include <caf/fwd.hpp>

#include "troupe/tls_files.hpp"

namespace troupe {

/// How an actor system takes part in the network.
struct node_network {
  /// Without them, connections stay on this machine.
  tls_files tls = {};
};

/// Has systems with this configuration take part in the network: loads CAF's
/// middleman, and with certificates its OpenSSL module. To be called once,
/// before the system is made, in place of `cfg.load<caf::io::middleman>()`.
///
/// Units:  sets `middleman.heartbeat-interval` to 10 s and `connection-timeout`
///         to 3 min, by which CAF lets go of connections that are dead and
///         that nobody uses; the middleman's other peers must do the same.
/// Errors: throws `failure` with `ec::invalid_option`, whose text is one line,
///         if a file is missing, cannot be read, does not parse, does not
///         belong to the others, or has expired; then nothing was changed. The
///         same if this troupe was built without TLS and files are given.
void load_nodes(caf::actor_system_config& cfg, const node_network& how = {});

} // namespace troupe
