// Uses troupe at random, all of it at once, and checks that every request has
// exactly one outcome that its side effects agree with, and that nothing hangs.
//
//   troupe_chaos [--seed N] [--seconds S | --minutes M] [--processes PERCENT]
//                [--nodes PERCENT]
//
// What is asked for follows from the seed, which is printed first; who wins a
// race does not. So many rounds use a pool of worker processes, 20 % by itself,
// or a pool of nodes, 2 %, since these take longer; this program is its own
// worker and node. With --minutes it is a soak: memory, threads and descriptors
// are printed as it goes, and must be flat. Exit status 1: a promise was
// broken; abort: something hung.

#include "dice.hpp"
#include "far_calls.hpp"
#include "ledger.hpp"
#include "nodes.hpp"
#include "processes.hpp"
#include "steadiness.hpp"

#include "troupe/run_if_node.hpp"
#include "troupe/troupe.hpp"
#include "troupe/worker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <ranges>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

using chaos::dice;
using chaos::ledger;
using chaos::record;
using chaos::record_ptr;

namespace {

// -- settings -----------------------------------------------------------------

/// Without an outcome for so long, something hangs: no request takes longer
/// than some milliseconds.
constexpr auto patience = 60s;

struct settings {
  std::uint64_t seed = std::random_device{}();
  std::chrono::seconds span = 10s;
  bool soak = false;
  std::uint64_t process_percent = 20;
  std::uint64_t node_percent = 2;
};

std::optional<settings> read_settings(int argc, char** argv) {
  settings out;
  for (int i = 1; i < argc; i += 2) {
    std::string_view key = argv[i];
    if (i + 1 == argc)
      return std::nullopt;
    std::string_view text = argv[i + 1];
    std::uint64_t value = 0;
    auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
      return std::nullopt;
    if (key == "--seed")
      out.seed = value;
    else if (key == "--seconds")
      out.span = std::chrono::seconds{value};
    else if (key == "--minutes") {
      out.span = std::chrono::minutes{value};
      out.soak = true;
    } else if (key == "--processes" && value <= 100)
      out.process_percent = value;
    else if (key == "--nodes" && value <= 100)
      out.node_percent = value;
    else
      return std::nullopt;
  }
  if (out.process_percent + out.node_percent > 100)
    return std::nullopt;
  return out;
}

// -- requests -----------------------------------------------------------------

struct chaos_error : std::runtime_error {
  using runtime_error::runtime_error;
};

/// Those workers that were seen lately, so that some can be killed.
class victims {
public:
  void add(const caf::actor_addr& who) {
    std::lock_guard guard{mutex_};
    seen_.push_back(who);
    if (seen_.size() > 8)
      seen_.pop_front();
  }

  void kill_one(dice& random) {
    caf::actor_addr who;
    {
      std::lock_guard guard{mutex_};
      if (seen_.empty())
        return;
      who = seen_[random.below(seen_.size())];
      seen_.clear();
    }
    if (auto to = caf::actor_cast<caf::actor>(who))
      caf::anon_send_exit(to, caf::exit_reason::kill);
  }

private:
  std::mutex mutex_;
  std::deque<caf::actor_addr> seen_;
};

/// What all drivers of a round share.
struct arena {
  ledger& book;
  victims& workers;
  /// Whether somebody has used a stream, whose calls have no records.
  std::atomic<bool> streamed{false};

  arena(ledger& all, victims& seen) : book{all}, workers{seen} {}
};

enum class action : std::uint8_t { answer, fail, dawdle, obey, nest, flaky };

/// Makes the outcome of `wait` known to the ledger.
template <class Wait>
void hear(ledger& book, record& of, Wait wait) {
  try {
    wait();
    book.hear_value(of);
  } catch (const troupe::failure& err) {
    book.hear_failure(of, err.code(), err.started());
  } catch (const chaos_error&) {
    book.hear_failure(of, troupe::ec::request_failed, true);
  }
}

/// One blocking call.
struct request {
  std::shared_ptr<arena> in;
  record_ptr of;
  action what = action::answer;
  std::optional<troupe::pool> home;

  std::uint64_t operator()(troupe::context& ctx) const {
    struct end_of_call {
      record& of;
      ~end_of_call() { ++of.ends; }
    } end{*of};
    auto attempt = ++of->starts;
    if (auto cell = troupe::worker_cell::current())
      in->workers.add(static_cast<troupe::actor_cell*>(cell)->address);
    switch (what) {
    case action::answer:
      break;
    case action::fail:
      throw chaos_error{"as asked"};
    case action::dawdle:
      std::this_thread::sleep_for(1ms);
      break;
    case action::obey:
      for (int i = 0; i < 20 && !ctx.stop_token().stop_requested(); ++i)
        std::this_thread::sleep_for(100us);
      break;
    case action::nest: {
      request inner{in, in->book.add("nested run, get"), action::answer, {}};
      auto op = home->run(inner);
      hear(in->book, *inner.of, [&] { op.get(); });
      break;
    }
    case action::flaky:
      if (attempt < 3)
        throw chaos_error{"not yet"};
      break;
    }
    return of->id;
  }
};

using answer = troupe::operation<std::uint64_t>;

/// An operation and what the ledger knows of it.
struct asked {
  record_ptr of;
  answer op;
};

/// Somebody who asks for things, by dice.
class driver {
public:
  driver(std::shared_ptr<arena> in, troupe::pool io, std::uint64_t seed,
         std::string way)
      : in_{std::move(in)},
        io_{std::move(io)},
        random_{seed},
        way_{std::move(way)} {}

  dice& random() { return random_; }

  const troupe::pool& io() const { return io_; }

  arena& in() const { return *in_; }

  const std::shared_ptr<arena>& shared_arena() const { return in_; }

  record_ptr note(const char* what) {
    return in_->book.add(fmt::format("{}, {}", what, way_));
  }

  /// Makes a single request with some modifiers.
  asked ask(const char* kind = "run") {
    static constexpr const char* names[] = {"answers", "fails", "dawdles",
                                            "obeys",   "nests", "flaky"};
    auto what = static_cast<action>(random_.below(6));
    auto of = note(
        fmt::format("{} that {}", kind, names[static_cast<std::size_t>(what)])
            .c_str());
    request made{in_, of, what, {}};
    if (what == action::nest)
      made.home = io_;
    auto op = io_.run(std::move(made));
    if (what == action::flaky) {
      op.retry({.attempts = 3, .backoff = 200us, .jitter = 0.5});
      of->most_starts = 3;
    }
    switch (random_.below(8)) {
    case 0:
      op.priority(static_cast<troupe::priority>(random_.below(3)));
      break;
    case 1:
      op.key(fmt::format("key {}", random_.below(3)),
             static_cast<std::uint32_t>(1 + random_.below(2)));
      break;
    case 2:
      op.stop_with(stop_.get_token());
      break;
    case 3:
      op.timeout(std::chrono::microseconds{random_.below(3'000)});
      break;
    default:
      break;
    }
    op.label(fmt::format("request {}", of->id));
    return {std::move(of), std::move(op)};
  }

  /// Stops what was to be stopped by then.
  void maybe_stop() {
    if (random_.one_in(6)) {
      stop_.request_stop();
      stop_ = std::stop_source{};
    }
  }

  /// A map of up to 300 elements, each with a record of its own, as one
  /// operation.
  std::pair<record_ptr, troupe::operation<std::vector<std::uint64_t>>>
  ask_map() {
    auto n = random_.one_in(4) ? 100 + random_.below(200) : random_.below(8);
    auto whole = note("map");
    std::vector<request> parts;
    for (std::uint64_t i = 0; i < n; ++i) {
      auto of = note("element of a map");
      // Only the map as a whole is heard of.
      of->may_go_unheard = true;
      auto what = n > 50               ? action::answer
                  : random_.one_in(30) ? action::fail
                  : random_.one_in(4)  ? action::dawdle
                                       : action::answer;
      parts.push_back({in_, of, what, {}});
    }
    auto op = io_.map(std::move(parts),
                      [whole](troupe::context& ctx, const request& part) {
                        return part(ctx);
                      });
    whole->of_many = true;
    if (random_.one_in(4))
      op.max_in_flight(1 + random_.below(3));
    if (random_.one_in(5))
      op.timeout(std::chrono::microseconds{random_.below(5'000)});
    if (random_.one_in(5))
      op.stop_with(stop_.get_token());
    return {std::move(whole), std::move(op)};
  }

  /// Some requests at once, of which each is heard.
  std::pair<std::vector<record_ptr>, std::vector<answer>> ask_some() {
    std::vector<record_ptr> records;
    std::vector<answer> ops;
    auto n = random_.below(12);
    for (std::uint64_t i = 0; i < n; ++i) {
      auto x = ask("part");
      records.push_back(std::move(x.of));
      ops.push_back(std::move(x.op));
    }
    return {std::move(records), std::move(ops)};
  }

  template <class T>
  void hear_outcome(record& of, const troupe::outcome<T>& from) {
    if (from)
      in_->book.hear_value(of);
    else
      in_->book.hear_failure(of, from.code(),
                             from.state()
                                 != troupe::outcome_state::never_started);
  }

private:
  std::shared_ptr<arena> in_;
  troupe::pool io_;
  dice random_;
  std::string way_;
  std::stop_source stop_;
};

// -- ways to wait -------------------------------------------------------------

// A thread that blocks.
void drive_thread(driver me, int turns) {
  auto& book = me.in().book;
  for (int i = 0; i < turns; ++i) {
    switch (me.random().below(7)) {
    case 0: {
      auto [of, op] = me.ask_map();
      hear(book, *of, [&op = op] { op.get(); });
      break;
    }
    case 1: {
      auto [records, ops] = me.ask_some();
      auto all = troupe::gather_settled(std::move(ops)).get();
      for (std::size_t k = 0; k < all.size(); ++k)
        me.hear_outcome(*records[k], all[k]);
      break;
    }
    case 2: {
      // Of a gather that fails only the first failure is heard.
      auto [records, ops] = me.ask_some();
      auto whole = me.note("gather");
      whole->of_many = true;
      for (auto& of : records)
        of->may_go_unheard = true;
      auto op = troupe::gather(std::move(ops));
      hear(book, *whole, [&op] { op.get(); });
      break;
    }
    case 3: {
      auto whole = me.note("imap");
      whole->of_many = true;
      me.in().streamed = true;
      auto results = me.io().imap(
          std::views::iota(0, static_cast<int>(me.random().below(40))),
          [](int x) { return x; }, 1 + me.random().below(4));
      auto expected = 0;
      hear(book, *whole, [&] {
        while (auto x = results.next().get())
          if (*x != expected++)
            throw std::logic_error{"imap out of order"};
      });
      break;
    }
    case 4: {
      auto x = me.ask();
      auto started = std::move(x.op).start();
      me.maybe_stop();
      hear(book, *x.of, [&] { started.get(); });
      break;
    }
    default: {
      auto x = me.ask();
      hear(book, *x.of, [&] { x.op.get(); });
    }
    }
    me.maybe_stop();
  }
}

// A task that awaits.
troupe::task<void> drive_task(caf::event_based_actor* self,
                              std::shared_ptr<driver> me, int turns) {
  auto& book = me->in().book;
  for (int i = 0; i < turns; ++i) {
    switch (me->random().below(4)) {
    case 0: {
      auto [records, ops] = me->ask_some();
      auto op = troupe::gather_settled(std::move(ops));
      auto all = co_await std::move(op);
      for (std::size_t k = 0; k < all.size(); ++k)
        me->hear_outcome(*records[k], all[k]);
      break;
    }
    case 1: {
      auto [records, ops] = me->ask_some();
      if (ops.empty())
        break;
      auto whole = me->note("first_completed");
      whole->of_many = true;
      for (auto& of : records)
        of->may_go_unheard = true;
      auto op = troupe::first_completed(std::move(ops));
      try {
        co_await std::move(op);
        book.hear_value(*whole);
      } catch (const troupe::failure& err) {
        book.hear_failure(*whole, err.code(), true);
      } catch (const chaos_error&) {
        book.hear_failure(*whole, troupe::ec::request_failed, true);
      }
      break;
    }
    default: {
      auto x = me->ask();
      try {
        co_await std::move(x.op);
        book.hear_value(*x.of);
      } catch (const troupe::failure& err) {
        book.hear_failure(*x.of, err.code(), err.started());
      } catch (const chaos_error&) {
        book.hear_failure(*x.of, troupe::ec::request_failed, true);
      }
    }
    }
    me->maybe_stop();
    if (me->random().one_in(8))
      co_await troupe::sleep_for(self, 200us);
  }
}

/// Counts down to the end of a round.
class latch {
public:
  void add() {
    std::lock_guard guard{mutex_};
    ++left_;
  }

  void done() {
    std::lock_guard guard{mutex_};
    --left_;
    changed_.notify_all();
  }

  void wait() {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [this] { return left_ == 0; });
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int left_ = 0;
};

// An actor with callbacks. `leaves_early`: it ends with operations outstanding,
// and nobody is left to hear of them.
void drive_actor(caf::actor_system& sys, const std::shared_ptr<driver>& me,
                 int turns, bool leaves_early,
                 const std::shared_ptr<latch>& over) {
  over->add();
  sys.spawn([=](caf::event_based_actor* self) {
    auto left = std::make_shared<int>(turns);
    auto finish = [=] {
      if (--*left == 0)
        self->quit();
    };
    self->attach_functor([over](const caf::error&) { over->done(); });
    for (int i = 0; i < turns; ++i) {
      auto x = me->ask();
      x.of->may_go_unheard = leaves_early;
      x.op.then(
          self,
          [=, of = x.of](std::uint64_t) {
            me->in().book.hear_value(*of);
            finish();
          },
          [=, of = x.of](const caf::error& why) {
            // The request's own exception, or what troupe says of it.
            auto record = troupe::failure_of(why);
            me->in().book.hear_failure(*of, record->code, record->started);
            finish();
          });
      me->maybe_stop();
    }
    if (leaves_early)
      self->quit();
  });
}

// -- rounds -------------------------------------------------------------------

/// Says what is outstanding, and ends the process, when nothing moves.
class watchdog {
public:
  explicit watchdog(const ledger& book) : book_{book} {}

  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;

  ~watchdog() {
    thread_.request_stop();
    changed_.notify_all();
  }

  void say_where(std::string where) {
    std::lock_guard guard{mutex_};
    where_ = std::move(where);
    ++moves_;
  }

private:
  void watch(const std::stop_token& stop) {
    auto since = std::chrono::steady_clock::now();
    std::uint64_t before = 0;
    std::unique_lock guard{mutex_};
    while (!stop.stop_requested()) {
      changed_.wait_for(guard, 1s);
      auto now = book_.heard() + moves_;
      if (now != before) {
        before = now;
        since = std::chrono::steady_clock::now();
      } else if (std::chrono::steady_clock::now() - since > patience) {
        fmt::print(stderr, "chaos: nothing has moved for {} s, {}\n{}",
                   patience.count(), where_, book_.unfinished());
        std::fflush(nullptr);
        std::abort();
      }
    }
  }

  const ledger& book_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string where_;
  std::uint64_t moves_ = 0;
  std::jthread thread_{[this](const std::stop_token& stop) { watch(stop); }};
};

troupe::pool make_pool(caf::actor_system& sys, dice& random) {
  troupe::pool_options how{.name = "io", .workers = 1 + random.below(4)};
  how.min_workers = random.below(*how.workers + 1);
  how.idle_timeout = std::chrono::microseconds{random.below(2) * 500 + 100};
  if (random.one_in(3)) {
    how.max_queued = 1 + random.below(8);
    how.on_full =
        random.one_in(2) ? troupe::on_full::wait : troupe::on_full::reject;
  }
  if (random.one_in(3))
    how.spin = 20us;
  if (random.one_in(3)) {
    how.max_run_time = 20ms;
    how.max_spares = random.below(3);
  }
  return troupe::pool{sys, how};
}

// Disturbs a pool while others use it.
void disturb(const troupe::pool& io, arena& in, dice random,
             const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::this_thread::sleep_for(std::chrono::microseconds{random.below(900)});
    switch (random.below(6)) {
    case 0:
      io.resize(1 + random.below(5));
      break;
    case 1:
      in.workers.kill_one(random);
      break;
    case 2:
      static_cast<void>(io.stats());
      break;
    default:
      break;
    }
  }
}

// Returns when the pool has measured each call of the round once; failure is a
// hang. Of a stream, stretches are measured and not the calls.
void compare_statistics(const troupe::pool& io, const arena& in) {
  if (!TROUPE_STATISTICS || in.streamed)
    return;
  for (;;) {
    auto before = in.book.begun();
    if (io.stats().total().ran.count() == before && in.book.begun() == before)
      return;
    std::this_thread::sleep_for(100us);
  }
}

/// The receipt of a shutdown in the middle of a round, held against what the
/// ledger knows. Who was refused, cancelled or lost before the shutdown began
/// it does not know.
class audit {
public:
  explicit audit(const arena& in) : in_{in} {}

  /// To be called as soon as the receipt is there.
  void take(troupe::receipt what) {
    what_ = std::move(what);
    ended_ = in_.book.ended();
    asked_ = in_.book.asked();
  }

  /// To be called when all of the round has returned.
  void close() const {
    if (!what_)
      return;
    auto left = what_->still_running.size();
    auto late = in_.book.begun() - ended_;
    if (late > left)
      in_.book.complain(fmt::format(
          "a receipt names {} as still running, and {} ended after it:", left,
          late));
    auto all = what_->drained + what_->cancelled + left;
    if (!in_.streamed && all > asked_)
      in_.book.complain(fmt::format(
          "a receipt has {} drained, {} cancelled and {} still running, of {} "
          "that were asked for:",
          what_->drained, what_->cancelled, left, asked_));
  }

private:
  const arena& in_;
  std::optional<troupe::receipt> what_;
  std::uint64_t ended_ = 0;
  std::uint64_t asked_ = 0;
};

void play_round(caf::actor_system& sys, ledger& book, dice random,
                watchdog& dog) {
  victims workers;
  auto in = std::make_shared<arena>(book, workers);
  auto over = std::make_shared<latch>();
  audit receipt{*in};
  {
    auto io = make_pool(sys, random);
    std::vector<std::jthread> threads;
    auto some_driver = [&](const char* way) {
      return driver{in, io, random.fork(), way};
    };
    for (auto n = random.below(3); n > 0; --n)
      threads.emplace_back(drive_thread, some_driver("get"), 30);
    for (auto n = random.below(3); n > 0; --n)
      drive_actor(sys, std::make_shared<driver>(some_driver("then")), 20,
                  random.one_in(4), over);
    for (auto n = random.below(3); n > 0; --n)
      threads.emplace_back(
          [&sys, me = std::make_shared<driver>(some_driver("co_await"))] {
            troupe::run(
                sys,
                [](caf::event_based_actor* self, std::shared_ptr<driver> who) {
                  return drive_task(self, std::move(who), 20);
                },
                me);
          });
    std::jthread trouble{
        [&, seed = random.fork()](const std::stop_token& stop) {
          disturb(io, *in, dice{seed}, stop);
        }};
    std::optional<troupe::operation<troupe::receipt>> down;
    // Hears of the receipt when it is there, whoever is still busy.
    std::jthread clerk;
    // Sometimes in the middle of it all.
    if (random.one_in(4)) {
      std::this_thread::sleep_for(
          std::chrono::microseconds{random.below(4'000)});
      down =
          io.shutdown(std::chrono::microseconds{random.below(3'000)}).start();
      clerk = std::jthread{[&] { receipt.take(down->get()); }};
    }
    dog.say_where("while threads and tasks wait");
    threads.clear();
    dog.say_where("while actors wait");
    over->wait();
    trouble.request_stop();
    dog.say_where("while a pool shuts down");
    if (down)
      clerk.join();
    else if (random.one_in(2))
      io.shutdown().get();
    if (random.one_in(2)) {
      dog.say_where("while a pool counts what it has measured");
      compare_statistics(io, *in);
    }
  }
  dog.say_where("while the last requests return");
  while (!book.all_returned() || book.outstanding() > 0)
    std::this_thread::sleep_for(100us);
  receipt.close();
}

// -- figures ------------------------------------------------------------------

/// How often a soak looks at itself, and how often it says what it sees.
constexpr auto look_interval = 5s;
constexpr auto report_interval = 60s;

/// Looks at the process between two actor systems, when nothing of a pool may
/// be left.
class soak {
public:
  using clock = std::chrono::steady_clock;

  explicit soak(clock::time_point begin) : begin_{begin} {}

  void look(std::uint64_t rounds, std::uint64_t requests, bool last) {
    auto now = clock::now();
    if (now < next_look_ && !last)
      return;
    next_look_ = now + look_interval;
    auto seen = test::holdings_now();
    all_.add(seen);
    if (now < next_report_ && !last)
      return;
    next_report_ = now + report_interval;
    fmt::print(
        "{:5} s  {:8} rounds  {:10} requests  {:7} KiB  {:3} threads  "
        "{:3} descriptors\n",
        std::chrono::duration_cast<std::chrono::seconds>(now - begin_).count(),
        rounds, requests, seen.memory_kib, seen.threads, seen.descriptors);
    std::fflush(stdout);
  }

  /// Prints whether all was flat; returns false if something has grown.
  bool judge() const {
    auto growth = all_.growth();
    if (!growth.empty())
      fmt::print("chaos: not flat\n{}", growth);
    else if (all_.can_tell())
      fmt::print("chaos: memory, threads and descriptors are flat\n");
    else
      fmt::print("chaos: too short to say what grows\n");
    return growth.empty();
  }

private:
  clock::time_point begin_;
  clock::time_point next_look_ = begin_;
  clock::time_point next_report_ = begin_;
  test::steadiness all_;
};

} // namespace

int main(int argc, char** argv) {
  if (auto status = troupe::run_if_node(argc, argv, chaos::known_procedures()))
    return *status;
  auto how = read_settings(argc, argv);
  if (!how) {
    fmt::print(stderr,
               "usage: troupe_chaos [--seed N] [--seconds S | --minutes M] "
               "[--processes PERCENT] [--nodes PERCENT]\n");
    return 2;
  }
  fmt::print("chaos: --seed {}\n", how->seed);
  std::fflush(stdout);
  dice random{how->seed};
  ledger book;
  watchdog dog{book};
  auto begin = std::chrono::steady_clock::now();
  soak figures{begin};
  std::uint64_t rounds = 0;
  while (std::chrono::steady_clock::now() - begin < how->span) {
    // A system serves some rounds; another one starts in the same process.
    troupe::config cfg;
    std::optional<caf::actor_system> sys{std::in_place, cfg};
    for (auto n = 1 + random.below(20); n > 0; --n) {
      auto say_where = [&](std::string where) {
        dog.say_where(std::move(where));
      };
      auto kind = random.below(100);
      if (kind < how->node_percent)
        chaos::play_node_round(book, dice{random.fork()}, say_where);
      else if (kind < how->node_percent + how->process_percent)
        chaos::play_process_round(*sys, book, dice{random.fork()}, say_where);
      else
        play_round(*sys, book, dice{random.fork()}, dog);
      ++rounds;
      if (auto wrong = book.close(); !wrong.empty()) {
        fmt::print("chaos: broken in round {} of --seed {}\n{}", rounds,
                   how->seed, wrong);
        return EXIT_FAILURE;
      }
    }
    dog.say_where("while an actor system ends");
    sys.reset();
    if (how->soak)
      figures.look(rounds, book.requests(), false);
  }
  if (how->soak)
    figures.look(rounds, book.requests(), true);
  fmt::print("chaos: {} rounds, {} requests, each with one outcome\n", rounds,
             book.requests());
  if (how->soak && !figures.judge())
    return EXIT_FAILURE;
}
