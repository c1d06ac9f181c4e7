#include "processes.hpp"

#include "troupe/process_pool.hpp"
#include "troupe/troupe.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace chaos {

namespace {

// -- what is begun ------------------------------------------------------------

/// How often each request of a round was begun, in a file that all processes
/// map: what a process has counted there stays when it is killed.
class tally {
public:
  static constexpr std::size_t size = 64 * 1024;

  /// Makes the file, or opens one that is there.
  explicit tally(const std::string& path) {
    auto file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ::ftruncate(file, bytes) != 0)
      throw std::system_error{errno, std::generic_category(), path};
    auto memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    if (memory == MAP_FAILED)
      throw std::system_error{errno, std::generic_category(), path};
    begun_ = static_cast<std::atomic<int>*>(memory);
  }

  tally(const tally&) = delete;
  tally& operator=(const tally&) = delete;

  ~tally() { ::munmap(begun_, bytes); }

  std::atomic<int>& begun(std::size_t slot) { return begun_[slot]; }

private:
  static constexpr auto bytes =
      static_cast<off_t>(size * sizeof(std::atomic<int>));

  std::atomic<int>* begun_;
};

// -- procedures ---------------------------------------------------------------

enum class action : std::uint8_t {
  answer,
  fail,
  dawdle,
  hang,
  crash,
  crash_once,
  large
};

constexpr const char* names[] = {"answers", "fails",        "dawdles", "hangs",
                                 "crashes", "crashes once", "is large"};

/// What a request is to do, and where it is counted.
struct order {
  std::string file;
  std::uint64_t slot = 0;
  std::uint8_t what = 0;
};

template <class Inspector>
auto inspect(Inspector& f, order& value) {
#if TROUPE_CAF_1
  return f.object(value).fields(f.field("file", value.file),
                                f.field("slot", value.slot),
                                f.field("what", value.what));
#else
  return f(value.file, value.slot, value.what);
#endif
}

/// What comes back: the slot, and some bytes.
using answer = std::pair<std::uint64_t, std::string>;

constexpr troupe::procedure<"serve", answer(order)> serve;
constexpr troupe::procedure<"serve_again", answer(order)> serve_again{
    troupe::idempotent};

constexpr std::size_t large_size = 300 * 1024;

// The tally of a round stays mapped until the next one is asked for.
std::atomic<int>& begun_of(const order& what) {
  static std::string path;
  static std::unique_ptr<tally> open;
  if (path != what.file) {
    open = std::make_unique<tally>(what.file);
    path = what.file;
  }
  return open->begun(what.slot);
}

void end_this_process() {
  static constexpr int by[] = {SIGSEGV, SIGABRT, SIGKILL};
  auto number = by[static_cast<std::size_t>(::getpid()) % 3];
  std::signal(number, SIG_DFL);
  std::raise(number);
}

answer serve_order(const order& what) {
  auto before = begun_of(what)++;
  switch (static_cast<action>(what.what)) {
  case action::answer:
    break;
  case action::fail:
    throw std::runtime_error{"as asked"};
  case action::dawdle:
    std::this_thread::sleep_for(1ms);
    break;
  case action::hang:
    std::this_thread::sleep_for(10min);
    break;
  case action::crash:
    end_this_process();
    break;
  case action::crash_once:
    if (before == 0)
      end_this_process();
    break;
  case action::large:
    return {what.slot, std::string(large_size, 'x')};
  }
  return {what.slot, {}};
}

// -- drivers ------------------------------------------------------------------

/// What the drivers of a round share.
struct arena {
  ledger& book;
  troupe::pool io;
  std::string file;
  std::atomic<std::uint64_t> last_slot{0};
  std::mutex mutex{};
  std::map<std::uint64_t, record_ptr> records{};
};

template <class Wait>
void hear(ledger& book, record& of, Wait wait) {
  try {
    wait();
    book.hear_value(of);
  } catch (const troupe::failure& err) {
    book.hear_failure(of, err.code(), err.started());
  }
}

class driver {
public:
  driver(arena& in, std::uint64_t seed) : in_{in}, random_{seed} {}

  void drive(int turns) {
    for (int i = 0; i < turns; ++i) {
      switch (random_.below(4)) {
      case 0:
        map(serve);
        break;
      case 1:
        map(serve_again);
        break;
      case 2:
        gather();
        break;
      default:
        call();
      }
      if (random_.one_in(4)) {
        stop_.request_stop();
        stop_ = std::stop_source{};
      }
    }
  }

private:
  /// A request, and what the ledger knows of it.
  struct asked {
    record_ptr of;
    order what;
  };

  asked ask(const char* kind, action what, int most_starts) {
    auto of = in_.book.add(fmt::format("{} of a process pool that {}", kind,
                                       names[static_cast<std::size_t>(what)]));
    of->most_starts = most_starts;
    auto slot = ++in_.last_slot;
    if (slot >= tally::size)
      throw std::logic_error{"a round has too many requests"};
    std::lock_guard guard{in_.mutex};
    in_.records.emplace(slot, of);
    return {std::move(of), {in_.file, slot, static_cast<std::uint8_t>(what)}};
  }

  /// Sees to it that a request that hangs is ended, and has others ended, too.
  template <class Operation>
  void limit(Operation& op, bool hangs) {
    if (hangs || random_.one_in(8))
      op.timeout(std::chrono::microseconds{random_.below(15'000)});
    else if (random_.one_in(8))
      op.stop_with(stop_.get_token());
  }

  action any_action() {
    static constexpr action odd[] = {action::fail,       action::dawdle,
                                     action::hang,       action::crash,
                                     action::crash_once, action::large};
    return random_.one_in(2) ? action::answer : odd[random_.below(6)];
  }

  void call() {
    auto what = any_action();
    auto attempts = random_.one_in(3) ? 2 : 1;
    auto x = ask("call", what, attempts);
    auto op = in_.io.call(serve, x.what);
    if (attempts > 1)
      op.retry({.attempts = 2, .backoff = 200us, .jitter = 0.5});
    limit(op, what == action::hang);
    hear(in_.book, *x.of, [&] { check(op.get(), x.what); });
  }

  void gather() {
    std::vector<asked> all;
    std::vector<troupe::operation<answer>> ops;
    auto hangs = false;
    for (auto n = random_.below(30); n > 0; --n) {
      auto what = random_.one_in(8) ? any_action() : action::answer;
      hangs = hangs || what == action::hang;
      all.push_back(ask("part", what, 1));
      ops.push_back(in_.io.call(serve, all.back().what));
    }
    auto op = troupe::gather_settled(std::move(ops));
    limit(op, hangs);
    auto outcomes = op.get();
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      const auto& x = outcomes[i];
      if (x) {
        check(x.value(), all[i].what);
        in_.book.hear_value(*all[i].of);
      } else {
        in_.book.hear_failure(*all[i].of, x.code(),
                              x.state()
                                  != troupe::outcome_state::never_started);
      }
    }
  }

  template <class Procedure>
  void map(const Procedure& procedure) {
    auto n = random_.one_in(3) ? random_.below(60) : 64 + random_.below(900);
    auto odd = random_.one_in(2) ? random_.below(n + 1) : n;
    auto what = any_action();
    auto attempts = random_.one_in(3) ? 3 : 1;
    auto again = procedure.info().idempotent;
    auto whole = in_.book.add("map over processes");
    whole->of_many = true;
    std::vector<record_ptr> records;
    std::vector<order> orders;
    for (std::uint64_t i = 0; i < n; ++i) {
      auto x = ask("element", i == odd ? what : action::answer,
                   attempts * (again ? 2 : 1));
      x.of->may_go_unheard = true;
      records.push_back(std::move(x.of));
      orders.push_back(std::move(x.what));
    }
    auto op = in_.io.map(orders, procedure);
    if (attempts > 1)
      op.retry({.attempts = 3, .backoff = 200us, .jitter = 0.5});
    limit(op, what == action::hang && odd < n);
    hear(in_.book, *whole, [&] {
      auto results = op.get();
      for (std::uint64_t i = 0; i < n; ++i) {
        check(results.at(i), orders[i]);
        in_.book.hear_value(*records[i]);
      }
    });
  }

  static void check(const answer& got, const order& what) {
    auto size =
        static_cast<action>(what.what) == action::large ? large_size : 0;
    if (got.first != what.slot || got.second.size() != size)
      throw std::logic_error{"the answer to another request"};
  }

  arena& in_;
  dice random_;
  std::stop_source stop_;
};

// Kills processes while others use them.
void disturb(const troupe::process_pool& pool, dice random, bool resizes,
             const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::this_thread::sleep_for(
        std::chrono::microseconds{random.below(20'000)});
    switch (random.below(4)) {
    case 0:
      if (resizes)
        pool.resize(1 + random.below(4));
      break;
    case 1:
      static_cast<void>(pool.stats());
      break;
    default:
      if (auto alive = pool.processes().processes; !alive.empty())
        ::kill(alive[random.below(alive.size())].pid, SIGKILL);
    }
  }
}

troupe::process_options options_by(dice& random) {
  static constexpr std::uint32_t together[] = {1, 3, 1024};
  troupe::process_options how{.name = "far",
                              .processes = 1 + random.below(3),
                              .kill_grace = 5ms,
                              .max_together = together[random.below(3)]};
  if (random.one_in(3))
    how.max_requests_per_worker = 1 + random.below(200);
  if (random.one_in(3))
    how.max_run_time = 10ms;
  return how;
}

} // namespace

troupe::procedures known_procedures() {
  troupe::procedures known;
  known.add(serve, &serve_order).add(serve_again, &serve_order);
  return known;
}

void play_process_round(caf::actor_system& sys, ledger& book, dice random,
                        const std::function<void(std::string)>& say_where) {
  auto file = fmt::format("{}/troupe-chaos-{}-{:016x}",
                          std::filesystem::temp_directory_path().string(),
                          ::getpid(), random.fork());
  tally counts{file};
  troupe::process_pool pool{sys, known_procedures(), options_by(random)};
  arena in{book, pool, file};
  {
    std::vector<std::jthread> threads;
    for (auto n = 1 + random.below(3); n > 0; --n)
      threads.emplace_back([&in, seed = random.fork()] {
        driver{in, seed}.drive(15);
      });
    std::jthread trouble{[&, seed = random.fork(), resizes = random.one_in(3)](
                             const std::stop_token& stop) {
      disturb(pool, dice{seed}, resizes, stop);
    }};
    std::optional<troupe::operation<troupe::receipt>> down;
    if (random.one_in(4)) {
      std::this_thread::sleep_for(
          std::chrono::microseconds{random.below(30'000)});
      down =
          pool.shutdown(std::chrono::microseconds{random.below(9'000)}).start();
    }
    say_where("while threads wait for calls in processes");
    threads.clear();
    trouble.request_stop();
    say_where("while a process pool shuts down");
    if (down)
      down->get();
    else
      pool.shutdown(10s).get();
  }
  say_where("while worker processes end");
  while (!pool.processes().processes.empty())
    std::this_thread::sleep_for(100us);
  // What a process began has ended, one way or the other.
  for (auto& [slot, of] : in.records)
    of->starts = of->ends = counts.begun(slot).load();
  std::filesystem::remove(file);
}

} // namespace chaos
