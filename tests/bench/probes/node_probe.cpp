// Measures what calls on nodes cost, over loopback, and prints it: this program
// is its own node. The rows "nodes" compare requests that travel together with
// such that are sent one by one.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include "child_process.hpp"
#include "timing.hpp"

#include "troupe/node_pool.hpp"
#include "troupe/run_if_node.hpp"
#include "troupe/troupe.hpp"

using namespace std::chrono_literals;

namespace {

constexpr troupe::procedure<"succ", std::uint64_t(std::uint64_t)> succ;
constexpr troupe::procedure<"echo", std::string(std::string)> echo;
constexpr troupe::procedure<"nap", std::uint64_t(std::uint64_t ms)> nap;
constexpr troupe::procedure<"pid", int()> pid;

// Seconds that each measurement takes, at least.
constexpr double budget = 0.3;

void check(bool right) {
  if (!right)
    throw std::runtime_error{"a result is wrong"};
}

double milliseconds(const bench::stopwatch& since) {
  return since.read().wall * 1e3;
}

template <class Condition>
void await(Condition holds) {
  while (!holds())
    std::this_thread::sleep_for(100us);
}

/// A pool of nodes, and the nodes.
class cluster {
public:
  cluster(const troupe::procedures& known,
          const troupe::node_options& options = {})
      : system_{network_config(config_)}, pool{system_, known, options} {}

  /// Starts a node and waits until it is there. Returns the seconds that took.
  double start(std::size_t processes) {
    auto before = pool.nodes().joined;
    bench::stopwatch watch;
    nodes.push_back(
        std::make_unique<test::child_process>(std::vector<std::string>{
            "/proc/self/exe", "--troupe-node",
            fmt::format("--connect=127.0.0.1:{}", pool.port()),
            fmt::format("--processes={}", processes),
            fmt::format("--name=n{}", nodes.size() + 1)}));
    await([&] { return pool.nodes().joined > before; });
    return watch.read().wall;
  }

private:
  static troupe::config& network_config(troupe::config& cfg) {
    troupe::load_nodes(cfg);
    return cfg;
  }

  troupe::config config_;
  caf::actor_system system_;

public:
  troupe::node_pool pool;
  std::vector<std::unique_ptr<test::child_process>> nodes;
};

// Blocks until all processes have answered.
void warm(const cluster& all, std::size_t slots) {
  await([&] {
    auto naps = all.pool.map(std::vector<std::uint64_t>(slots, 20), nap).get();
    std::uint64_t ready = 0;
    for (const auto& x : all.pool.nodes().nodes)
      ready += x.slots;
    return naps.size() == ready;
  });
}

// -- throughput ---------------------------------------------------------------

bench::elapsed timed_map(const troupe::pool& pool,
                         const std::vector<std::uint64_t>& inputs) {
  bench::stopwatch watch;
  auto results = pool.map(std::views::all(inputs), succ).get();
  auto took = watch.read();
  check(results.size() == inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i)
    check(results[i] == inputs[i] + 1);
  return took;
}

bench::elapsed timed_calls(const troupe::pool& pool,
                           const std::vector<std::uint64_t>& inputs) {
  std::vector<troupe::operation<std::uint64_t>> ops;
  ops.reserve(inputs.size());
  bench::stopwatch watch;
  for (auto x : inputs)
    ops.push_back(pool.call(succ, x));
  auto results = troupe::gather(std::move(ops)).get();
  auto took = watch.read();
  check(results.size() == inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i)
    check(results[i] == inputs[i] + 1);
  return took;
}

double megabytes_per_second(const troupe::pool& pool, std::size_t size,
                            std::size_t count) {
  std::vector<std::string> texts(count, std::string(size, 'x'));
  auto took = bench::repeated(budget, [&] {
    bench::stopwatch watch;
    auto results = pool.map(std::views::all(texts), echo).get();
    auto one = watch.read();
    check(results == texts);
    return one;
  });
  return static_cast<double>(size * count) / took.wall / 1e6;
}

void use_one_cpu() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof(set), &set);
  auto cpu = 0;
  while (!CPU_ISSET(cpu, &set))
    ++cpu;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

int measure_throughput(const troupe::procedures& known, std::size_t nodes,
                       std::size_t processes, bool together, bool one_cpu,
                       std::size_t count) {
  if (one_cpu)
    use_one_cpu();
  cluster all{known};
  std::vector<double> starts;
  for (std::size_t i = 0; i < nodes; ++i)
    starts.push_back(all.start(processes));
  warm(all, nodes * processes);
  std::vector<std::uint64_t> inputs(count);
  std::iota(inputs.begin(), inputs.end(), std::uint64_t{0});
  auto once = [&] {
    return together ? timed_map(all.pool, inputs)
                    : timed_calls(all.pool, inputs);
  };
  once();
  auto took = bench::repeated(budget, once);
  fmt::print("ns {}\nown_ns {}\nper_s {}\n",
             took.wall / static_cast<double>(count) * 1e9,
             took.cpu / static_cast<double>(count) * 1e9,
             static_cast<double>(count) / took.wall);
  if (!together)
    return 0;
  constexpr std::uint64_t trips = 500;
  auto trip = bench::repeated(budget, [&] {
    bench::stopwatch watch;
    for (std::uint64_t i = 0; i < trips; ++i)
      check(all.pool.call(succ, i).get() == i + 1);
    return watch.read();
  });
  fmt::print("trip_us {}\nmb_small {}\nmb_large {}\nstart_ms {}\n",
             trip.wall / static_cast<double>(trips) * 1e6,
             megabytes_per_second(all.pool, 1024, 10'000),
             megabytes_per_second(all.pool, 1024 * 1024, 64), starts[0] * 1e3);
  return 0;
}

// -- scaling ------------------------------------------------------------------

int measure_scaling(const troupe::procedures& known, std::size_t nodes,
                    std::uint64_t length_ms, std::size_t each) {
  cluster all{known};
  for (std::size_t i = 0; i < nodes; ++i)
    all.start(1);
  warm(all, nodes);
  std::vector<std::uint64_t> naps(nodes * each, length_ms);
  bench::stopwatch watch;
  auto results = all.pool.map(std::views::all(naps), nap).get();
  auto took = watch.read();
  check(results == naps);
  fmt::print("efficiency {}\nper_s {}\n",
             static_cast<double>(each * length_ms) / 1e3 / took.wall,
             static_cast<double>(naps.size()) / took.wall);
  return 0;
}

// -- faults -------------------------------------------------------------------

// The milliseconds from a fault until the outcome of a call that runs there.
template <class Fault>
double until_lost(cluster& all, Fault fault) {
  all.start(1);
  check(all.pool.call(succ, std::uint64_t{1}).get() == 2);
  auto running = all.pool.call(nap, std::uint64_t{600'000}).as_future();
  await([&] { return all.pool.nodes().nodes.at(0).busy == 1; });
  bench::stopwatch watch;
  fault(*all.nodes.back());
  running.wait();
  auto took = milliseconds(watch);
  try {
    running.get();
    check(false);
  } catch (const troupe::failure& why) {
    check(why.code() == troupe::ec::node_lost);
  }
  all.nodes.clear();
  await([&] { return all.pool.nodes().nodes.empty(); });
  return took;
}

int measure_faults(const troupe::procedures& known) {
  constexpr auto heartbeat = 100ms;
  constexpr auto timeout = 1s;
  cluster all{known, {.heartbeat = heartbeat, .timeout = timeout}};
  auto kill_ms = until_lost(all, [](auto& node) { node.signal(SIGKILL); });
  auto stop_ms = until_lost(all, [](auto& node) { node.signal(SIGSTOP); });
  all.start(1);
  auto victim = all.pool.call(pid).get();
  bench::stopwatch since_crash;
  auto crashed = all.pool.call(nap, std::uint64_t{600'000}).as_future();
  await([&] { return all.pool.nodes().nodes.at(0).busy == 1; });
  since_crash = {};
  // It has the call by then, or takes it from where it waits: lost, or not yet
  // begun and then given to the next process.
  std::this_thread::sleep_for(50ms);
  since_crash = {};
  ::kill(victim, SIGKILL);
  crashed.wait();
  auto crash_ms = milliseconds(since_crash);
  check(all.pool.call(succ, std::uint64_t{1}).get() == 2);
  auto again_ms = milliseconds(since_crash);
  bench::stopwatch since_term;
  all.nodes.back()->signal(SIGTERM);
  await([&] { return all.pool.nodes().nodes.empty(); });
  auto drain_ms = milliseconds(since_term);
  check(all.pool.nodes().left == 1);
  fmt::print("kill_ms {}\nstop_ms {}\ncrash_ms {}\nagain_ms {}\ndrain_ms {}\n",
             kill_ms, stop_ms, crash_ms, again_ms, drain_ms);
  return 0;
}

// -- start-up -----------------------------------------------------------------

int measure_start(const troupe::procedures& known, std::size_t processes) {
  cluster all{known};
  bench::stopwatch watch;
  all.start(processes);
  auto joined = milliseconds(watch);
  std::vector<std::uint64_t> naps(processes, 200);
  check(all.pool.map(naps, nap).get() == naps);
  auto ready = milliseconds(watch) - 200;
  fmt::print("joined_ms {}\nready_ms {}\neach_ms {}\n", joined, ready,
             ready / static_cast<double>(processes));
  return 0;
}

int measure(const troupe::procedures& known,
            const std::vector<std::string>& args) {
  auto number = [&](std::size_t i) {
    return static_cast<std::size_t>(std::stoul(args.at(i)));
  };
  auto what = args.empty() ? std::string{} : args[0];
  if (what == "map" || what == "calls")
    return measure_throughput(known, number(1), number(2), what == "map",
                              number(3) != 0, number(4));
  if (what == "scaling")
    return measure_scaling(known, number(1), number(2), number(3));
  if (what == "faults")
    return measure_faults(known);
  if (what == "start")
    return measure_start(known, number(1));
  throw std::runtime_error{
      "usage: node_probe (map | calls) NODES PROCESSES ONE_CPU REQUESTS | "
      "scaling NODES MILLISECONDS EACH | faults | start PROCESSES"};
}

} // namespace

int main(int argc, char** argv) {
  troupe::procedures known;
  known.add(succ, [](std::uint64_t x) { return x + 1; })
      .add(echo, [](std::string text) { return text; })
      .add(nap,
           [](std::uint64_t ms) {
             std::this_thread::sleep_for(std::chrono::milliseconds{ms});
             return ms;
           })
      .add(pid, &::getpid);
  if (auto status = troupe::run_if_node(argc, argv, known))
    return *status;
  try {
    return measure(known, {argv + 1, argv + argc});
  } catch (const std::exception& problem) {
    fmt::print(stderr, "node_probe: {}\n", problem.what());
    return 1;
  }
}
