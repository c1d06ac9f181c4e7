// A pool whose calls of procedures are made on other machines: each machine
// runs a node, which dials this program and offers its worker processes.
// Everything else is as with any pool, since each process over there
// corresponds to a worker here, to which the call is one more call that blocks.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "troupe/node_address.hpp"
#include "troupe/node_network.hpp"
#include "troupe/node_room.hpp"
#include "troupe/pool.hpp"
#include "troupe/procedure.hpp"
#include "troupe/remote_failure.hpp"

namespace troupe {

class node_host;

/// What can be set about a pool of nodes in code. What is left out comes from
/// the configuration, as with any pool, or is as said here.
struct node_options {
  /// Names the pool, and its keys: `troupe.pools.NAME.*`.
  std::string name = "nodes";

  /// Where nodes can dial in. Another interface than loopback takes a system
  /// with certificates, see `load_nodes`; there is no way round it.
  node_address listen = {};

  /// How often each side tells the other that it is there: up to `timeout`.
  std::chrono::nanoseconds heartbeat = std::chrono::seconds{2};

  /// A side that was not heard of for so long is lost: up to a minute. Noticed
  /// within this and `heartbeat`, on both sides. So long may the handshake of a
  /// connection take; then it is closed.
  std::chrono::nanoseconds timeout = std::chrono::seconds{20};

  /// The most bytes of arguments, or of a result, encoded: from 1 to 4 GiB - 1.
  std::uint64_t max_message = std::uint64_t{1} << 30;

  /// How many bytes may be under way to a node, and from it, that the other
  /// side has not taken yet: from 1 MiB to 1 GiB. What a node that is stopped
  /// costs.
  std::uint64_t window = 8 * 1024 * 1024;

  /// A call that runs longer fails with `ec::deadline_exceeded`, and its
  /// process over there is ended; 0: any time; none: `max-run-time` of the
  /// configuration.
  std::optional<std::chrono::nanoseconds> max_run_time = {};

  /// A request that is tried again is not run any more once it has ended so
  /// many processes over there, or nodes: from 1.
  unsigned max_lost = 2;

  /// As in `pool_options`.
  std::optional<std::size_t> max_queued = {};
  std::optional<troupe::on_full> on_full = {};
  std::optional<std::chrono::nanoseconds> spin = {};
  std::optional<std::chrono::nanoseconds> drain_timeout = {};
  std::shared_ptr<troupe::clock> clock = {};
};

/// A pool of worker processes on other machines.
///
/// Shape:  as many workers as the nodes that are here offer processes; it grows
///         and shrinks with them. With no node at all it has none, and all
///         requests wait in the queue; one that a worker has taken as the last
///         node went waits there, and counts as begun. A request goes to the
///         node that has the most free. `call`, and `map` with a procedure, run
///         there; `run` with any other function runs in this program. Copies to
///         `pool` share it.
/// Errors: besides those of `call`: `node_lost` if the node was lost while it
///         ran the request: killed, cut off, or silent for `timeout`. The
///         request may have run, and is not run again; one of an `idempotent`
///         procedure is, once, elsewhere. `worker_lost`, `remote_failure`,
///         `too_large` as from a `process_pool`. `unknown_procedure` if none of
///         the nodes that are here knows it. Never two outcomes of a request.
/// Time:   where an operation is cancelled, its deadline passes, or it runs for
///         longer than `max_run_time`, a running call is ended with its process
///         over there.
/// Source: dask.distributed's scheduler and workers, on CAF's distribution
///         layer.
class node_pool : public pool {
public:
  /// Opens the port. `system` must take part in the network, see `load_nodes`.
  /// `known` are the procedures of this program: those that it does not know
  /// are not sent anywhere. None: what the nodes know counts.
  ///
  /// Errors: throws `failure` with `ec::invalid_option`; then nothing listens.
  node_pool(caf::actor_system& system, const procedures& known,
            const node_options& options = {});

  /// Returns the port on which nodes can dial in.
  std::uint16_t port() const noexcept;

  /// Returns what there is to know about the nodes. Does not block.
  node_stats nodes() const;

private:
  node_pool(caf::actor_system& system, std::shared_ptr<node_host> host);

  std::shared_ptr<node_host> host_;
};

} // namespace troupe
