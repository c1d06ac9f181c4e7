// The rows about nodes, over loopback: what a call over there costs, how calls
// that wait spread over many nodes, and how soon a fault is noticed. There is
// no peer for them here.

#include <fmt/format.h>

#include "rows.hpp"

namespace bench {

namespace {

contestant probe(const std::string& name, enum role role, std::size_t requests,
                 const std::vector<std::string>& arguments) {
  std::vector<std::string> command{TROUPE_BENCH_NODE_PROBE};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return program(name, role, requests, std::move(command));
}

target within(const std::string& text, const std::string& who,
              const std::string& key, double limit, bool less) {
  return {text, [=](const row_result& in) -> std::optional<verdict> {
            const auto* subject = in.find(who);
            auto value = subject ? subject->median(key) : std::nullopt;
            if (!value)
              return std::nullopt;
            return verdict{
                *value, limit, less ? *value <= limit : *value >= limit, {}};
          }};
}

row build_nodes(const row_options& options) {
  const std::size_t many = options.quick ? 50'000 : 500'000;
  const std::size_t few = options.quick ? 2'000 : 20'000;
  row result;
  result.title =
      fmt::format("no-op requests on nodes: {} by map, {} calls one to a "
                  "message",
                  grouped(many), grouped(few));
  result.columns = {{"per_s", "requests/s", 0, false},
                    {"own_ns", "CPU here ns/req."},
                    {"trip_us", "round trip us"},
                    {"mb_small", "1 KiB echo MB/s", 0, false},
                    {"mb_large", "1 MiB echo MB/s", 0, false},
                    {"start_ms", "start ms"}};
  struct shape {
    const char* text;
    const char* nodes;
    const char* processes;
    const char* one_cpu;
  };
  for (auto [text, nodes, processes, one_cpu] :
       {shape{"1 node", "1", "1", "0"}, shape{"2 nodes", "2", "1", "0"},
        shape{"4 processes", "1", "4", "0"},
        shape{"1 node, one CPU", "1", "1", "1"}}) {
    auto ours = fmt::format("map, {}", text);
    auto single = fmt::format("calls, {}", text);
    auto is_first = result.contestants.empty();
    result.contestants.push_back(
        probe(ours, is_first ? role::troupe : role::extra, many,
              {"map", nodes, processes, one_cpu, std::to_string(many)}));
    result.contestants.push_back(
        probe(single, role::extra, few,
              {"calls", nodes, processes, one_cpu, std::to_string(few)}));
    result.targets.push_back(
        at_least(fmt::format("{}: at least 8 × one to a message", text), ours,
                 "per_s", 8, named(single)));
  }
  return result;
}

row build_scaling(const row_options& options) {
  const std::string each = options.quick ? "20" : "100";
  row result;
  result.title = fmt::format(
      "{} calls that sleep 20 ms for each node of one process", each);
  result.columns = {{"efficiency", "ideal / wall", 3, false},
                    {"per_s", "requests/s", 0, false}};
  for (const auto* nodes : {"1", "2", "4", "8"}) {
    auto name = fmt::format("{} nodes", nodes);
    auto is_first = result.contestants.empty();
    result.contestants.push_back(probe(name,
                                       is_first ? role::troupe : role::extra, 0,
                                       {"scaling", nodes, "20", each}));
    result.targets.push_back(within(fmt::format("{}: at least 0.9", name), name,
                                    "efficiency", 0.9, false));
  }
  return result;
}

row build_faults(const row_options&) {
  row result;
  result.title = "time to notice faults, heartbeat 100 ms, timeout 1 s";
  result.columns = {{"kill_ms", "kill -9 ms"},
                    {"stop_ms", "SIGSTOP ms"},
                    {"crash_ms", "crash: outcome ms"},
                    {"again_ms", "then an answer ms"},
                    {"drain_ms", "SIGTERM, left ms"}};
  result.contestants = {probe("troupe", role::troupe, 0, {"faults"})};
  result.targets = {within("SIGSTOP: at most timeout + heartbeat + 0.1 s",
                           "troupe", "stop_ms", 1200, true)};
  return result;
}

row build_start(const row_options&) {
  row result;
  result.title = "from the start of a node to answers of all its processes";
  result.columns = {{"each_ms", "ms/process"},
                    {"ready_ms", "all ready ms"},
                    {"joined_ms", "joined ms"}};
  for (const auto* processes : {"1", "8", "32"})
    result.contestants.push_back(
        probe(fmt::format("{} processes", processes),
              result.contestants.empty() ? role::troupe : role::extra, 0,
              {"start", processes}));
  return result;
}

} // namespace

std::vector<row_spec> node_rows() {
  return {
      {"nodes", "requests that travel together to nodes", build_nodes},
      {"node-scaling", "calls that sleep, on 1 to 8 nodes", build_scaling},
      {"node-faults", "how soon a lost node is noticed", build_faults},
      {"node-start", "how soon a node is ready", build_start},
  };
}

} // namespace bench
