// What CAF leaves undone where it opens and takes connections without TLS. It
// makes room for whatever length the other side announces, up to 4 GiB, of a
// message or of a list in it, and for the former on the thread that all others
// depend on; ends the process for a handshake that is empty; waits for ever for
// those who connect and say nothing; and tells nobody whom it has turned away.
// BASP is the protocol that it speaks there.

#pragma once

#include <cstdint>

#include <caf/actor.hpp>
#include <caf/expected.hpp>
#include <caf/fwd.hpp>

#include "troupe/node_address.hpp"

namespace troupe {

/// Publishes an actor, as CAF's middleman does. Connections to it are closed at
/// once that send what is no message of CAF, do not begin by a handshake,
/// announce a message of more than `wire::most_bytes`, or send one that holds
/// anything else than atoms, texts and handles of actors. `expel_strangers`
/// knows of them, and of those who say nothing.
///
/// Shape: returns the port.
caf::expected<std::uint16_t> publish_guarded(caf::actor_system& system,
                                             const caf::actor& whom,
                                             const node_address& where);

/// Connects to an actor that is published, as CAF's middleman does, by a
/// connection that is closed in the same cases. Blocks until the other side has
/// shaken hands.
caf::expected<caf::actor> connect_guarded(caf::actor_system& system,
                                          const node_address& where);

} // namespace troupe
