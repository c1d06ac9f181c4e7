// The actors through which a pool of nodes is reached: a door, the only one
// that is published, which takes nodes in; and an ear for each node, so that
// one that misbehaves ends its own session and no other. What they hear goes to
// the room.
//
// None of them is detached. CAF's middleman reads messages on the scheduler
// before they hear of them, so threads of their own would gain nothing; and CAF
// 0.17 may keep the message that tells its middleman of their end, and with it
// the actor, until the system is gone, whose destructor waits for the threads
// of all detached actors to be done with them: for ever.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <caf/event_based_actor.hpp>

#include "troupe/node_address.hpp"
#include "troupe/node_link.hpp"
#include "troupe/node_room.hpp"

namespace troupe {

/// Takes nodes in, and turns others away. Understands `(node_atom, hello,
/// actor)` from a node and `leave_atom` from the room.
class node_door : public caf::event_based_actor {
public:
  node_door(caf::actor_config& cfg, std::shared_ptr<node_room> room);

  caf::behavior make_behavior() override;

  const char* name() const override { return "troupe.node_door"; }

  void on_exit() override;

private:
  void take_in(const std::string& message, const caf::actor& node);
  void look_at_strangers();
  void refuse(const caf::actor& node, std::uint64_t session,
              const std::string& who, const std::string& why);

  std::shared_ptr<node_room> room_;
  // Where it was published.
  std::uint16_t port_ = 0;
  caf::strong_actor_ptr self_;
};

/// Hears one node, for one session, and tells it now and then that somebody is
/// here.
class node_ear : public caf::event_based_actor {
public:
  node_ear(caf::actor_config& cfg, std::shared_ptr<node_room> room,
           std::shared_ptr<node_session> session, caf::actor node);

  caf::behavior make_behavior() override;

  const char* name() const override { return "troupe.node_ear"; }

  void on_exit() override;

private:
  void hear(std::string& message);
  void beat();
  void leave(const std::string& why, bool in_order = false);

  std::shared_ptr<node_room> room_;
  std::shared_ptr<node_session> session_;
  // Until the session begins.
  caf::actor node_;
  node_inbox inbox_;
  node_pulse pulse_;
  caf::strong_actor_ptr self_;
};

/// Opens the door of a pool. Returns it, and sets `port` to the one that it
/// got.
///
/// Errors: throws `failure`, and then nothing listens.
caf::actor open_door(caf::actor_system& system,
                     const std::shared_ptr<node_room>& room,
                     const node_address& where, std::uint16_t& port);

} // namespace troupe
