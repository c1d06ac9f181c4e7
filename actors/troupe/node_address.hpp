// Addresses of pools of nodes: how they are written, who can see them, and what
// is found out about one before it is left to CAF, which says less of what went
// wrong.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "troupe/tls_files.hpp"

namespace troupe {

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
