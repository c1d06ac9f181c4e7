// A program that reads its configuration, starts an actor system and prints
// what holds, for tests that look at a real command line from outside. It has
// options of its own, so that troupe's are seen beside an application's.

#include "troupe/caf_compat.hpp"
#include "troupe/config.hpp"

#include <fmt/format.h>

#include <string>

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
    describe_arguments("[WORD ...]", "A WORD is printed.");
  }
};

void print_pool(const std::string& name, const troupe::option_table& table) {
  for (const auto& is : troupe::explain({.name = name}, table))
    fmt::print("{}.{} = {} ({})\n", name.empty() ? "-" : name, is.key, is.value,
               troupe::origin_name(is.origin, is.key, name));
}

} // namespace

int main(int argc, char** argv) {
  probe_config cfg;
  if (auto status = cfg.parse_command_line(argc, argv))
    return *status;
  caf::actor_system sys{cfg};
  fmt::print("started\n");
  auto table = troupe::options_of(sys.config());
  print_pool({}, table);
  for (const auto& name : troupe::pool_names(table))
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
