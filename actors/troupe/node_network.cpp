#include "troupe/node_network.hpp"

#include <fmt/format.h>

#include "troupe/caf_compat.hpp"
#include "troupe/error.hpp"

#if TROUPE_TLS
#  include <caf/openssl/manager.hpp>
#endif

namespace troupe {

namespace {

// Far above what a link that is in use can be silent for, see node_options.
constexpr auto caf_heartbeat = std::chrono::seconds{10};
constexpr auto caf_timeout = std::chrono::minutes{3};

} // namespace

void load_nodes(caf::actor_system_config& cfg, const node_network& how) {
  if (!how.tls.empty())
    if (auto why = why_not_trusted(how.tls); !why.empty())
      throw failure{ec::invalid_option, fmt::format("node_network.tls: {}; {}",
                                                    why, how_to_certify)};
  compat::load_network(cfg);
  auto set = [&cfg](const char* key, auto value) {
    cfg.set(std::string{compat::config_prefix} + key, std::move(value));
  };
  set("middleman.heartbeat-interval", caf::timespan{caf_heartbeat});
  set("middleman.connection-timeout", caf::timespan{caf_timeout});
#if TROUPE_TLS
  if (!how.tls.empty()) {
    cfg.load<caf::openssl::manager>();
    set("openssl.certificate", how.tls.certificate);
    set("openssl.key", how.tls.key);
    set("openssl.cafile", how.tls.ca);
  }
#endif
}

} // namespace troupe
