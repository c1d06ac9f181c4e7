// An actor that watches a pool from outside: it subscribes to the completion
// events and adds them up. Knows nothing of what the pool works on.
#pragma once

#include "troupe/messages.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>

#include <cstdint>

namespace fanout {

/// Adds up what it is told; answers `(troupe::stats_atom)` with the sum and
/// with how many completion events it is made of.
class observer : public caf::event_based_actor {
public:
  explicit observer(caf::actor_config& cfg) : caf::event_based_actor{cfg} {}

  caf::behavior make_behavior() override;

private:
  troupe::completion sum_;
  std::uint64_t events_ = 0;
};

/// What an observer has seen.
struct observation {
  std::uint64_t events = 0;
  /// The last event, its counts those of all events added up.
  troupe::completion sum;
};

/// Starts an observer and returns when it is subscribed at `coordinator`:
/// whatever is submitted from now on, it will be told of.
caf::actor observe(caf::actor_system& sys, const caf::actor& coordinator);

/// Returns what an observer has seen, and ends it.
observation dismiss(caf::actor_system& sys, const caf::actor& watching);

} // namespace fanout
