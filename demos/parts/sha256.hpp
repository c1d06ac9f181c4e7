// SHA-256 of data that comes in pieces, by OpenSSL's EVP. Takes constant
// memory, whatever the size of the data.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <memory>
#include <string>

namespace parts {

/// Hashes one stream of bytes after the other.
class sha256 {
public:
  /// @throws std::runtime_error if OpenSSL offers no SHA-256.
  sha256();

  /// Forgets what was added.
  void restart();

  void add(const void* data, std::size_t size);

  /// Returns the digest of all that was added since the last restart, as 64
  /// lowercase hexadecimal digits. Restart before adding again.
  std::string finish();

private:
  struct deleter {
    void operator()(EVP_MD_CTX* context) const noexcept {
      EVP_MD_CTX_free(context);
    }
  };

  std::unique_ptr<EVP_MD_CTX, deleter> context_;
};

} // namespace parts
