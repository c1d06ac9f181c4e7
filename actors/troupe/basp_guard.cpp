#include "troupe/basp_guard.hpp"

#include <sys/socket.h>

#include <set>
#include <span>
#include <string>
#include <utility>

#include <caf/io/basp/header.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/doorman_impl.hpp>
#include <caf/io/network/scribe_impl.hpp>

#include <fmt/format.h>

#include "troupe/caf_compat.hpp"
#include "troupe/node_wire.hpp"
#include "troupe/stranger_watch.hpp"

namespace troupe {

namespace {

namespace basp = caf::io::basp;
namespace network = caf::io::network;

using message_type = basp::message_type;

// A connection whose messages are looked at before CAF sees them. CAF asks for
// so many bytes, gets no more and no less, and asks for the next ones: a
// header, and then its payload, if it has one.
class guarded_scribe final : public network::scribe_impl {
public:
  // `greeting`: the handshake by which the other side begins.
  guarded_scribe(network::default_multiplexer& multiplexer, int fd,
                 message_type greeting)
      : scribe_impl{multiplexer, fd}, greeting_{greeting} {
    network::keepalive(fd, true);
  }

  ~guarded_scribe() override {
    if (auto* watch = stranger_watch::of_this_thread())
      watch->end(this);
  }

  // Has strangers watched for. On the multiplexer's thread.
  void watch() {
    watch_ = &stranger_watch::start();
    watch_->begin(this, stream_.fd(), "handshake", [this] { cut_off(); });
  }

  bool consume(compat::io_context* ctx, const void* data,
               std::size_t size) override {
    if (detached())
      return false;
    auto bytes = std::span{static_cast<const std::byte*>(data), size};
    auto is_payload = std::exchange(payload_follows_, false);
    auto why = is_payload ? why_not(bytes) : take_header(bytes);
    if (!why.empty()) {
      turn_away(std::move(why));
      // CAF forgets a connection at once, and whoever was behind it, when it
      // gets less than it has asked for.
      auto result = scribe_impl::consume(ctx, data, size - 1);
      // What is still to be sent would keep it open until somebody reads it.
      ::shutdown(stream_.fd(), SHUT_RDWR);
      return result;
    }
    auto result = scribe_impl::consume(ctx, data, size);
    if (detached())
      turn_away("it sent what makes no sense");
    else if (is_payload && !std::exchange(greeted_, true) && watch_ != nullptr)
      watch_->succeed(this);
    return result;
  }

protected:
  // What CAF is told at the end of the connection. It would forget it by
  // another message, which waits for all that came before, and forget by its
  // descriptor: by then that may be the one of a node which is joining. Of one
  // that has not shaken hands nothing can have come before, so it is forgotten
  // at once.
  caf::message detach_message() override {
    return greeted_ ? scribe_impl::detach_message()
                    : caf::make_message(caf::delete_atom_v, hdl());
  }

private:
  static constexpr const char* no_node = "it does not speak as a node does";

  // Returns why CAF must not see this header, or nothing.
  std::string take_header(std::span<const std::byte> bytes) {
    basp::header head;
    // Nodes have nobody behind them on whose behalf they could speak.
    if (!compat::decode(bytes, head) || !basp::valid(head)
        || head.operation == message_type::routed_message)
      return no_node;
    if (head.payload_len > wire::most_bytes)
      return fmt::format("it announced a message of {} bytes (accepted: up to "
                         "{})",
                         head.payload_len, wire::most_bytes);
    if (basp::is_handshake(head)
            ? head.operation != greeting_ || head.payload_len == 0
            : !greeted_)
      return "it did not begin by a handshake";
    kind_ = head.operation;
    payload_follows_ = head.payload_len > 0;
    return {};
  }

  // The same for the payload.
  std::string why_not(std::span<const std::byte> payload) const {
    auto good = kind_ == message_type::direct_message
                    ? compat::holds_only_texts(payload)
                : kind_ == message_type::down_message
                    ? compat::ends_by_texts(payload)
                    : true;
    return good ? "" : "it sent a message that no node sends";
  }

  void turn_away(std::string why) {
    if (watch_ != nullptr)
      watch_->turn_away(this, stream_.fd(), std::move(why));
  }

  void cut_off() {
    // Of one that has said nothing CAF keeps nothing, and need not be told that
    // it is gone.
    if (!payload_follows_)
      graceful_shutdown();
    ::shutdown(stream_.fd(), SHUT_RDWR);
  }

  const message_type greeting_;
  // Null where nobody is a stranger.
  stranger_watch* watch_ = nullptr;
  // Of the last header.
  message_type kind_ = greeting_;
  bool greeted_ = false;
  bool payload_follows_ = false;
};

class guarded_doorman final : public network::doorman_impl {
public:
  using doorman_impl::doorman_impl;

  bool new_connection() override {
    // The port is being closed.
    if (detached())
      return false;
    auto& multiplexer = acceptor_.backend();
    auto guest = caf::make_counted<guarded_scribe>(
        multiplexer, acceptor_.accepted_socket(),
        message_type::client_handshake);
    guest->watch();
    auto handle = guest->hdl();
    parent()->add_scribe(std::move(guest));
    return doorman::new_connection(&multiplexer, handle);
  }
};

// The only one that CAF has; its OpenSSL module counts on it, too.
network::default_multiplexer& multiplexer_of(caf::actor_system& system) {
  return static_cast<network::default_multiplexer&>(
      system.middleman().backend());
}

} // namespace

caf::expected<std::uint16_t> publish_guarded(caf::actor_system& system,
                                             const caf::actor& whom,
                                             const node_address& where) {
  auto fd =
      network::new_tcp_acceptor_impl(where.port, where.host.c_str(), true);
  if (!fd)
    return std::move(fd.error());
  auto doorman =
      caf::make_counted<guarded_doorman>(multiplexer_of(system), *fd);
  auto port = doorman->port();
  compat::tell(compat::connection_keeper(system), caf::publish_atom_v,
               caf::io::doorman_ptr{std::move(doorman)}, port,
               caf::actor_cast<caf::strong_actor_ptr>(whom),
               std::set<std::string>{});
  return port;
}

caf::expected<caf::actor> connect_guarded(caf::actor_system& system,
                                          const node_address& where) {
  auto fd = network::new_tcp_connection(where.host, where.port);
  if (!fd)
    return std::move(fd.error());
  auto host = caf::make_counted<guarded_scribe>(multiplexer_of(system), *fd,
                                                message_type::server_handshake);
  caf::expected<caf::actor> result{
      caf::make_error(caf::sec::no_actor_published_at_port)};
  caf::scoped_actor self{system};
  compat::ask(self, compat::connection_keeper(system), compat::forever,
              caf::connect_atom_v, caf::io::scribe_ptr{std::move(host)},
              where.port)
      .receive(
          [&](const caf::node_id&, const caf::strong_actor_ptr& found,
              const std::set<std::string>&) {
            if (found)
              result = caf::actor_cast<caf::actor>(found);
          },
          [&](const caf::error& why) { result = why; });
  return result;
}

} // namespace troupe
