// cluster packs all files below some folders on several nodes, kills one of the
// nodes half-way, and ends with every file packed all the same.
//
//   cluster                        four nodes on this machine, /usr/include
//   cluster --nodes=2 --processes=4 --into=packed ~/Documents
//   cluster --nodes=0 --listen=10.0.0.5:4242 --tls-cert=pool.pem
//           --tls-key=pool.key --tls-ca=ca.pem ~/Documents
//
// The last one waits for nodes on other machines, where this program runs, too:
//
//   cluster --troupe-node --connect=10.0.0.5:4242 --processes=8
//           --cert=node.pem --key=node.key --ca=ca.pem
//
// Each file is read here, packed by zlib in a worker process of a node, and
// compared here with what it unpacks to. With --into it is kept, as gzip would
// make it. troupe-node.service keeps a node running on another machine.
//
// Exit status: 0 when all files are packed, 1 when some failed, 2 for bad
// usage, 130 after SIGINT.

#include "local_nodes.hpp"
#include "options.hpp"
#include "pack.hpp"
#include "run.hpp"

#include "parts/interrupt.hpp"
#include "parts/progress_bar.hpp"
#include "parts/standard_files.hpp"
#include "parts/text.hpp"

#include "troupe/node_pool.hpp"
#include "troupe/run_if_node.hpp"

#include <caf/actor_system.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cluster {

namespace {

using namespace std::chrono_literals;

enum status : int { all_packed = 0, some_failed = 1, bad_usage = 2 };

// How long local nodes may take until they have joined. A guess: a hundred
// times what they need, and time for one that was not welcomed to try again: it
// waits for 3, 6 and 12 s.
constexpr auto joining_time = 30s;

int leave(int status, const std::string& line) {
  std::fprintf(stderr, "cluster: %s\n", line.c_str());
  return status;
}

// Otherwise the first nodes would have done all before the last one is there.
void await_nodes(const troupe::node_pool& pool, const local_nodes& own,
                 const std::stop_token& stop) {
  auto until = std::chrono::steady_clock::now() + joining_time;
  while (pool.nodes().nodes.size() < own.all().size()
         && !stop.stop_requested()) {
    own.check();
    if (std::chrono::steady_clock::now() > until)
      throw std::runtime_error{fmt::format(
          "only {} of {} nodes have joined in {}", pool.nodes().nodes.size(),
          own.all().size(), parts::human(joining_time))};
    std::this_thread::sleep_for(5ms);
  }
}

std::string report(const ending& all) {
  using parts::human_bytes;
  using parts::human_count;
  auto packed = all.files - all.failed - all.never_started;
  auto text = fmt::format("{} files packed, {} failed: {} became {} in {}\n",
                          human_count(packed), human_count(all.failed),
                          human_bytes(all.bytes), human_bytes(all.packed_bytes),
                          parts::human(all.elapsed));
  for (const auto& [name, share] : all.by_node) {
    text += fmt::format("  {:<12} {:>8} files  {:>8}", name,
                        human_count(share.files), human_bytes(share.bytes));
    if (!all.killed.empty())
      text += name == all.killed ? "  killed"
                                 : fmt::format("  {} of them after that",
                                               human_count(share.files_after));
    text += '\n';
  }
  if (!all.killed.empty())
    text += fmt::format(
        "{} was killed after {} files; {} that it was packing moved to other "
        "nodes\n",
        all.killed, human_count(all.killed_after), human_count(all.moved));
  return text;
}

int pack_all(options& opts, parts::interrupt& stopping,
             std::shared_ptr<const parts::folder> into,
             const std::vector<input>& files) {
  caf::actor_system sys{opts};
  std::optional<troupe::node_pool> pool;
  try {
    pool.emplace(
        sys, known_procedures(),
        troupe::node_options{.name = "cluster", .listen = opts.listen()});
  } catch (const troupe::failure& why) {
    return leave(bad_usage, why.what());
  }
  troupe::node_address where{opts.listen().host, pool->port()};
  local_nodes own{opts.nodes(), opts.processes(), where};
  if (opts.nodes() == 0)
    std::fprintf(stderr,
                 "cluster: nodes can join: cluster --troupe-node "
                 "--connect=%s\n",
                 troupe::to_text(where).c_str());
  await_nodes(*pool, own, stopping.token());
  parts::progress_bar* screen = nullptr;
  run packing{*pool,
              own,
              {.kills = opts.kills(),
               .into = std::move(into),
               .stop = stopping.token(),
               .on_failure = [&screen](const std::string& path,
                                       const std::string& why) {
                 screen->aside([&] {
                   std::fprintf(stderr, "failed: %s: %s\n",
                                parts::printable(path).c_str(),
                                parts::printable(why).c_str());
                 });
               }}};
  parts::progress_bar bar{parts::progress_bar::fits(),
                          [&packing] { return packing.look(); }};
  screen = &bar;
  auto all = packing.execute(files);
  auto text = report(all);
  if (stopping.signal())
    text += fmt::format("interrupted: {} files were not packed\n",
                        parts::human_count(all.never_started));
  auto error = 0;
  bar.aside([&] {
    // Flushed here, where the cause is still known: a failure that a flush has
    // told of is forgotten by the next one.
    if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
      error = errno;
  });
  if (error != 0)
    return leave(some_failed, std::string{"cannot write to standard output: "}
                                  + std::strerror(error));
  if (auto signal = stopping.signal())
    return 128 + *signal;
  return all.failed == 0 ? all_packed : some_failed;
}

int main(int argc, char** argv) {
  parts::fill_standard_files();
  if (auto status = troupe::run_if_node(argc, argv, known_procedures()))
    return *status;
  options opts;
  if (auto status = opts.parse_command_line(argc, argv))
    return *status;
  std::signal(SIGPIPE, SIG_IGN);
  // Before all other threads, which are to leave its signals alone.
  parts::interrupt stopping;
  std::shared_ptr<const parts::folder> into;
  std::vector<input> files;
  try {
    opts.check();
    files = find_inputs(opts.inputs());
    if (files.empty())
      throw std::runtime_error{"nothing to pack: there are no files"};
    if (auto path = opts.into())
      into = std::make_shared<const parts::folder>(*path, "cluster");
  } catch (const std::exception& error) {
    return leave(bad_usage, error.what());
  }
  return pack_all(opts, stopping, std::move(into), files);
}

} // namespace

} // namespace cluster

int main(int argc, char** argv) {
  try {
    return cluster::main(argc, argv);
  } catch (const std::exception& error) {
    return cluster::leave(cluster::some_failed, error.what());
  }
}
