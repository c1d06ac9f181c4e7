// SHA-256 by EVP; see the header.
#include "sha256.hpp"

#include <array>
#include <stdexcept>

namespace parts {

namespace {

void check(int result) {
  if (result != 1)
    throw std::runtime_error{"OpenSSL cannot compute SHA-256; does its "
                             "configuration allow it?"};
}

} // namespace

sha256::sha256() : context_{EVP_MD_CTX_new()} {
  check(context_ != nullptr);
  restart();
}

void sha256::restart() {
  check(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
}

void sha256::add(const void* data, std::size_t size) {
  check(EVP_DigestUpdate(context_.get(), data, size));
}

std::string sha256::finish() {
  static constexpr char digits[] = "0123456789abcdef";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  check(EVP_DigestFinal_ex(context_.get(), digest.data(), &size));
  std::string result;
  result.reserve(2 * size);
  for (unsigned int i = 0; i < size; ++i) {
    result += digits[digest[i] >> 4];
    result += digits[digest[i] & 15];
  }
  return result;
}

} // namespace parts
