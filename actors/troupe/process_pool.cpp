#include "troupe/process_pool.hpp"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "troupe/config.hpp"
#include "troupe/option_range.hpp"
#include "troupe/process_link.hpp"
#include "troupe/run_if_worker.hpp"

namespace troupe {

namespace {

constexpr auto own_program = "/proc/self/exe";

[[noreturn]] void refuse_automatic(std::string_view key) {
  refuse_option(
      fmt::format("{} = 'auto': a process pool does not size itself: its "
                  "processes compute, and as many as cores are right for "
                  "that (accepted: a whole number from 1 to {})",
                  key, defaults::workers_limit));
}

void check(const process_options& options) {
  if (options.processes == automatic)
    refuse_automatic("process_options.processes");
  constexpr std::chrono::nanoseconds none{0};
  constexpr auto most_time = defaults::duration_limit;
  check_duration("process_options.kill_grace", options.kill_grace, none,
                 most_time);
  check_duration("process_options.start_timeout", options.start_timeout,
                 std::chrono::milliseconds{1}, most_time);
  check_count("process_options.max_message", options.max_message, 1,
              longest_message);
  check_count("process_options.max_together", options.max_together, 1,
              1'000'000);
  check_count("process_options.max_lost", options.max_lost, 1, 0xFFFF'FFFF);
  check_common("process_options", options.max_queued, options.spin,
               options.drain_timeout, options.max_run_time);
  if (options.processes)
    check_count("process_options.processes", *options.processes, 1,
                defaults::workers_limit);
  if (!options.program.empty()) {
    if (auto why = why_not_executable(options.program); !why.empty())
      refuse_option(
          fmt::format("process_options.program = '{}': {} (accepted: a "
                      "program that calls troupe::run_if_worker)",
                      options.program, why));
  } else if (!run_if_worker_was_called()) {
    refuse_option(
        "cannot start worker processes of this program: they would run its "
        "main from the start. Begin main with 'if (auto status = "
        "troupe::run_if_worker(argc, argv, procedures)) return *status;', "
        "or set process_options::program");
  }
}

link_settings settings_of(const process_options& options,
                          std::chrono::nanoseconds max_run_time) {
  auto own = options.program.empty();
  return {{.owner = options.owner.empty()
                        ? fmt::format("the pool '{}'", options.name)
                        : options.owner,
           .program = own ? own_program : options.program,
           .title = own ? program_invocation_short_name : options.program,
           .arguments = options.arguments},
          max_run_time,
          options.max_requests_per_worker,
          options.max_message,
          options.kill_grace,
          options.start_timeout,
          options.max_lost};
}

} // namespace

// Makes calls in the processes of a pool.
class process_host final : public procedure_host {
public:
  process_host(const procedures& known, const process_options& options,
               effective_options common)
      : room{settings_of(options, common.max_run_time),
             options.on_output ? options.on_output : pass_on},
        effective{std::move(common)},
        known_{known},
        own_program_{options.program.empty()},
        max_together_{options.max_together} {}

  const procedure_entry* find(const context& ctx,
                              const procedure_info& what) const override {
    // The workers are this program and know what it knows; of others, only
    // they can tell.
    if (own_program_)
      known_.find(ctx, what);
    return nullptr;
  }

  compat::byte_buffer
  call(context& ctx, const procedure_info& what,
       const compat::byte_buffer& arguments) const override {
    return ctx.resource<std::shared_ptr<process_link>>()->call(ctx, what,
                                                               arguments);
  }

  std::uint32_t most_calls() const noexcept override { return max_together_; }

  std::size_t call_many(context& ctx, const procedure_info& what,
                        call_chunk& chunk) const override {
    find(ctx, what);
    return ctx.resource<std::shared_ptr<process_link>>()->call_many(ctx, what,
                                                                    chunk);
  }

  // Links are opened and count from threads of a pool whose host is const.
  mutable process_room room;

  // Until the pool takes them over.
  effective_options effective;

private:
  const procedures known_;
  const bool own_program_;
  const std::uint32_t max_together_;
};

namespace {

effective_options resolve_common(const caf::actor_system& system,
                                 const process_options& options) {
  pool_options common{.name = options.name,
                      .workers = options.processes,
                      .max_queued = options.max_queued,
                      .on_full = options.on_full,
                      .spin = options.spin,
                      .drain_timeout = options.drain_timeout,
                      .max_run_time = options.max_run_time,
                      .clock = options.clock};
  auto result = resolve(common, options_of(system.config()));
  if (result.automatic && result.origin.workers == option_origin::pool_config)
    refuse_automatic(
        origin_name(result.origin.workers, "workers", options.name));
  result.automatic = result.may_size_itself = false;
  if (result.origin.workers == option_origin::built_in
      || result.origin.workers == option_origin::config) {
    // What suits threads that wait is too much for processes that compute.
    result.workers = std::max(std::thread::hardware_concurrency(), 1u);
    result.origin.workers = option_origin::built_in;
  }
  if (result.origin.min_workers != option_origin::pool_config)
    result.min_workers = result.workers;
  return result;
}

std::shared_ptr<process_host> make_host(const caf::actor_system& system,
                                        const procedures& known,
                                        const process_options& options) {
  check(options);
  auto host = std::make_shared<process_host>(known, options,
                                             resolve_common(system, options));
  auto& effective = host->effective;
  // A call that takes too long ends: it makes no worker stuck.
  effective.max_run_time = std::chrono::nanoseconds{0};
  auto open = [room = &host->room] {
    auto link =
        std::make_shared<process_link>(*room, worker_cell::current()->name());
    link->prepare();
    return link;
  };
  effective.resource = make_resource<std::shared_ptr<process_link>>(
      open, [](std::shared_ptr<process_link>& link) { link->close(); });
  return host;
}

effective_options take_options(const std::shared_ptr<process_host>& host) {
  auto result = std::move(host->effective);
  result.procedures = host;
  return result;
}

} // namespace

process_pool::process_pool(caf::actor_system& system, const procedures& known,
                           const process_options& options)
    : process_pool{system, make_host(system, known, options)} {}

process_pool::process_pool(caf::actor_system& system,
                           std::shared_ptr<process_host> host)
    : pool{take_options(host), system}, host_{std::move(host)} {}

process_stats process_pool::processes() const {
  process_stats result;
  for (const auto& x : host_->room.keeper.processes())
    result.processes.push_back(
        {x->pid(), x->worker(), x->ready.load(), x->answered.load()});
  result.started = host_->room.started.load(std::memory_order_relaxed);
  result.lost = host_->room.lost.load(std::memory_order_relaxed);
  result.ended = host_->room.ended.load(std::memory_order_relaxed);
  result.recycled = host_->room.recycled.load(std::memory_order_relaxed);
  return result;
}

} // namespace troupe
