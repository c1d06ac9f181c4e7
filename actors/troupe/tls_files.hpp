// The files by which a pool and its nodes prove to each other who they are, and
// the checks of them without which CAF would find out too late, by ending the
// process at the first connection.

#pragma once

#include <string>

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

/// Says how to make certificates; or, built without TLS, what that takes.
extern const char* const how_to_certify;

/// Says what is wrong with the files, in one line; or nothing.
std::string why_not_trusted(const tls_files& files);

} // namespace troupe
