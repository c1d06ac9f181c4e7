// A program that reads its configuration, starts an actor system and prints
// what holds, for tests that look at a real command line from outside. It has
// options of its own, so that troupe's are seen beside an application's.

#include "troupe/caf_compat.hpp"
#include "troupe/config.hpp"

#include <fmt/format.h>

#include <set>

namespace {

struct probe_base : caf::actor_system_config {
  std::string list;
  std::int64_t limit = 0;
  caf::timespan pause{0};
  bool json = false;

  probe_base() {
    opt_group{custom_options_, "?probe"}
        .add(list, "list,l", "a file")
        .add(limit, "limit", "a number")
        .add(pause, "pause", "a duration")
        .add(json, "json,j", "a flag");
    opt_group{custom_options_, "deep.group"}.add<std::string>("name", "a name");
  }
};

struct probe_config : troupe::with_options<probe_base> {
  // Added behind the mix-in, as an application would.
  std::int64_t late = 0;

  probe_config() {
    opt_group{custom_options_, "?probe"}.add(late, "late", "a late number");
  }
};

void print_pool(const std::string& name, const troupe::option_table& table) {
  auto is = troupe::resolve({.name = name}, table);
  auto print = [&](std::string_view key, const auto& value,
                   troupe::option_origin origin) {
    fmt::print("{}.{} = {} ({})\n", name.empty() ? "-" : name, key, value,
               troupe::origin_name(origin, key, name));
  };
  print("workers", is.workers, is.origin.workers);
  print("min-workers", is.min_workers, is.origin.min_workers);
  print("idle-timeout", troupe::to_text(is.idle_timeout),
        is.origin.idle_timeout);
  print("max-queued", is.max_queued, is.origin.max_queued);
  print("on-full", troupe::to_string(is.on_full), is.origin.on_full);
  print("spin", troupe::to_text(is.spin), is.origin.spin);
  print("drain-timeout", troupe::to_text(is.drain_timeout),
        is.origin.drain_timeout);
  print("max-run-time", troupe::to_text(is.max_run_time),
        is.origin.max_run_time);
  print("max-spares", is.max_spares, is.origin.max_spares);
  print("on-stuck", troupe::to_string(is.on_stuck), is.origin.on_stuck);
  print("stack-size", is.stack_size, is.origin.stack_size);
}

} // namespace

int main(int argc, char** argv) {
  probe_config cfg;
  if (auto status = cfg.parse_command_line(argc, argv))
    return *status;
  caf::actor_system sys{cfg};
  fmt::print("started\n");
  auto table = troupe::options_of(sys.config());
  std::set<std::string> names{""};
  for (const auto& entry : table) {
    std::string_view key = entry.first;
    std::string_view pools = "troupe.pools.";
    if (key.starts_with(pools))
      names.emplace(key.substr(pools.size(), key.rfind('.') - pools.size()));
  }
  for (const auto& name : names)
    print_pool(name, table);
  auto policy = std::string{troupe::compat::config_prefix} + "scheduler.policy";
  fmt::print("policy = {}\n", troupe::compat::text_of(*caf::get_if(
                                  &caf::content(sys.config()), policy)));
  fmt::print("list = {}\nlimit = {}\npause = {}\njson = {}\nlate = {}\n",
             cfg.list, cfg.limit, troupe::to_text(cfg.pause), cfg.json,
             cfg.late);
  fmt::print("name = {}\n",
             caf::get_or(sys.config(), "deep.group.name", std::string{"-"}));
  for (const auto& argument : cfg.arguments())
    fmt::print("argument [{}]\n", argument);
}
