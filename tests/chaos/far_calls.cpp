#include "far_calls.hpp"

#include "troupe/troupe.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace chaos {

// -- what is begun ------------------------------------------------------------

tally::tally(const std::string& path)
    : file_{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)} {
  if (file_.get() < 0 || ::ftruncate(file_.get(), bytes) != 0)
    throw std::system_error{errno, std::generic_category(), path};
  auto memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                       file_.get(), 0);
  if (memory == MAP_FAILED)
    throw std::system_error{errno, std::generic_category(), path};
  begun_ = static_cast<std::atomic<int>*>(memory);
}

tally::~tally() {
  ::munmap(begun_, bytes);
}

void tally::lock(bool alone) {
  while (::flock(file_.get(), alone ? LOCK_EX : LOCK_SH) != 0)
    if (errno != EINTR)
      throw std::system_error{errno, std::generic_category(), "flock"};
}

namespace {

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
    // Until this process ends.
    open->lock(false);
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
  driver(far_arena& in, std::uint64_t seed) : in_{in}, random_{seed} {}

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

  far_arena& in_;
  dice random_;
  std::stop_source stop_;
};

} // namespace

troupe::procedures known_procedures() {
  troupe::procedures known;
  known.add(serve, &serve_order).add(serve_again, &serve_order);
  return known;
}

std::string far_arena::new_file(dice& random) {
  return fmt::format("{}/troupe-chaos-{}-{:016x}",
                     std::filesystem::temp_directory_path().string(),
                     ::getpid(), random.fork());
}

void far_arena::drive(std::uint64_t seed, int turns) {
  driver{*this, seed}.drive(turns);
}

void far_arena::close() {
  // What a process began has ended, one way or the other, when the process has.
  counts_.lock(true);
  for (auto& [slot, of] : records)
    of->starts = of->ends = counts_.begun(slot).load();
  std::filesystem::remove(file);
}

} // namespace chaos
