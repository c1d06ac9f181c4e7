#include "troupe/run_if_node.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <mutex>
#include <random>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include "troupe/basp_guard.hpp"
#include "troupe/config.hpp"
#include "troupe/messages.hpp"
#include "troupe/node_address.hpp"
#include "troupe/node_agent.hpp"
#include "troupe/node_network.hpp"
#include "troupe/run_if_worker.hpp"
#include "troupe/unique_fd.hpp"

#if TROUPE_TLS
#  include <caf/openssl/remote_actor.hpp>
#endif

namespace troupe {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How long a pool may take until it is reached and speaks. A guess: a slow link
// and a busy machine together need a second.
constexpr milliseconds reach_timeout{5000};

// The pause after a stay that ended, or a pool that was not reached; twice as
// long each time. Guesses: a pool that starts again is found soon, and one that
// is gone costs next to nothing.
constexpr milliseconds first_pause{50};
constexpr milliseconds longest_pause{5000};

// How long a pool that was reached may take to welcome the node; twice as long
// each time that it does not. Guesses: a hundred times what a busy pool needs,
// so that a node whose hello was lost is back before anybody gives up waiting
// for it; and a pool that is slower than that is waited for in the end.
constexpr milliseconds first_patience{3000};
constexpr milliseconds longest_patience{30000};

// How often in a row a node with --once may find a pool that does not welcome
// it. A guess: CAF loses a connection by coincidence, and so not each time.
constexpr unsigned most_unwelcome = 5;

struct node_arguments {
  node_address connect;
  std::size_t processes = std::max(std::thread::hardware_concurrency(), 1u);
  std::string name;
  tls_files tls;
  std::chrono::nanoseconds drain_timeout = std::chrono::seconds{30};
  bool once = false;
  bool help = false;
};

constexpr const char* usage =
    "  --connect HOST:PORT   where the pool listens\n"
    "  --processes N         worker processes to offer (default: as many as "
    "cores)\n"
    "  --name NAME           how the pool calls this node (default: the "
    "machine's name)\n"
    "  --cert, --key, --ca FILE   certificate, its private key, and the "
    "certificate\n"
    "                        of the authority that has signed both sides'; all "
    "in PEM\n"
    "  --drain-timeout TIME  how long SIGTERM lets calls finish (default: "
    "30s)\n"
    "  --once                leave when the pool cannot be reached or is "
    "lost; one that\n"
    "                        does not answer is tried again, up to 5 times\n";

[[noreturn]] void refuse(const std::string& text) {
  throw failure{ec::invalid_option, text};
}

node_arguments parse(const std::vector<std::string>& args) {
  node_arguments result;
  auto connect = false;
  for (std::size_t i = 0; i < args.size(); ++i) {
    auto name = args[i];
    std::optional<std::string> given;
    if (auto assign = name.find('='); assign != name.npos) {
      given = name.substr(assign + 1);
      name.erase(assign);
    }
    auto value = [&] {
      if (given)
        return *given;
      if (i + 1 == args.size())
        refuse(fmt::format("{}: has no value", name));
      return args[++i];
    };
    if (name == "--connect") {
      result.connect = parse_address(name, value());
      connect = true;
    } else if (name == "--processes") {
      result.processes = parse_count(name, value(), 1, defaults::workers_limit);
    } else if (name == "--name") {
      result.name = value();
    } else if (name == "--cert") {
      result.tls.certificate = value();
    } else if (name == "--key") {
      result.tls.key = value();
    } else if (name == "--ca") {
      result.tls.ca = value();
    } else if (name == "--drain-timeout") {
      result.drain_timeout = parse_duration(name, value());
    } else if (name == "--once") {
      if (given)
        refuse(fmt::format("--once = {}: takes no value", in_quotes(*given)));
      result.once = true;
    } else if (name == "--help") {
      result.help = true;
      return result;
    } else {
      refuse(fmt::format("unknown option {} (accepted: see --help)",
                         in_quotes(args[i])));
    }
  }
  if (!connect)
    refuse("--connect: missing (accepted: HOST:PORT, where the pool listens)");
  if (result.connect.port == 0)
    refuse("--connect: port 0 is none (accepted: 1 to 65535)");
  if (!result.tls.empty()) {
    if (auto why = why_not_trusted(result.tls); !why.empty())
      refuse(fmt::format("{}; {}", why, how_to_certify));
  } else if (!is_loopback(result.connect.host)) {
    refuse(fmt::format("--connect = '{}': another machine takes --cert, --key "
                       "and --ca; {}",
                       to_text(result.connect), how_to_certify));
  }
  return result;
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

std::string random_name() {
  std::random_device random;
  std::string result;
  for (int i = 0; i < 4; ++i)
    result += fmt::format("{:08x}", random());
  return result;
}

enum class woken : std::uint8_t { signal, event, time };

// A node as a program: stays in the pool as often as it can be reached.
class node_program {
public:
  node_program(std::string program, node_arguments how, const procedures& known,
               const std::vector<std::string>& worker_arguments)
      : program_{std::move(program)},
        how_{std::move(how)},
        known_{known},
        worker_arguments_{worker_arguments},
        event_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    signals_ = unique_fd{::signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK)};
    // All threads inherit it; and a connection that breaks is no reason to die.
    sigaddset(&ending, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &ending, nullptr);
    hello_.incarnation = random_name();
    hello_.name = how_.name.empty() ? host_name() : how_.name;
    hello_.place = this_place();
    hello_.slots = static_cast<std::uint32_t>(how_.processes);
    for (const auto& name : known.names())
      hello_.procedures.push_back({name, known.find(name)->signature});
    system_.emplace(cfg_);
    start_processes(std::chrono::nanoseconds{0});
  }

  int run() {
    auto pause = first_pause;
    auto unwelcome = 0u;
    for (;;) {
      auto stay = reach(patience_after(unwelcome));
      if (stop_)
        return 0;
      unwelcome = stay.unanswered ? unwelcome + 1 : 0;
      if (stay.welcomed)
        pause = first_pause;
      if (how_.once && (unwelcome == 0 || unwelcome == most_unwelcome))
        return stay.end.why == stay_end::how::left ? 0 : 1;
      if (wait(pause) == woken::signal)
        return 0;
      pause = std::min(2 * pause, longest_pause);
    }
  }

private:
  struct stay_result {
    stay_end end;
    bool welcomed = false;
    // The pool was reached, and then neither welcomed the node nor turned it
    // away: CAF has lost the connection, or the hello.
    bool unanswered = false;
  };

  static milliseconds patience_after(unsigned unwelcome) {
    return std::min(first_patience * (1 << std::min(unwelcome, 10u)),
                    longest_patience);
  }

  // What a call may take is up to the pool. Most set no limit, so that the
  // processes that are started before it is reached can stay.
  void start_processes(std::chrono::nanoseconds max_run_time) {
    if (calls_ && max_run_time == max_run_time_)
      return;
    max_run_time_ = max_run_time;
    calls_.emplace(
        *system_, known_,
        process_options{.name = hello_.name,
                        .processes = how_.processes,
                        .max_run_time = max_run_time,
                        .max_message = 0xFFFF'FFFF,
                        .arguments = worker_arguments_,
                        .owner = fmt::format("node '{}'", hello_.name)});
  }

  // Says it once, however often it happens in a row.
  void say(const std::string& text) {
    std::lock_guard guard{mutex_};
    if (text == said_)
      return;
    said_ = text;
    auto line = fmt::format("{}: {}\n", program_, on_one_line(text));
    std::fputs(line.c_str(), stderr);
  }

  woken wait(std::optional<std::chrono::nanoseconds> patience) {
    auto until = patience ? steady_clock::now() + *patience
                          : steady_clock::time_point::max();
    for (;;) {
      int left = -1;
      if (patience)
        left = static_cast<int>(std::clamp<std::int64_t>(
            std::chrono::ceil<milliseconds>(until - steady_clock::now())
                .count(),
            0, 1'000'000'000));
      pollfd fds[] = {{signals_.get(), POLLIN, 0}, {event_.get(), POLLIN, 0}};
      auto ready = ::poll(fds, 2, left);
      if (fds[0].revents != 0 && ready > 0) {
        signalfd_siginfo info{};
        if (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
          stop_ = true;
          return woken::signal;
        }
      }
      if (fds[1].revents != 0 && ready > 0) {
        eventfd_t ignored = 0;
        if (::eventfd_read(event_.get(), &ignored) == 0)
          return woken::event;
      }
      if (ready == 0)
        return woken::time;
    }
  }

  stay_result reach(milliseconds patience) {
    auto where = to_text(how_.connect);
    std::shared_ptr<void> first;
    auto why = why_not_reached(how_.connect, how_.tls, reach_timeout,
                               signals_.get(), first);
    if (!why.empty()) {
      if (why == "interrupted")
        stop_ = true;
      else
        say(fmt::format("cannot reach a pool at {}: {}{}", where, why,
                        how_.once ? "" : "; trying again"));
      return {};
    }
    return stay(std::move(first), patience);
  }

  // In a system of its own, so that nothing of it is left behind: CAF would go
  // on using a connection that is dead, and has no way to be told.
  //
  // Over TLS `first` stays open for as long. CAF names connections by their
  // descriptor, and forgets a closed one by a message to itself, which may have
  // to wait: by then the pool may have the connection of another node under
  // that descriptor, and forgets that one. So a node closes nothing while
  // others may be joining. Without TLS the pool forgets it at once.
  stay_result stay(std::shared_ptr<void> first, milliseconds patience) {
    config cfg;
    cfg.set(std::string{compat::config_prefix} + "scheduler.max-threads",
            std::size_t{1});
    load_nodes(cfg, {how_.tls});
    compat::randomize_node(cfg);
    caf::actor_system network{cfg};
    auto door = dial(network);
    if (!door) {
      say(fmt::format("cannot reach a pool at {}: it speaks, but not as a pool "
                      "does: no pool of nodes, or one of another troupe ({})",
                      to_text(how_.connect), describe(door.error())));
      return {};
    }
    stay_result result;
    stay_hooks hooks;
    hooks.on_welcome = [&](const wire::welcome_message& hello) {
      result.welcomed = true;
      if (how_.tls.empty())
        first.reset();
      say(fmt::format("in the pool '{}' ({}) at {}, as '{}' with {} process{}",
                      hello.pool, hello.place, to_text(how_.connect),
                      hello_.name, hello_.slots,
                      hello_.slots == 1 ? "" : "es"));
      start_processes(
          std::chrono::nanoseconds{static_cast<std::int64_t>(std::min(
              hello.max_run_time_ns,
              static_cast<std::uint64_t>(defaults::duration_limit.count())))});
      return *calls_;
    };
    hooks.on_end = [&](const stay_end& how) {
      result.end = how;
      ::eventfd_write(event_.get(), 1);
    };
    caf::actor agent = network.spawn<node_agent>(known_, *door, ++last_session_,
                                                 hello_, patience, hooks);
    *door = nullptr;
    auto until = std::optional<std::chrono::nanoseconds>{};
    for (auto told = 0;;) {
      auto by = wait(until);
      if (by == woken::event)
        break;
      if (by == woken::signal && told++ == 0) {
        say("takes no more calls; leaves when those that run have returned");
        compat::tell(agent, drain_atom_v);
        until = how_.drain_timeout;
        continue;
      }
      compat::tell(agent, drain_atom_v,
                   by == woken::signal
                       ? std::string{"it was told to leave at once"}
                       : fmt::format("its --drain-timeout of {} is over",
                                     to_text(how_.drain_timeout)));
      until = {};
    }
    // Workers of the process pool may be telling it that a call has returned,
    // which they must not do in a system that is gone. CAF has nothing that
    // could be waited for.
    auto address = agent.address();
    agent = nullptr;
    while (caf::actor_cast<caf::strong_actor_ptr>(address))
      std::this_thread::sleep_for(milliseconds{1});
    result.unanswered =
        !result.welcomed && result.end.why == stay_end::how::lost;
    switch (result.end.why) {
    case stay_end::how::refused:
      say(fmt::format("the pool at {} turns this node away: {}",
                      to_text(how_.connect), result.end.text));
      break;
    case stay_end::how::lost:
      say(fmt::format("the pool at {} is lost: {}", to_text(how_.connect),
                      result.end.text));
      break;
    case stay_end::how::left:
      say(fmt::format("has left the pool at {}: {}", to_text(how_.connect),
                      result.end.text));
    }
    return result;
  }

  caf::expected<caf::actor> dial(caf::actor_system& network) {
#if TROUPE_TLS
    if (!how_.tls.empty())
      return caf::openssl::remote_actor(network, how_.connect.host,
                                        how_.connect.port);
#endif
    return connect_guarded(network, how_.connect);
  }

  const std::string program_;
  const node_arguments how_;
  const procedures known_;
  const std::vector<std::string> worker_arguments_;
  unique_fd event_;
  unique_fd signals_;
  wire::hello_message hello_;
  std::uint64_t last_session_ = 0;
  bool stop_ = false;
  std::mutex mutex_;
  std::string said_;
  config cfg_;
  std::optional<caf::actor_system> system_;
  std::optional<process_pool> calls_;
  std::chrono::nanoseconds max_run_time_{};
};

} // namespace

int run_node(const std::string& program, const std::vector<std::string>& args,
             const procedures& known,
             const std::vector<std::string>& worker_arguments) {
  try {
    auto how = parse(args);
    if (how.help) {
      std::fputs(fmt::format("Usage: {} --connect HOST:PORT [options]\n{}",
                             program, usage)
                     .c_str(),
                 stdout);
      return 0;
    }
    return node_program{program, std::move(how), known, worker_arguments}.run();
  } catch (const std::exception& why) {
    auto line = fmt::format("{}: {}\n", program, on_one_line(why.what()));
    std::fputs(line.c_str(), stderr);
    return 2;
  }
}

std::optional<int> run_if_node(int argc, char** argv, const procedures& known) {
  if (auto status = run_if_worker(argc, argv, known))
    return status;
  if (argc < 2 || std::string_view{argv[1]} != "--troupe-node")
    return {};
  return run_node(program_invocation_short_name, {argv + 2, argv + argc},
                  known);
}

} // namespace troupe
