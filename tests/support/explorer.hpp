// Runs a few threads in every order that can make a difference, and says in
// which of them a check fails. The threads are fibers; each atomic operation is
// a step, and so is the moment in which a plain store leaves the store buffer
// of its processor, as on x86. What cannot be told apart is run once (dynamic
// partial-order reduction with sleep sets: Flanagan and Godefroid 2005). Knows
// nothing of troupe; explored_std.hpp puts it under the code that is checked.

#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <cxxabi.h>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <ucontext.h>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#  include <sanitizer/common_interface_defs.h>
#endif

namespace explore {

/// What a step does. All but `load` change something, `store` only the buffer
/// of its own thread.
enum class op_kind : std::uint8_t {
  begin,
  load,
  store,
  update,
  flush,
  lock,
  unlock,
  fence,
  drain,
  wait,
  spin
};

/// Something that threads share.
struct location {
  location() = default;
  location(const location&) {}
  location& operator=(const location&) { return *this; }
  inline ~location();

  /// How often its value has changed in memory.
  std::uint64_t version = 0;
};

struct options {
  /// Whether plain stores pass through a buffer, as on x86, or are seen at
  /// once, as in a sequentially consistent machine.
  bool store_buffers = true;

  /// Whether the expensive side of the asymmetric fence empties the buffers of
  /// the other threads.
  bool fence_works = true;

  /// Whether there is an asymmetric fence at all.
  bool fence_exists = true;

  /// Whether orders are left out that differ from others only in the order of
  /// steps that have nothing to do with each other.
  bool reduce = true;

  /// How often a thread that could go on is interrupted, at most; buffers that
  /// are emptied count, too. Where there are too many orders to run all, most
  /// mistakes show with few interruptions. Only where `reduce` is off.
  std::size_t most_interruptions = ~std::size_t{0};

  /// A thread that takes more steps than this in one order hangs.
  std::size_t most_steps = 20'000;
};

struct result {
  /// How many orders were run.
  std::uint64_t runs = 0;

  /// Whether these were all; not if a check failed.
  bool complete = false;

  /// The first check that failed and the steps that led there; empty if none.
  std::string failure;
};

/// The threads and checks of one run; made anew for each.
class world {
public:
  /// Adds a thread. At most six.
  void thread(std::string name, std::function<void()> body) {
    threads.push_back({std::move(name), std::move(body)});
  }

  /// Adds a check for when all threads have ended.
  void after(std::function<void()> check) {
    checks.push_back(std::move(check));
  }

  struct named {
    std::string name;
    std::function<void()> body;
  };

  std::vector<named> threads;
  std::vector<std::function<void()>> checks;

  /// Is called with the number of a thread before it goes on, and with -1
  /// before checks run: for what the code under test keeps per thread.
  std::function<void(int)> on_switch = [](int) {};
};

class engine {
public:
  static constexpr int most_threads = 6;

  static engine*& active() {
    static engine* instance = nullptr;
    return instance;
  }

  explicit engine(options how) : how_{how} {}

  result explore(const std::function<void(world&)>& body) {
    result out;
    active() = this;
    do {
      run_once(body);
      if (!redundant_)
        ++out.runs;
      if (!failure_.empty())
        out.failure = failure_;
    } while (out.failure.empty() && advance());
    out.complete = out.failure.empty();
    active() = nullptr;
    return out;
  }

  const options& how() const { return how_; }

  /// Returns whether the caller is a thread whose operations are steps.
  bool in_thread() const { return current_ >= 0 && !quiet_; }

  /// Until it is called with false, the calling thread takes no steps: nobody
  /// comes in between, and what it does is not explored.
  void quiet(bool yes) { quiet_ = yes; }

  /// Records that a check failed, in this order.
  void fail(const std::string& what) {
    if (failure_.empty())
      failure_ = what + "\n" + text_of_trace();
  }

  // -- steps --------------------------------------------------------------

  /// Lets others go first; returns when the step may be taken.
  void point(op_kind kind, location* where, std::source_location line,
             int target = -1) {
    auto& me = *fibers_[static_cast<std::size_t>(current_)];
    me.next = {kind, where, target, line};
    if (++me.steps > how_.most_steps) {
      fail(me.name + " takes no end of steps");
      stop();
    }
    pick();
  }

  /// Puts a store into the buffer of this thread.
  void buffer(location* where, void* memory, const void* bytes, std::size_t n,
              std::source_location line) {
    pending store{where, memory, n, {}, trace_.size() - 1, line};
    std::memcpy(store.bytes.data(), bytes, n);
    fibers_[static_cast<std::size_t>(current_)]->buffer.push_back(store);
  }

  /// Returns what this thread has stored there and others do not see yet.
  const void* buffered(const location* where) const {
    const auto& mine = fibers_[static_cast<std::size_t>(current_)]->buffer;
    for (auto i = mine.rbegin(); i != mine.rend(); ++i)
      if (i->where == where)
        return i->bytes.data();
    return nullptr;
  }

  /// This thread has read the location.
  void watch(location* where) {
    auto& seen = fibers_[static_cast<std::size_t>(current_)]->seen;
    for (auto& [what, version] : seen)
      if (what == where) {
        version = where->version;
        return;
      }
    seen.emplace_back(where, where->version);
  }

  /// The location's memory has a new value.
  void changed(location* where) {
    ++where->version;
    if (current_ >= 0)
      fibers_[static_cast<std::size_t>(current_)]->idle_spins = 0;
  }

  /// The location is gone.
  void forget(location* where) {
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      auto& each = *fibers_[i];
      auto gone = std::erase_if(
          each.seen, [&](const auto& seen) { return seen.first == where; });
      each.woken = each.woken || gone > 0;
      auto lost = std::erase_if(
          each.buffer, [&](const pending& x) { return x.where == where; });
      if (lost > 0 && static_cast<int>(i) != current_)
        fail("a store is under way to memory that is gone");
    }
  }

  /// Lets others go first until something is different.
  void spin(std::source_location line) {
    auto& me = *fibers_[static_cast<std::size_t>(current_)];
    point(op_kind::spin, nullptr, line);
    if (me.asked_time)
      me.time += std::chrono::microseconds{30};
    ++me.idle_spins;
    me.asked_time = me.woken = false;
    me.seen.clear();
  }

  /// Time passes only where a thread lets others go first.
  std::chrono::steady_clock::time_point now() {
    std::chrono::steady_clock::time_point start{std::chrono::hours{1}};
    if (current_ < 0)
      return start;
    auto& me = *fibers_[static_cast<std::size_t>(current_)];
    me.asked_time = true;
    return start + me.time;
  }

  /// Returns the number of the step that was taken last; -1 before the first.
  std::ptrdiff_t last_step() const {
    return static_cast<std::ptrdiff_t>(trace_.size()) - 1;
  }

  /// Empties the buffers of all other threads, each at some moment.
  void heavy_fence(std::source_location line) {
    if (!how_.fence_works)
      return;
    auto me = current_;
    for (int other = 0; other < count(); ++other)
      if (other != me)
        point(op_kind::drain, &fibers_[static_cast<std::size_t>(other)]->room,
              line, other);
  }

private:
  struct op {
    op_kind kind = op_kind::begin;
    location* where = nullptr;
    int target = -1;
    std::source_location line;
  };

  struct pending {
    location* where;
    void* memory;
    std::size_t size;
    std::array<std::byte, 8> bytes;
    std::size_t stored_by;
    std::source_location line;
  };

  struct fiber {
    std::string name;
    std::function<void()> body;
    ucontext_t context{};
    std::byte* stack = nullptr;
    std::array<std::byte, 2 * sizeof(void*)> exceptions{};
    op next;
    bool done = false;
    std::deque<pending> buffer;
    // Stands for the buffer, for those who wait until it is empty.
    location room;
    std::vector<std::pair<location*, std::uint64_t>> seen;
    bool woken = false;
    bool asked_time = false;
    int idle_spins = 0;
    std::size_t steps = 0;
    std::chrono::microseconds time{0};
    // The index of this thread's last flush in the trace.
    std::ptrdiff_t last_flush = -1;
  };

  using set = std::uint32_t;
  using clock = std::array<std::int32_t, 2 * most_threads>;

  struct node {
    set enabled = 0;
    set wanted = 0;
    set done = 0;
    set sleeping = 0;
    int chosen = 0;
  };

  struct step {
    int who;
    op what;
    // A step that had to come first for this one to be possible, or -1.
    std::ptrdiff_t cause;
  };

  static constexpr std::size_t stack_size = 256 * 1024;

  static set bit(int who) { return set{1} << who; }

  int count() const { return static_cast<int>(fibers_.size()); }

  // -- one run --------------------------------------------------------------

  void run_once(const std::function<void(world&)>& body) {
    auto self = std::exchange(active(), nullptr);
    fibers_.clear();
    active() = self;
    trace_.clear();
    sleeping_ = 0;
    interruptions_ = 0;
    current_ = -1;
    redundant_ = quiet_ = false;
    {
      world made;
      body(made);
      on_switch_ = made.on_switch;
      for (auto& each : made.threads)
        add_fiber(each);
      pick();
      // Back here when all threads have ended, or none can go on.
      on_switch_(-1);
      if (!failure_.empty()) {
        // What the threads hold stays where it is: they are in the middle.
        if (!all_done())
          static_cast<void>(new world(std::move(made)));
        return;
      }
      if (!redundant_ || all_done())
        for (auto& check : made.checks)
          check();
    }
    if (how_.reduce)
      find_races();
  }

  void add_fiber(world::named& from) {
    auto made = std::make_unique<fiber>();
    made->name = from.name;
    made->body = from.body;
    auto index = fibers_.size();
    if (stacks_.size() <= index)
      stacks_.push_back(std::make_unique<std::byte[]>(stack_size));
    made->stack = stacks_[index].get();
    getcontext(&made->context);
    made->context.uc_stack.ss_sp = made->stack;
    made->context.uc_stack.ss_size = stack_size;
    made->context.uc_link = nullptr;
    makecontext(&made->context, &engine::fiber_main, 0);
    fibers_.push_back(std::move(made));
  }

  static void fiber_main() {
    auto& self = *active();
    self.arrived(nullptr);
    auto& me = *self.fibers_[static_cast<std::size_t>(self.current_)];
    try {
      me.body();
    } catch (const std::exception& err) {
      self.fail(me.name + " ended by an exception: " + err.what());
    } catch (...) {
      self.fail(me.name + " ended by an exception");
    }
    me.body = nullptr;
    me.done = true;
    self.pick();
  }

  bool all_done() const {
    return std::all_of(fibers_.begin(), fibers_.end(),
                       [](const auto& x) { return x->done; });
  }

  bool can_go(int who) const {
    auto n = count();
    if (who >= n)
      return !fibers_[static_cast<std::size_t>(who - n)]->buffer.empty();
    const auto& it = *fibers_[static_cast<std::size_t>(who)];
    if (it.done)
      return false;
    switch (it.next.kind) {
    case op_kind::begin:
    case op_kind::load:
    case op_kind::store:
      return true;
    case op_kind::update:
    case op_kind::unlock:
    case op_kind::fence:
      return it.buffer.empty();
    case op_kind::lock:
    case op_kind::wait:
      return it.buffer.empty() && is_open(it.next);
    case op_kind::drain:
      return it.buffer.empty()
             && fibers_[static_cast<std::size_t>(it.next.target)]
                    ->buffer.empty();
    case op_kind::spin:
      return it.woken || (it.asked_time && it.idle_spins < 2)
             || std::any_of(it.seen.begin(), it.seen.end(),
                            [](const auto& seen) {
                              return seen.first->version != seen.second;
                            });
    default:
      return false;
    }
  }

  // A lock or a signal says at its beginning whether it can be passed.
  static bool is_open(const op& what);

  // Returns which step opened what is about to be passed.
  static std::ptrdiff_t opener_of(const op& what);

  // Chooses who takes the next step, and lets it; returns when that is the
  // caller.
  void pick() {
    for (;;) {
      set enabled = 0;
      for (int i = 0; i < 2 * count(); ++i)
        if (can_go(i))
          enabled |= bit(i);
      if (enabled == 0) {
        if (!all_done())
          fail("all that have not ended wait for each other");
        stop();
        return;
      }
      auto who = choose(enabled);
      take(who);
      if (who >= count()) {
        flush(*fibers_[static_cast<std::size_t>(who - count())]);
        continue;
      }
      if (who != current_)
        switch_to(who);
      return;
    }
  }

  int choose(set enabled) {
    auto depth = trace_.size();
    if (redundant_)
      return prefer(enabled);
    if (depth < stack_.size()) {
      auto& at = stack_[depth];
      if (at.enabled != enabled) {
        // Only a program that does not do the same each time comes here.
        fail("the program does not repeat itself");
        at.enabled = enabled;
        at.chosen = prefer(enabled);
      }
      if (how_.reduce)
        sleeping_ = at.sleeping | (at.done & ~bit(at.chosen));
      interruptions_ += interrupts(at.chosen, enabled);
      return at.chosen;
    }
    auto awake = enabled & ~sleeping_;
    if (awake == 0) {
      // Whatever comes now was seen in another order already.
      redundant_ = true;
      return prefer(enabled);
    }
    auto who = prefer(awake);
    node made;
    made.enabled = enabled;
    made.sleeping = sleeping_;
    made.chosen = who;
    made.wanted = bit(who);
    if (!how_.reduce)
      for (int i = 0; i < 2 * count(); ++i)
        if ((enabled & bit(i))
            && interruptions_ + interrupts(i, enabled)
                   <= how_.most_interruptions)
          made.wanted |= bit(i);
    made.done = bit(who);
    stack_.push_back(made);
    interruptions_ += interrupts(who, enabled);
    return who;
  }

  bool interrupts(int who, set enabled) const {
    return current_ >= 0 && who != current_ && (enabled & bit(current_));
  }

  // Whoever runs goes on; buffers are emptied as late as can be.
  int prefer(set among) const {
    if (current_ >= 0 && (among & bit(current_)))
      return current_;
    return std::countr_zero(among);
  }

  op next_of(int who) const {
    if (who < count())
      return fibers_[static_cast<std::size_t>(who)]->next;
    auto& first = fibers_[static_cast<std::size_t>(who - count())]->buffer;
    if (first.empty())
      return {};
    return {op_kind::flush, first.front().where, who - count(),
            first.front().line};
  }

  void take(int who) {
    auto what = next_of(who);
    std::ptrdiff_t cause = -1;
    if (what.kind == op_kind::flush) {
      auto& from = *fibers_[static_cast<std::size_t>(what.target)];
      cause = static_cast<std::ptrdiff_t>(from.buffer.front().stored_by);
      from.last_flush = static_cast<std::ptrdiff_t>(trace_.size());
    } else if (what.kind == op_kind::drain) {
      cause = fibers_[static_cast<std::size_t>(what.target)]->last_flush;
    } else if (what.kind == op_kind::wait) {
      cause = opener_of(what);
    } else if (what.kind == op_kind::spin) {
      cause = last_change(*fibers_[static_cast<std::size_t>(who)]);
    }
    // Those that sleep wake when something is done that concerns them.
    set still = 0;
    for (int i = 0; i < 2 * count(); ++i)
      if ((sleeping_ & bit(i)) && i != who
          && !dependent(i, next_of(i), who, what))
        still |= bit(i);
    sleeping_ = still;
    trace_.push_back({who, what, cause});
  }

  std::ptrdiff_t last_change(const fiber& spinning) const {
    for (auto i = static_cast<std::ptrdiff_t>(trace_.size()); i-- > 0;) {
      auto& past = trace_[static_cast<std::size_t>(i)].what;
      if (past.kind == op_kind::update || past.kind == op_kind::flush)
        for (auto& [where, version] : spinning.seen)
          if (where == past.where)
            return i;
    }
    return -1;
  }

  void flush(fiber& from) {
    auto store = from.buffer.front();
    from.buffer.pop_front();
    if (std::memcmp(store.memory, store.bytes.data(), store.size) != 0) {
      std::memcpy(store.memory, store.bytes.data(), store.size);
      ++store.where->version;
    }
  }

  // -- switching ------------------------------------------------------------

  ucontext_t& context_of(int who) {
    return who < 0 ? main_ : fibers_[static_cast<std::size_t>(who)]->context;
  }

  // Each thread has its own exceptions in flight.
  std::byte* exceptions_of(int who) {
    return who < 0 ? main_exceptions_.data()
                   : fibers_[static_cast<std::size_t>(who)]->exceptions.data();
  }

  void switch_to(int who) {
    auto from = current_;
    auto globals = reinterpret_cast<std::byte*>(abi::__cxa_get_globals());
    std::memcpy(exceptions_of(from), globals, main_exceptions_.size());
    std::memcpy(globals, exceptions_of(who), main_exceptions_.size());
    current_ = who;
    on_switch_(who);
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    auto leaving = from >= 0 && fibers_[static_cast<std::size_t>(from)]->done;
    if (who < 0)
      __sanitizer_start_switch_fiber(leaving ? nullptr : &fake, main_bottom_,
                                     main_size_);
    else
      __sanitizer_start_switch_fiber(
          leaving ? nullptr : &fake,
          fibers_[static_cast<std::size_t>(who)]->stack, stack_size);
    swapcontext(&context_of(from), &context_of(who));
    arrived(fake);
#else
    swapcontext(&context_of(from), &context_of(who));
#endif
  }

  void arrived([[maybe_unused]] void* fake) {
#if defined(__SANITIZE_ADDRESS__)
    const void* bottom = nullptr;
    std::size_t size = 0;
    __sanitizer_finish_switch_fiber(fake, &bottom, &size);
    if (main_bottom_ == nullptr) {
      main_bottom_ = bottom;
      main_size_ = size;
    }
#endif
  }

  // Ends the run, wherever its threads are.
  void stop() {
    if (current_ >= 0)
      switch_to(-1);
  }

  // -- which orders are left ------------------------------------------------

  static bool writes(op_kind kind) {
    return kind != op_kind::load && kind != op_kind::drain;
  }

  // Whether the order of the two can make a difference.
  bool dependent(int a, const op& x, int b, const op& y) const {
    if (a == b)
      return true;
    // A store and those who wait until its buffer is empty.
    if (x.kind == op_kind::store || y.kind == op_kind::store) {
      auto& store = x.kind == op_kind::store ? x : y;
      auto& other = x.kind == op_kind::store ? y : x;
      auto by = x.kind == op_kind::store ? a : b;
      return &store != &other && other.kind == op_kind::drain
             && other.target == by;
    }
    if (x.kind == op_kind::drain || y.kind == op_kind::drain)
      return false;
    // A call stays until it is waited for.
    if ((x.kind == op_kind::wait) != (y.kind == op_kind::wait))
      return false;
    return x.where != nullptr && x.where == y.where
           && (writes(x.kind) || writes(y.kind));
  }

  static bool before(const clock& when, const step& past, std::size_t index) {
    return when[static_cast<std::size_t>(past.who)]
           >= static_cast<std::int32_t>(index);
  }

  static void join(clock& into, const clock& from) {
    for (std::size_t i = 0; i < into.size(); ++i)
      into[i] = std::max(into[i], from[i]);
  }

  // Finds the steps that could have come in another order with another effect,
  // and has that order run.
  void find_races() {
    auto n = trace_.size();
    clocks_.resize(n);
    clock none;
    none.fill(-1);
    std::array<std::ptrdiff_t, 2 * most_threads> last;
    last.fill(-1);
    for (std::size_t i = 0; i < n; ++i) {
      auto& now = trace_[i];
      auto who = static_cast<std::size_t>(now.who);
      auto pre = last[who] < 0 ? none : clocks_[std::size_t(last[who])];
      if (now.cause >= 0)
        join(pre, clocks_[std::size_t(now.cause)]);
      // What waits for its own buffer comes after that was emptied.
      if (now.who < count() && now.what.kind != op_kind::load
          && now.what.kind != op_kind::store
          && now.what.kind != op_kind::begin) {
        auto own = last[who + static_cast<std::size_t>(count())];
        if (own >= 0)
          join(pre, clocks_[std::size_t(own)]);
      }
      auto post = pre;
      // What came before a step with which this one is in a race already is
      // dealt with when that race is.
      auto hidden = pre;
      for (auto j = i; j-- > 0;) {
        auto& past = trace_[j];
        if (past.who == now.who
            || !dependent(past.who, past.what, now.who, now.what))
          continue;
        // A mutex is unlocked before it can be locked, whatever the order.
        if (past.what.kind != op_kind::unlock
            || now.what.kind != op_kind::lock) {
          if (j < stack_.size() && !before(hidden, past, j))
            want(j, i, pre);
          join(hidden, clocks_[j]);
        }
        join(post, clocks_[j]);
      }
      post[who] = static_cast<std::int32_t>(i);
      clocks_[i] = post;
      last[who] = static_cast<std::ptrdiff_t>(i);
    }
  }

  // Has the step at `i` come before that at `j`, with all that it needs and
  // that does not need the one at `j`. Any of the steps with which this can
  // begin will do.
  void want(std::size_t j, std::size_t i, const clock& pre) {
    auto& at = stack_[j];
    clock first;
    first.fill(-1);
    set beginnings = 0;
    auto begins_with = [&](std::size_t k, const clock& needs) {
      auto who = static_cast<std::size_t>(trace_[k].who);
      if (first[who] >= 0)
        return;
      first[who] = static_cast<std::int32_t>(k);
      for (std::size_t e = 0; e < first.size(); ++e)
        if (e != who && first[e] >= 0 && needs[e] >= first[e])
          return;
      beginnings |= bit(trace_[k].who);
    };
    for (auto k = j + 1; k < i; ++k)
      if (!before(clocks_[k], trace_[j], j))
        begins_with(k, clocks_[k]);
    auto needs = pre;
    for (auto k = j + 1; k < i; ++k)
      if (!before(clocks_[k], trace_[j], j)
          && dependent(trace_[k].who, trace_[k].what, trace_[i].who,
                       trace_[i].what))
        join(needs, clocks_[k]);
    begins_with(i, needs);
    beginnings &= at.enabled;
    if (beginnings == 0)
      at.wanted |= at.enabled;
    else if ((beginnings & (at.wanted | at.sleeping)) == 0)
      at.wanted |= beginnings & (~beginnings + 1);
  }

  // Prepares the next order. Returns false if there is none.
  bool advance() {
    while (!stack_.empty()) {
      auto& at = stack_.back();
      auto left = at.wanted & ~at.done & ~at.sleeping;
      if (left != 0) {
        at.chosen = std::countr_zero(left);
        at.done |= bit(at.chosen);
        return true;
      }
      stack_.pop_back();
    }
    return false;
  }

  std::string text_of_trace() const {
    static constexpr const char* names[] = {
        "begins",         "loads", "stores",  "updates",
        "emptied",        "locks", "unlocks", "passes a fence",
        "has them drain", "waits", "spins"};
    std::string out;
    for (auto& [who, what, cause] : trace_) {
      auto thread = static_cast<std::size_t>(who % count());
      auto file = std::string_view{what.line.file_name()};
      file.remove_prefix(std::min(file.size(), file.rfind('/') + 1));
      out += "  " + fibers_[thread]->name
             + (who >= count() ? "'s buffer is " : " ")
             + names[static_cast<std::size_t>(what.kind)] + " ("
             + std::string{file} + ":" + std::to_string(what.line.line())
             + ")\n";
    }
    return out;
  }

  const options how_;
  std::vector<std::unique_ptr<fiber>> fibers_;
  std::vector<std::unique_ptr<std::byte[]>> stacks_;
  std::vector<node> stack_;
  std::vector<step> trace_;
  std::vector<clock> clocks_;
  set sleeping_ = 0;
  std::size_t interruptions_ = 0;
  int current_ = -1;
  bool redundant_ = false;
  bool quiet_ = false;
  std::string failure_;
  std::function<void(int)> on_switch_;
  ucontext_t main_{};
  std::array<std::byte, 2 * sizeof(void*)> main_exceptions_{};
  const void* main_bottom_ = nullptr;
  std::size_t main_size_ = 0;
};

inline location::~location() {
  if (auto x = engine::active())
    x->forget(this);
}

/// Something that threads wait for.
struct gated : location {
  bool open = true;

  /// The steps of those who opened it for a waiter, in their order.
  std::deque<std::ptrdiff_t> openers;
};

inline bool engine::is_open(const op& what) {
  return static_cast<gated*>(what.where)->open;
}

inline std::ptrdiff_t engine::opener_of(const op& what) {
  return static_cast<gated*>(what.where)->openers.front();
}

/// Says that a check failed.
inline void fail(const std::string& what) {
  engine::active()->fail(what);
}

/// Runs what `body` sets up in every order that can make a difference.
inline result all(const options& how, const std::function<void(world&)>& body) {
  return std::make_unique<engine>(how)->explore(body);
}

inline bool stepping() {
  auto x = engine::active();
  return x != nullptr && x->in_thread();
}

// -- what is explored ---------------------------------------------------------

/// An atomic number, pointer or flag whose operations are steps.
template <class T>
class atomic : public location {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);

public:
  using here = std::source_location;
  using value_type = T;

  constexpr atomic() noexcept = default;
  constexpr atomic(T value) noexcept : value_{value} {}
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  static constexpr bool is_always_lock_free = true;

  T load(std::memory_order = std::memory_order_seq_cst,
         here line = here::current()) const noexcept {
    auto self = const_cast<atomic*>(this);
    if (!counted(line))
      return value_;
    auto& x = *engine::active();
    x.point(op_kind::load, self, line);
    x.watch(self);
    auto result = value_;
    if (auto mine = x.buffered(this))
      std::memcpy(&result, mine, sizeof(T));
    return result;
  }

  void store(T value, std::memory_order order = std::memory_order_seq_cst,
             here line = here::current()) noexcept {
    if (!counted(line)) {
      value_ = value;
      return;
    }
    auto& x = *engine::active();
    if (order == std::memory_order_seq_cst || !x.how().store_buffers) {
      x.point(op_kind::update, this, line);
      set(value);
      return;
    }
    x.point(op_kind::store, nullptr, line);
    x.buffer(this, &value_, &value, sizeof(T), line);
  }

  T exchange(T value, std::memory_order = std::memory_order_seq_cst,
             here line = here::current()) noexcept {
    return update(line, [&](T) { return value; });
  }

  bool compare_exchange_strong(T& expected, T desired,
                               std::memory_order = std::memory_order_seq_cst,
                               here line = here::current()) noexcept {
    auto wanted = expected;
    expected =
        update(line, [&](T old) { return old == wanted ? desired : old; });
    return expected == wanted;
  }

  bool compare_exchange_strong(T& expected, T desired, std::memory_order order,
                               std::memory_order,
                               here line = here::current()) noexcept {
    return compare_exchange_strong(expected, desired, order, line);
  }

  bool
  compare_exchange_weak(T& expected, T desired,
                        std::memory_order order = std::memory_order_seq_cst,
                        here line = here::current()) noexcept {
    return compare_exchange_strong(expected, desired, order, line);
  }

  bool compare_exchange_weak(T& expected, T desired, std::memory_order order,
                             std::memory_order,
                             here line = here::current()) noexcept {
    return compare_exchange_strong(expected, desired, order, line);
  }

  T fetch_add(T by, std::memory_order = std::memory_order_seq_cst,
              here line = here::current()) noexcept {
    return update(line, [&](T old) { return static_cast<T>(old + by); });
  }

  T fetch_sub(T by, std::memory_order = std::memory_order_seq_cst,
              here line = here::current()) noexcept {
    return update(line, [&](T old) { return static_cast<T>(old - by); });
  }

  T fetch_or(T by, std::memory_order = std::memory_order_seq_cst,
             here line = here::current()) noexcept {
    return update(line, [&](T old) { return static_cast<T>(old | by); });
  }

  T fetch_and(T by, std::memory_order = std::memory_order_seq_cst,
              here line = here::current()) noexcept {
    return update(line, [&](T old) { return static_cast<T>(old & by); });
  }

  operator T() const noexcept { return load(); }

  T operator=(T value) noexcept {
    store(value);
    return value;
  }

  T operator++() noexcept { return static_cast<T>(fetch_add(1) + 1); }

private:
  // References are counted everywhere, and a step each would be most of all
  // steps; the checks hold a reference of their own, so none is the last one.
  static bool counted(const here& line) {
    return stepping()
           && !std::string_view{line.file_name()}.ends_with("ref_counted.hpp");
  }

  void set(T value) {
    if (value == value_)
      return;
    value_ = value;
    engine::active()->changed(this);
  }

  template <class F>
  T update(const here& line, F next) {
    if (!counted(line))
      return std::exchange(value_, next(value_));
    auto& x = *engine::active();
    x.point(op_kind::update, this, line);
    x.watch(this);
    auto old = value_;
    set(next(old));
    if (old != value_)
      x.watch(this);
    return old;
  }

  T value_{};
};

/// A mutex whose operations are steps.
class mutex : public gated {
public:
  using here = std::source_location;

  void lock(here line = here::current()) {
    if (stepping())
      engine::active()->point(op_kind::lock, this, line);
    open = false;
  }

  bool try_lock(here line = here::current()) {
    if (stepping())
      engine::active()->point(op_kind::update, this, line);
    return std::exchange(open, false);
  }

  void unlock(here line = here::current()) {
    if (stepping())
      engine::active()->point(op_kind::unlock, this, line);
    open = true;
  }
};

/// Holds one thread up until another one has called it.
class signal : public gated {
public:
  using here = std::source_location;

  signal() { open = false; }

  void wait(here line = here::current()) {
    engine::active()->point(op_kind::wait, this, line);
    openers.pop_front();
    open = !openers.empty();
  }

  void call(here line = here::current()) {
    if (stepping())
      engine::active()->point(op_kind::update, this, line);
    openers.push_back(engine::active()->last_step());
    open = true;
  }
};

inline void spin(std::source_location line = std::source_location::current()) {
  if (stepping())
    engine::active()->spin(line);
}

inline void fence(std::source_location line = std::source_location::current()) {
  if (stepping())
    engine::active()->point(op_kind::fence, nullptr, line);
}

inline std::chrono::steady_clock::time_point now() {
  auto x = engine::active();
  return x ? x->now() : std::chrono::steady_clock::now();
}

} // namespace explore
