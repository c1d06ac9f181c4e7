#include "troupe/node_door.hpp"

#include <caf/io/middleman.hpp>

#include <fmt/format.h>

#include "troupe/basp_guard.hpp"
#include "troupe/defaults.hpp"
#include "troupe/error.hpp"
#include "troupe/log.hpp"
#include "troupe/messages.hpp"
#include "troupe/options.hpp"
#include "troupe/stranger_watch.hpp"
#include "troupe/tls_guard.hpp"

#if TROUPE_TLS
#  include <caf/openssl/publish.hpp>
#endif

namespace troupe {

namespace {

caf::expected<std::uint16_t> publish(caf::actor_system& system,
                                     const caf::actor& door,
                                     const node_address& where) {
#if TROUPE_TLS
  if (system.has_openssl_manager()) {
    guard_connections(system);
    return caf::openssl::publish(door, where.port, where.host.c_str(), true);
  }
#endif
  return publish_guarded(system, door, where);
}

} // namespace

// -- the door -----------------------------------------------------------------

node_door::node_door(caf::actor_config& cfg, std::shared_ptr<node_room> room)
    : caf::event_based_actor{cfg}, room_{std::move(room)}, self_{ctrl()} {}

caf::behavior node_door::make_behavior() {
  return {
      [this](node_atom, const std::string& message, const caf::actor& node) {
        take_in(message, node);
      },
      [this](tick_atom, std::uint16_t port) {
        port_ = port;
        look_at_strangers();
      },
      [this](leave_atom) {
        // Before it is gone, so that the port is free by then.
        system().middleman().unpublish(caf::actor_cast<caf::actor>(self_));
        // Nobody looks at them any more.
        expel_strangers(system(), port_, {}, [](const strangers&) {});
        quit();
      },
  };
}

void node_door::on_exit() {
  self_ = nullptr;
}

void node_door::take_in(const std::string& message, const caf::actor& node) {
  auto head = wire::read_header(message);
  auto hello = head && head->kind == wire::kind::hello
                   ? wire::read_hello(message)
                   : std::nullopt;
  if (!hello || !node) {
    room_->count_refused();
    write_log(log_level::warning, room_->settings.pool,
              "somebody knocked with something that is no hello, and is not "
              "let in");
    return;
  }
  auto who = fmt::format("node '{}' ({})", hello->name, hello->place);
  if (hello->version != wire::version) {
    refuse(node, head->session, "a node",
           fmt::format("it speaks version {}, and this pool {}; build both "
                       "with the same troupe",
                       hello->version, wire::version));
    return;
  }
  if (hello->slots < 1 || hello->slots > defaults::workers_limit
      || hello->incarnation.empty() || hello->name.empty()) {
    refuse(node, head->session, who,
           fmt::format("it offers {} slots (accepted: 1 to {})", hello->slots,
                       defaults::workers_limit));
    return;
  }
  auto session = std::make_shared<node_session>();
  session->number = head->session;
  session->name = std::move(hello->name);
  session->place = std::move(hello->place);
  session->incarnation = std::move(hello->incarnation);
  session->id = node.node();
  for (auto& x : hello->procedures)
    session->signatures.emplace(std::move(x.name), std::move(x.signature));
  session->slots = hello->slots;
  session->link =
      std::make_shared<node_link>(node, head->session, room_->settings.window);
  auto ear = system().spawn<node_ear>(room_, session, node);
  if (auto why = room_->welcome(session, ear); !why.empty()) {
    refuse(node, head->session, who, why);
    compat::tell(ear, leave_atom_v);
    return;
  }
  compat::tell(ear, node_atom_v);
}

void node_door::look_at_strangers() {
  const auto& how = room_->settings;
  expel_strangers(
      system(), port_, how.timeout, [room = room_](const strangers& found) {
        room->count_refused(found.count);
        write_log(
            log_level::warning, room->settings.pool,
            found.count == 1
                ? fmt::format("a connection is turned away: {}", found.last)
                : fmt::format("{} connections are turned away; the last one: "
                              "{}",
                              found.count, found.last));
      });
  compat::tell_after(how.heartbeat, caf::actor_cast<caf::actor>(self_),
                     tick_atom_v, port_);
}

void node_door::refuse(const caf::actor& node, std::uint64_t session,
                       const std::string& who, const std::string& why) {
  room_->count_refused();
  write_log(log_level::warning, room_->settings.pool,
            fmt::format("{} is turned away: {}", who, why));
  wire::refusal_message answer;
  answer.text = why;
  compat::tell(node, node_atom_v, wire::write(session, answer));
}

// -- an ear -------------------------------------------------------------------

node_ear::node_ear(caf::actor_config& cfg, std::shared_ptr<node_room> room,
                   std::shared_ptr<node_session> session, caf::actor node)
    : caf::event_based_actor{cfg},
      room_{std::move(room)},
      session_{std::move(session)},
      node_{std::move(node)},
      inbox_{room_->settings.window,
             room_->settings.max_message + wire::overhead, session_->slots},
      pulse_{room_->settings.heartbeat, room_->settings.timeout,
             std::chrono::steady_clock::now()},
      self_{ctrl()} {}

caf::behavior node_ear::make_behavior() {
  return {
      // The session has begun.
      [this](node_atom) {
        // CAF tells at once when the connection breaks.
        node_->attach_functor([me = address()](const caf::error&) {
          if (auto to = caf::actor_cast<caf::actor>(me))
            compat::tell(to, leave_atom_v, std::string{});
        });
        node_ = nullptr;
        compat::tell_after(room_->settings.heartbeat,
                           caf::actor_cast<caf::actor>(self_), tick_atom_v);
      },
      [this](node_atom, std::string& message) { hear(message); },
      [this](tick_atom) { beat(); },
      [this](leave_atom, const std::string&) {
        leave("the connection broke, or its process has ended");
      },
      // The pool has ended, or the node was not let in.
      [this](leave_atom) {
        session_->link->post(wire::write_text(session_->number, wire::kind::bye,
                                              "the pool has ended"));
        leave("the pool has ended", true);
      },
  };
}

void node_ear::on_exit() {
  // Also when somebody else has ended this actor.
  room_->end(*session_, "its session was ended from outside", false);
  self_ = nullptr;
  node_ = nullptr;
}

void node_ear::hear(std::string& message) {
  pulse_.heard(std::chrono::steady_clock::now());
  auto whole = inbox_.take(message, *session_->link);
  if (!whole) {
    leave("it sent a message that makes no sense");
    return;
  }
  room_->take_in(*session_);
  if (whole->empty())
    return;
  if (wire::read_header(*whole)->kind == wire::kind::bye) {
    auto why = wire::read_text(*whole);
    // So that it knows that all it has said has arrived.
    session_->link->post(
        wire::write_text(session_->number, wire::kind::bye, "farewell"));
    leave(why.value_or("it does not say why"), true);
    return;
  }
  if (auto why = room_->handle(*session_, *whole); !why.empty())
    leave(fmt::format("it sent {}", why));
}

void node_ear::beat() {
  const auto& how = room_->settings;
  if (pulse_.is_lost(std::chrono::steady_clock::now())) {
    leave(fmt::format("no sign of life for {}", to_text(how.timeout)));
    return;
  }
  session_->link->post(
      wire::write_text(session_->number, wire::kind::ping, {}));
  compat::tell_after(how.heartbeat, caf::actor_cast<caf::actor>(self_),
                     tick_atom_v);
}

void node_ear::leave(const std::string& why, bool in_order) {
  room_->end(*session_, why, in_order);
  quit();
}

// -- opening ------------------------------------------------------------------

caf::actor open_door(caf::actor_system& system,
                     const std::shared_ptr<node_room>& room,
                     const node_address& where, std::uint16_t& port) {
  auto refuse = [&](const std::string& why) {
    throw failure{
        ec::invalid_option,
        fmt::format("node_options.listen = '{}': {}", to_text(where), why)};
  };
  // CAF has one code for all that can be wrong.
  if (auto why = why_not_free(where); !why.empty())
    refuse(why);
  caf::actor door = system.spawn<node_door>(room);
  room->set_door(door);
  auto got = publish(system, door, where);
  if (!got) {
    room->close();
    refuse(describe(got.error()));
  }
  port = *got;
  compat::tell(door, tick_atom_v, port);
  return door;
}

} // namespace troupe
