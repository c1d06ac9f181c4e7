// What an actor system needs so that pools and nodes can reach each other
// through it, and the checks without which CAF would find out too late: of
// certificates before anything starts, and of addresses that need them.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <caf/fwd.hpp>

namespace troupe {

/// The files by which both sides of a connection prove who they are, in PEM.
/// All of them, or none.
struct tls_files {
  /// The certificate, and behind it those in between, if any.
  std::string certificate = {};
  /// Its private key, without a pass phrase.
  std::string key = {};
  /// The certificate of the authority that has signed those of both sides.
  std::string ca = {};

  bool empty() const noexcept {
    return certificate.empty() && key.empty() && ca.empty();
  }
};

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

/// A place in the network.
struct node_address {
  /// A name or an address.
  std::string host = "127.0.0.1";
  /// To listen on: 0 is any that is free.
  std::uint16_t port = 0;
};

/// Reads HOST:PORT; an address of many colons stands in brackets.
///
/// Errors: throws `failure` with `ec::invalid_option`; the text opens with
///         `key`.
node_address parse_address(const std::string& key, const std::string& text);

std::string to_text(const node_address& where);

/// Returns the name of this machine and the number of this process, for people.
std::string this_place();

/// Returns whether the host is this machine, and seen by nobody else.
bool is_loopback(const std::string& host);

/// Says how to make certificates.
extern const char* const how_to_certify;

/// Has an error of one connection over TLS not be taken for one of others.
/// Before the first connection of the system.
void keep_errors_apart(caf::actor_system& system);

/// Says what is wrong with the files, in one line; or nothing.
std::string why_not_trusted(const tls_files& files);

/// Says why nothing can listen there, or nothing.
std::string why_not_free(const node_address& where);

/// Tries to reach who listens there, and hears whether he speaks: CAF by itself
/// would wait for ever for one who does not, and with it all other connections.
/// Blocks for `patience` at the longest. Says what went wrong, in one line, or
/// nothing.
///
/// `interrupt`: a descriptor that ends the wait when it is readable.
/// `connection`: what was reached, to be let go once the pool has answered. If
///               the next connection got its descriptor over there, CAF 0.17
///               might take the one for the other and lose the way to it. With
///               TLS it takes leave: CAF 0.17 leaves it in OpenSSL's queue of
///               errors when one just hangs up, and takes it for an error of
///               whichever connection it reads next.
std::string why_not_reached(const node_address& where, const tls_files& files,
                            std::chrono::milliseconds patience, int interrupt,
                            std::shared_ptr<void>& connection);

} // namespace troupe
