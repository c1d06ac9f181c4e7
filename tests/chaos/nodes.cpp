#include "nodes.hpp"

#include "child_process.hpp"
#include "far_calls.hpp"

#include "troupe/node_pool.hpp"
#include "troupe/troupe.hpp"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace chaos {

namespace {

// A node, which is killed when its object goes.
class local_node {
public:
  local_node(std::uint16_t port, std::string name, std::uint64_t processes)
      : program_{{"/proc/self/exe", "--troupe-node",
                  fmt::format("--connect=127.0.0.1:{}", port),
                  fmt::format("--processes={}", processes),
                  fmt::format("--name={}", name), "--drain-timeout=5ms"}} {}

  void stop() { program_.signal(SIGSTOP); }

  void go_on() { program_.signal(SIGCONT); }

  void drain() { program_.signal(SIGTERM); }

private:
  test::child_process program_;
};

// Disturbs nodes while others use them; ends none before something has come of
// the last, since on a busy machine none would live for long enough. At its end
// one is there that nobody has disturbed.
void disturb(const troupe::node_pool& pool, const ledger& book, dice random,
             const std::stop_token& stop,
             std::vector<std::unique_ptr<local_node>>& nodes) {
  auto names = nodes.size();
  auto start = [&] {
    return std::make_unique<local_node>(
        pool.port(), fmt::format("n{}", ++names), 1 + random.below(2));
  };
  auto heard = book.heard();
  while (!stop.stop_requested()) {
    std::this_thread::sleep_for(
        std::chrono::microseconds{random.below(150'000)});
    auto& victim = nodes[random.below(nodes.size())];
    auto what = random.below(6);
    if (what < 2) {
      if (book.heard() == heard)
        continue;
      heard = book.heard();
    }
    switch (what) {
    case 0:
      victim = start();
      break;
    case 1:
      victim->drain();
      std::this_thread::sleep_for(
          std::chrono::microseconds{random.below(20'000)});
      victim = start();
      break;
    case 2:
    case 3:
      victim->stop();
      // Sometimes for so short that nobody notices.
      std::this_thread::sleep_for(
          std::chrono::microseconds{random.below(600'000)});
      victim->go_on();
      break;
    default:
      static_cast<void>(pool.nodes());
    }
  }
}

} // namespace

void play_node_round(ledger& book, dice random,
                     const std::function<void(std::string)>& say_where) {
  // Whoever waits for an outcome is woken by a node that is there.
  say_where("while nodes start");
  troupe::config cfg;
  troupe::load_nodes(cfg);
  caf::actor_system sys{cfg};
  troupe::node_options how{.name = "nodes",
                           .heartbeat = 20ms,
                           .timeout = 300ms,
                           .window = 1024 * 1024};
  troupe::node_pool pool{sys, known_procedures(), how};
  far_arena in{book, pool, random};
  std::vector<std::unique_ptr<local_node>> nodes;
  for (auto n = 1 + random.below(3); n > 0; --n)
    nodes.push_back(std::make_unique<local_node>(
        pool.port(), fmt::format("n{}", n), 1 + random.below(2)));
  {
    std::vector<std::jthread> threads;
    for (auto n = 1 + random.below(3); n > 0; --n)
      threads.emplace_back([&in, seed = random.fork()] { in.drive(seed, 15); });
    std::jthread trouble{
        [&, seed = random.fork()](const std::stop_token& stop) {
          disturb(pool, book, dice{seed}, stop, nodes);
        }};
    std::optional<troupe::operation<troupe::receipt>> down;
    if (random.one_in(4)) {
      std::this_thread::sleep_for(
          std::chrono::microseconds{random.below(300'000)});
      down =
          pool.shutdown(std::chrono::microseconds{random.below(9'000)}).start();
    }
    say_where("while threads wait for calls on nodes");
    threads.clear();
    trouble.request_stop();
    trouble.join();
    say_where("while a pool of nodes shuts down");
    if (down)
      down->get();
    else
      pool.shutdown(10s).get();
  }
  say_where("while nodes end");
  if (random.one_in(2))
    for (auto& node : nodes)
      node->drain();
  nodes.clear();
  say_where("while processes of nodes end");
  in.close();
  say_where("while a system with nodes ends");
}

} // namespace chaos
