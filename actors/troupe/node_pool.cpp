#include "troupe/node_pool.hpp"

#include <caf/actor_system_config.hpp>

#include <fmt/format.h>

#include "troupe/call_time.hpp"
#include "troupe/config.hpp"
#include "troupe/node_door.hpp"
#include "troupe/option_range.hpp"

namespace troupe {

namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds shortest = std::chrono::milliseconds{1};

// CAF lets go of a connection that was silent for three minutes.
constexpr nanoseconds longest_timeout = std::chrono::minutes{1};

bool has_certificates(const caf::actor_system& system) {
  for (const auto* key : {"certificate", "key", "cafile"})
    if (caf::get_or(system.config(),
                    fmt::format("{}openssl.{}", compat::config_prefix, key),
                    std::string{})
            .empty())
      return false;
  return true;
}

void check(const caf::actor_system& system, const node_options& options) {
  check_duration("node_options.timeout", options.timeout, shortest,
                 longest_timeout);
  check_duration("node_options.heartbeat", options.heartbeat, shortest,
                 options.timeout);
  check_count("node_options.max_message", options.max_message, 1,
              longest_message);
  check_count("node_options.max_lost", options.max_lost, 1, 0xFFFF'FFFF);
  check_count("node_options.window", options.window, std::uint64_t{1} << 20,
              std::uint64_t{1} << 30);
  check_common("node_options", options.max_queued, options.spin,
               options.drain_timeout, options.max_run_time);
  if (!system.has_middleman())
    refuse_option(
        "a node_pool takes a system that takes part in the network: call "
        "troupe::load_nodes(cfg) before the system is made from cfg");
  // Built without TLS, this opens no encrypted port, whatever the system can.
  auto encrypted = TROUPE_TLS != 0 && system.has_openssl_manager();
  if (encrypted && !has_certificates(system))
    refuse_option(
        "the system's OpenSSL module has no certificate, key and authority, "
        "so that CAF would let in anybody: call troupe::load_nodes(cfg, "
        "{.tls = {certificate, key, ca}}) in place of "
        "cfg.load<caf::openssl::manager>()");
  if (!encrypted && !is_loopback(options.listen.host))
    refuse_option(
        fmt::format("node_options.listen = '{}': others than this machine "
                    "can reach it, which takes certificates: call "
                    "troupe::load_nodes(cfg, {{.tls = {{certificate, key, "
                    "ca}}}}); {}",
                    to_text(options.listen), how_to_certify));
}

// A call alone.
class single_call final : public call_chunk {
public:
  using call_chunk::call_chunk;

  void done(std::size_t) noexcept override {}

  void give_back(std::size_t) noexcept override {}
};

} // namespace

// Makes calls on the nodes of a pool.
class node_host final : public procedure_host {
public:
  node_host(const procedures& known, const node_options& options,
            effective_options common)
      : room{std::make_shared<node_room>(node_settings{
          options.name, options.heartbeat, options.timeout, options.window,
          options.max_message, common.max_run_time, options.max_lost})},
        effective{std::move(common)},
        known_{known} {}

  ~node_host() override { room->close(); }

  const procedure_entry* find(const context& ctx,
                              const procedure_info& what) const override {
    if (!known_.names().empty())
      known_.find(ctx, what);
    return nullptr;
  }

  compat::byte_buffer
  call(context& ctx, const procedure_info& what,
       const compat::byte_buffer& arguments) const override {
    remote_call one{arguments, {}, {}};
    single_call chunk{{&one, 1}};
    if (room->make(ctx, what, chunk) == 0)
      throw failure{ec::cancelled,
                    fmt::format("procedure '{}' was asked to stop", what.name)};
    last_call_time = chunk.took;
    if (one.failure)
      std::rethrow_exception(one.failure);
    return std::move(one.result);
  }

  std::uint32_t most_calls() const noexcept override {
    return wire::most_calls;
  }

  std::size_t call_many(context& ctx, const procedure_info& what,
                        call_chunk& chunk) const override {
    return room->make(ctx, what, chunk);
  }

  const std::shared_ptr<node_room> room;
  std::uint16_t port = 0;

  // Until the pool takes them over.
  effective_options effective;

private:
  const procedures known_;
};

namespace {

std::shared_ptr<node_host> make_host(caf::actor_system& system,
                                     const procedures& known,
                                     const node_options& options) {
  check(system, options);
  pool_options common{.name = options.name,
                      .workers = 1,
                      .min_workers = 0,
                      .max_queued = options.max_queued,
                      .on_full = options.on_full,
                      .spin = options.spin,
                      .drain_timeout = options.drain_timeout,
                      .max_run_time = options.max_run_time,
                      .clock = options.clock};
  auto host = std::make_shared<node_host>(
      known, options, resolve(common, options_of(system.config())));
  auto& effective = host->effective;
  // A call that takes too long ends: it makes no worker stuck. And how many
  // there are is up to the nodes.
  effective.max_run_time = nanoseconds{0};
  effective.workers = 0;
  open_door(system, host->room, options.listen, host->port);
  return host;
}

effective_options take_options(const std::shared_ptr<node_host>& host) {
  auto result = std::move(host->effective);
  result.procedures = host;
  return result;
}

} // namespace

node_pool::node_pool(caf::actor_system& system, const procedures& known,
                     const node_options& options)
    : node_pool{system, make_host(system, known, options)} {}

node_pool::node_pool(caf::actor_system& system, std::shared_ptr<node_host> host)
    : pool{take_options(host), system}, host_{std::move(host)} {
  auto coordinator = actor();
  host_->room->bind(coordinator);
  // When the pool has ended, whoever still holds it, nobody is let in.
  coordinator->attach_functor(
      [room = host_->room](const caf::error&) { room->close(); });
}

std::uint16_t node_pool::port() const noexcept {
  return host_->port;
}

node_stats node_pool::nodes() const {
  return host_->room->stats();
}

} // namespace troupe
