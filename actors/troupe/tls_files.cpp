#include "troupe/tls_files.hpp"

#if TROUPE_TLS
#  include <cerrno>
#  include <cstdio>
#  include <cstring>
#  include <memory>

#  include <openssl/err.h>
#  include <openssl/pem.h>
#  include <openssl/x509.h>

#  include <fmt/format.h>
#endif

namespace troupe {

#if TROUPE_TLS

const char* const how_to_certify =
    "make certificates by demos/certificates, or by openssl: an authority of "
    "your own, and a certificate and key for each machine";

namespace {

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* x) const noexcept {
    Free(x);
  }
};

using file_ptr = std::unique_ptr<std::FILE, freed_by<&std::fclose>>;
using cert_ptr = std::unique_ptr<X509, freed_by<&X509_free>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<&EVP_PKEY_free>>;
using store_ptr = std::unique_ptr<X509_STORE, freed_by<&X509_STORE_free>>;
using check_ptr =
    std::unique_ptr<X509_STORE_CTX, freed_by<&X509_STORE_CTX_free>>;

struct chain_free {
  void operator()(STACK_OF(X509) * x) const noexcept {
    sk_X509_pop_free(x, X509_free);
  }
};

using chain_ptr = std::unique_ptr<STACK_OF(X509), chain_free>;

struct bad_file {
  std::string text;
};

[[noreturn]] void refuse(const char* what, const std::string& path,
                         const std::string& why) {
  throw bad_file{fmt::format("{} '{}': {}", what, path, why)};
}

file_ptr open(const char* what, const std::string& path) {
  file_ptr result{std::fopen(path.c_str(), "rbe")};
  if (!result)
    refuse(what, path, std::strerror(errno));
  return result;
}

// Nobody is there to be asked.
int no_phrase(char*, int, int, void*) {
  return -1;
}

chain_ptr read_certificates(const char* what, const std::string& path) {
  auto file = open(what, path);
  chain_ptr result{sk_X509_new_null()};
  while (auto* x = PEM_read_X509(file.get(), nullptr, no_phrase, nullptr))
    sk_X509_push(result.get(), x);
  ERR_clear_error();
  if (sk_X509_num(result.get()) == 0)
    refuse(what, path, "it holds no certificate in PEM");
  return result;
}

void check_time(const char* what, const std::string& path, const X509* x) {
  if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
    refuse(what, path, "it has expired");
  if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
    refuse(what, path, "it is not valid yet");
}

void check(const tls_files& files) {
  if (files.certificate.empty() || files.key.empty() || files.ca.empty())
    throw bad_file{
        fmt::format("it takes a certificate, its key and the certificate of "
                    "the authority; there is no {}",
                    files.certificate.empty() ? "certificate"
                    : files.key.empty()       ? "key"
                                              : "authority")};
  auto mine = read_certificates("certificate", files.certificate);
  auto key_file = open("key", files.key);
  key_ptr private_key{
      PEM_read_PrivateKey(key_file.get(), nullptr, no_phrase, nullptr)};
  ERR_clear_error();
  if (!private_key)
    refuse("key", files.key,
           "it holds no private key in PEM, or one with a pass phrase");
  auto authority = read_certificates("authority", files.ca);
  auto* own = sk_X509_value(mine.get(), 0);
  if (X509_check_private_key(own, private_key.get()) != 1) {
    ERR_clear_error();
    refuse("key", files.key,
           fmt::format("it is not that of the certificate '{}'",
                       files.certificate));
  }
  check_time("certificate", files.certificate, own);
  check_time("authority", files.ca, sk_X509_value(authority.get(), 0));
  store_ptr store{X509_STORE_new()};
  for (int i = 0; i < sk_X509_num(authority.get()); ++i)
    X509_STORE_add_cert(store.get(), sk_X509_value(authority.get(), i));
  check_ptr path{X509_STORE_CTX_new()};
  X509_STORE_CTX_init(path.get(), store.get(), own, mine.get());
  if (X509_verify_cert(path.get()) != 1)
    refuse("certificate", files.certificate,
           fmt::format("it is not signed by the authority '{}' ({})", files.ca,
                       X509_verify_cert_error_string(
                           X509_STORE_CTX_get_error(path.get()))));
}

} // namespace

std::string why_not_trusted(const tls_files& files) {
  try {
    check(files);
    return {};
  } catch (const bad_file& why) {
    return why.text;
  }
}

#else

const char* const how_to_certify =
    "this troupe was built without TLS: build it with -D TROUPE_TLS=ON, and "
    "with OpenSSL and CAF's OpenSSL module installed";

std::string why_not_trusted(const tls_files&) {
  return "certificates are of no use here";
}

#endif

} // namespace troupe
