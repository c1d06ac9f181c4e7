#include "troupe/coordinator.hpp"

#include <pthread.h>

#include <algorithm>
#include <cstdlib>

#include <caf/actor_registry.hpp>

#include <fmt/format.h>

#include "troupe/defaults.hpp"
#include "troupe/log.hpp"
#include "troupe/readable.hpp"
#include "troupe/timer.hpp"
#include "troupe/unobserved.hpp"

namespace troupe {

namespace {

// The shortest time between two looks at the idle workers. A guess.
constexpr auto shortest_watch = std::chrono::milliseconds{10};

// How often a pool with `on-stuck = quick-exit` looks if nothing else is left.
// A guess.
constexpr auto leave_pause = std::chrono::milliseconds{100};

// How many actors of a system are coordinators that would leave the process,
// and their workers.
class leaving_census {
public:
  static leaving_census& instance() {
    static leaving_census result;
    return result;
  }

  /// Counts `actors` for `who`, and returns the sum for its system.
  std::size_t count(const caf::actor_system& system, caf::actor_id who,
                    std::size_t actors) {
    std::lock_guard guard{mutex_};
    auto& all = systems_[&system];
    all[who] = actors;
    std::size_t sum = 0;
    for (auto& entry : all)
      sum += entry.second;
    return sum;
  }

  void forget(const caf::actor_system& system, caf::actor_id who) {
    std::lock_guard guard{mutex_};
    auto found = systems_.find(&system);
    if (found == systems_.end())
      return;
    found->second.erase(who);
    if (found->second.empty())
      systems_.erase(found);
  }

private:
  std::mutex mutex_;
  std::map<const caf::actor_system*, std::map<caf::actor_id, std::size_t>>
      systems_;
};

// Names the thread that this runs on after the pool: at most 15 characters, of
// which the end tells more. Otherwise it would have the name of its creator.
void name_thread(const std::string& pool, std::string_view what) {
  auto text = pool.substr(0, 15 - what.size()) + std::string{what};
  pthread_setname_np(pthread_self(), text.c_str());
}

/// An actor that does one thing, and ends.
class errand : public caf::event_based_actor {
public:
  errand(caf::actor_config& cfg, std::function<void()> what)
      : caf::event_based_actor(cfg), what_{std::move(what)} {
    // Not later: nobody else holds on to it when its thread is refused.
    self_ = caf::strong_actor_ptr{ctrl()};
  }

  caf::behavior make_behavior() override {
    what_();
    what_ = nullptr;
    return {};
  }

  void on_exit() override { self_ = nullptr; }

private:
  std::function<void()> what_;
  caf::strong_actor_ptr self_;
};

/// Tells the coordinator that a batch submitted by message is complete.
class report_complete final : public continuation {
public:
  // `heard` says whether somebody waits for the completion.
  report_complete(caf::actor_addr coordinator, std::uint64_t key, bool heard)
      : coordinator_{std::move(coordinator)}, key_{key}, heard_{heard} {}

  void on_complete(op_state& op) noexcept override {
    std::unique_ptr<report_complete> owned{this};
    if (!heard_)
      report_unobserved(op);
    if (auto to = caf::actor_cast<caf::actor>(coordinator_))
      compat::tell(to, done_atom_v, key_, op.as_batch()->summary());
  }

private:
  caf::actor_addr coordinator_;
  std::uint64_t key_;
  bool heard_;
};

// Of those that compute, more than cores would be in each other's way.
std::size_t most_workers_of(const dispatcher& home) {
  return home.cooperative() ? home.made_with().workers
                            : std::size_t{defaults::workers_limit};
}

} // namespace

failure_ptr refusal_to_resize(const dispatcher& home, std::size_t workers) {
  if (workers == automatic && !home.made_with().may_size_itself)
    return make_failure(
        ec::invalid_option,
        fmt::format("the pool '{}' does not size itself: its requests compute, "
                    "and as many workers as cores are right for that "
                    "(accepted: 1 to {})",
                    home.name(), most_workers_of(home)));
  // Who makes a pool with none gives it some when they are of use.
  std::size_t least = home.made_with().workers == 0 ? 0 : 1;
  auto most = most_workers_of(home);
  if (workers == automatic || (workers >= least && workers <= most))
    return nullptr;
  return make_failure(
      ec::invalid_option,
      fmt::format("cannot resize the pool '{}' to {} workers (accepted: {} to "
                  "{}{})",
                  home.name(), workers, least, most,
                  home.made_with().may_size_itself ? ", or troupe::automatic"
                                                   : ""));
}

// -- shutdown_state -----------------------------------------------------------

void shutdown_state::begin() {
  static_cast<pool_staff&>(home_->crew())
      .ask_shutdown(ref_ptr<shutdown_state>{this}, timeout_);
}

failure_ptr shutdown_state::refusal_to_wait() const {
  auto cell = worker_cell::current();
  if (cell == nullptr || &cell->home() != home_.get())
    return nullptr;
  return make_failure(
      ec::would_deadlock,
      fmt::format("cannot wait for the shutdown of the pool '{}' on its own "
                  "worker {}: it would wait for the request that asks; start() "
                  "it, or wait for it outside of the pool",
                  home_->name(), cell->name()));
}

// -- pool_staff ---------------------------------------------------------------

void pool_staff::bind(const caf::actor& coordinator) {
  address_ = coordinator.address();
}

caf::actor pool_staff::coordinator() const {
  return caf::actor_cast<caf::actor>(address_);
}

void pool_staff::wake(worker_cell& cell) noexcept {
  auto& address = static_cast<actor_cell&>(cell).address;
  if (auto worker = caf::actor_cast<caf::actor>(address))
    compat::tell(worker, wake_atom_v);
}

void pool_staff::grow() noexcept {
  if (auto to = coordinator())
    compat::tell(to, grow_atom_v);
}

void pool_staff::watch() noexcept {
  if (auto to = coordinator())
    compat::tell(to, guard_atom_v);
}

void pool_staff::drained() noexcept {
  if (auto to = coordinator())
    compat::tell(to, done_atom_v);
}

void pool_staff::call_after(std::chrono::nanoseconds span,
                            std::function<void()> wake) noexcept {
  auto& time = steady_clock();
  start_timer(time, time.now() + span, std::move(wake));
}

void pool_staff::call_at(clock& time, clock::time_point when,
                         std::function<void()> wake) noexcept {
  start_timer(time, when, std::move(wake));
}

void pool_staff::completed(completion what) noexcept {
  if (auto to = coordinator())
    compat::tell(to, done_atom_v, std::move(what));
}

void pool_staff::ask_shutdown(const ref_ptr<shutdown_state>& waiting,
                              caf::timespan timeout) {
  std::optional<ending> last;
  {
    std::lock_guard guard{mutex_};
    if (ending_)
      last = ending_;
    else
      waiting_.push_back(waiting);
  }
  if (last)
    last->tell(*waiting);
  else if (auto to = coordinator())
    compat::tell(to, drain_atom_v, timeout);
}

void pool_staff::end(const receipt& what) {
  settle({what, nullptr});
}

void pool_staff::fail(const failure_ptr& why) {
  settle({{}, why});
}

void pool_staff::settle(const ending& how) {
  std::vector<ref_ptr<shutdown_state>> waiting;
  {
    std::lock_guard guard{mutex_};
    if (!ending_)
      ending_ = how;
    waiting.swap(waiting_);
  }
  for (auto& x : waiting)
    how.tell(*x);
}

void pool_staff::ending::tell(shutdown_state& waiting) const {
  if (why)
    waiting.fail(why);
  else
    waiting.fulfil(what);
}

// -- coordinator --------------------------------------------------------------

coordinator::coordinator(caf::actor_config& cfg, ref_ptr<dispatcher> home,
                         pool_staff* crew)
    : caf::event_based_actor(cfg), home_{std::move(home)}, crew_{crew} {
  // Not later: the last handle may go before the actor's thread has begun.
  self_ = caf::strong_actor_ptr{ctrl()};
  set_unobserved_timer([](clock::time_point when, std::function<void()> wake) {
    start_timer(steady_clock(), when, std::move(wake));
  });
}

caf::behavior coordinator::make_behavior() {
  name_thread(home_->name(), "-coord");
  start_workers();
  return {
      // -- from the dispatcher and the pool's handle
      [this](grow_atom) { start_workers(); },
      [this](done_atom) { maybe_end(); },
      [this](tick_atom) {
        watching_idle_ = false;
        watch_idle(home_->retire_idle(home_->time().now()));
      },
      [this](guard_atom) { guard(); },
      [this](resize_atom) { size_up(); },
      [this](leave_atom) { leave_if_only_stuck(); },
      [this](done_atom, const completion& what) {
        for (auto& [address, to] : subscribers_)
          compat::tell(to, what);
      },
      [this](done_atom, std::uint64_t key, const completion& what) {
        if (auto i = replies_.find(key); i != replies_.end()) {
          i->second.deliver(what);
          replies_.erase(i);
          maybe_end();
        }
      },
      [this](expire_atom) { expire_drain(); },
      [this](drain_atom) { end_drain(); },
      [this](retire_atom) {
        released_ = true;
        home_->watch_outstanding(true);
        maybe_end();
        if (!closing_)
          leave_after(home_->made_with().drain_timeout);
      },
      [this](retire_atom, const caf::actor_addr& gone) {
        subscribers_.erase(gone);
        home_->subscribe(!subscribers_.empty());
      },
      // -- from users
      [this](submit_atom, const batch_ref& work) -> caf::result<completion> {
        auto promise = make_response_promise();
        if (!work) {
          promise.deliver(to_error(make_failure(
              ec::invalid_option, "cannot submit an empty batch; make one with "
                                  "make_batch, in the same process")));
          return promise;
        }
        submit(work.get(), promise);
        return promise;
      },
      [this](stats_atom) -> caf::result<pool_stats> { return home_->stats(); },
      [this](resize_atom, std::uint64_t workers) -> caf::result<void> {
        if (auto why = refusal_to_resize(*home_, workers))
          return to_error(why);
        home_->resize(workers);
        return caf::unit;
      },
      [this](subscribe_atom, const caf::actor& who) -> caf::result<void> {
        if (!who)
          return to_error(make_failure(ec::invalid_option,
                                       "cannot subscribe to the pool '"
                                           + home_->name()
                                           + "' without a valid actor"));
        subscribers_.emplace(who.address(), who);
        home_->subscribe(true);
        auto me = address();
        auto gone = who.address();
        who->attach_functor([me, gone](const caf::error&) {
          if (auto to = caf::actor_cast<caf::actor>(me))
            compat::tell(to, retire_atom_v, gone);
        });
        return caf::unit;
      },
      [this](drain_atom, caf::timespan timeout) -> caf::result<receipt> {
        if (ended_)
          return last_;
        auto promise = make_response_promise();
        drain_promises_.push_back(promise);
        begin_drain(timeout);
        return promise;
      },
  };
}

void coordinator::on_exit() {
  self_ = nullptr;
  // Even a weak reference keeps the memory of an actor.
  for (const auto& timer : timers_)
    stop_timer(timer);
  timers_.clear();
  leaving_census::instance().forget(system(), id());
  auto why = make_failure(
      ec::pool_stopped, fmt::format("the pool '{}' has ended", home_->name()));
  // Ended from outside: whoever waits must be told all the same.
  if (!ended_) {
    ended_ = true;
    home_->close();
    run_aside([home = home_] { home->cancel_all(ec::pool_stopped); });
    crew_->fail(why);
    // Who lets go of the pool in good order ends it otherwise.
    write_log(log_level::error, home_->name(),
              "its coordinator has ended; the pool takes no more requests");
  }
  for (auto& promise : drain_promises_)
    promise.deliver(to_error(why));
  for (auto& [key, promise] : replies_)
    promise.deliver(to_error(why));
  drain_promises_.clear();
  replies_.clear();
  subscribers_.clear();
  tell_spared_failures(home_->name());
  let_go();
}

// The last reference to the dispatcher destroys what the user has put into the
// options, which is not for this thread.
void coordinator::let_go() {
  const auto& options = home_->made_with();
  if (!options.on_worker_start && !options.on_worker_stop && !options.resource
      && !options.procedures)
    return;
  // Shared, since this thread has copies of the errand; and moved before it
  // begins, so that it cannot be over first.
  auto pool = home_->name();
  auto held = std::make_shared<ref_ptr<dispatcher>>(std::move(home_));
  run_errand(pool, [held] { *held = nullptr; });
}

// -- workers ------------------------------------------------------------------

void coordinator::start_workers() {
  auto more = home_->take_growth();
  for (std::size_t i = 0; i < more; ++i) {
    auto cell = static_cast<actor_cell*>(home_->reuse());
    if (cell == nullptr) {
      auto made = std::make_unique<actor_cell>(*home_, ++last_worker_);
      cell = made.get();
      home_->add(std::move(made));
    }
    caf::actor started;
    if (home_->cooperative()) {
      started = spawn<worker>(home_, cell);
    } else {
      try {
        started = compat::spawn_thread<worker>(
            system(), fmt::format("worker {}", cell->name()), home_, cell);
      } catch (const failure& err) {
        more -= i;
        if (home_->cancel_growth(more))
          write_log(log_level::warning, home_->name(),
                    fmt::format("{}; the pool runs with {} of {} workers for "
                                "now and will try again",
                                err.what(), home_->live_workers(),
                                home_->live_workers() + more));
        break;
      }
    }
    cell->address = started.address();
    compat::tell(started, wake_atom_v);
  }
  // By reference: a copy would copy and destroy the user's hooks, here.
  const auto& options = home_->made_with();
  if (more > 0 && home_->live_workers() > options.min_workers)
    watch_idle(home_->time().now() + options.idle_timeout);
  if (home_->begin_sizing())
    call_at(home_->time().now() + auto_sizer::interval, resize_atom_v);
}

// Looks at the load of a pool that sizes itself, and again as long as something
// waits.
void coordinator::size_up() {
  auto sizes = home_->sizes();
  // Somebody else has changed it meanwhile.
  if (!sizer_ || sizer_->size() != sizes.first)
    sizer_.emplace(sizes);
  auto seen = home_->observe_load();
  if (!seen) {
    sizer_->pause();
    home_->adapt(sizer_->size());
    return;
  }
  home_->adapt(sizer_->next(*seen));
  call_at(home_->time().now() + auto_sizer::interval, resize_atom_v);
}

void coordinator::watch_idle(clock::time_point when) {
  if (watching_idle_ || ended_ || when == clock::time_point::max())
    return;
  watching_idle_ = true;
  // While workers are busy there may be nothing to retire for long; a short
  // idle timeout must not make this actor busy, too.
  call_at(std::max(when, home_->time().now() + shortest_watch), tick_atom_v);
}

// Looks for stuck requests, and again as long as workers are busy.
void coordinator::guard() {
  std::vector<stuck_request> alarms;
  auto again = home_->watch(alarms);
  for (const auto& alarm : alarms) {
    auto rest = alarm.exhausted
                    ? std::string{"; all workers are stuck, and new requests "
                                  "fail with pool_stuck"}
                    : fmt::format("; {} more may be before no spare is left",
                                  alarm.spares_left);
    write_log(log_level::warning, home_->name(),
              fmt::format("worker {}-{} (thread {}) is stuck: '{}' has run for "
                          "{}, longer than max-run-time = {}{}",
                          home_->name(), alarm.worker, alarm.thread,
                          alarm.label, about(alarm.running),
                          to_text(home_->made_with().max_run_time), rest));
    for (auto& [address, to] : subscribers_)
      compat::tell(to, alarm);
  }
  if (again != clock::time_point::max())
    call_at(again, guard_atom_v);
}

// Sends a message to this actor, without keeping it alive until then.
template <class Atom>
void coordinator::call_at(clock::time_point when, Atom what) {
  auto me = address();
  auto wake = [me, what] {
    if (auto to = caf::actor_cast<caf::actor>(me))
      compat::tell(to, what);
  };
  // Those that are over are forgotten here, the rest is stopped at exit.
  auto now = home_->time().now();
  std::erase_if(timers_, [now](const timer_id& x) { return x.when <= now; });
  timers_.push_back(start_timer(home_->time(), when, wake));
}

// -- batches by message -------------------------------------------------------

void coordinator::submit(batch* work, const caf::response_promise& promise) {
  if (work->home() != nullptr) {
    auto refuse = promise;
    refuse.deliver(to_error(
        make_failure(ec::already_consumed,
                     "cannot submit a batch a second time; make a new one")));
    return;
  }
  work->set_home(home_);
  auto key = ++last_reply_;
  replies_.emplace(key, promise);
  auto report = std::make_unique<report_complete>(address(), key,
                                                  current_sender() != nullptr);
  if (work->attach(*report))
    static_cast<void>(report.release());
  // To refuse a batch means to destroy the user's function.
  if (home_->accepts())
    work->start();
  else
    run_aside([keep = ref_ptr<batch>{work}] { keep->start(); });
}

// Runs what may take its time. Without a thread of its own it borrows one of
// the scheduler: late is better than never.
void coordinator::run_aside(std::function<void()> what) {
  run_errand(home_->name(), std::move(what));
}

void coordinator::run_errand(const std::string& pool,
                             std::function<void()> what) {
  try {
    compat::spawn_thread<errand>(system(), "an errand", [pool, what] {
      name_thread(pool, "-errand");
      what();
    });
  } catch (const failure&) {
    system().spawn<errand>(std::move(what));
  }
}

// -- the end ------------------------------------------------------------------

void coordinator::maybe_end() {
  if (ended_ && leaving_ && home_->live_workers() == 0) {
    quit();
    return;
  }
  // Who submitted by message hears of it by a message that is still behind.
  if (closing_ || ended_ || !replies_.empty() || !(draining_ || released_)
      || !home_->close_if_drained())
    return;
  closing_ = true;
  // By a message, so that the subscribers hear of the completions before it.
  if (auto me = caf::actor_cast<caf::actor>(address()))
    compat::tell(me, drain_atom_v);
}

void coordinator::begin_drain(caf::timespan timeout) {
  if (draining_ || ended_)
    return;
  draining_ = true;
  home_->close_admission();
  at_drain_ = home_->settled_stats();
  home_->watch_outstanding(true);
  maybe_end();
  if (!closing_)
    call_at(home_->time().now() + timeout, expire_atom_v);
}

void coordinator::expire_drain() {
  if (ended_)
    return;
  // Calls hooks and destroys functions, so it is not for this thread.
  auto me = address();
  // First, so that nothing comes behind the cancelling.
  home_->close();
  run_aside([home = home_, me] {
    home->cancel_all(ec::pool_stopped);
    if (auto to = caf::actor_cast<caf::actor>(me))
      compat::tell(to, drain_atom_v);
  });
}

void coordinator::end_drain() {
  if (ended_)
    return;
  finish(home_->write_receipt(at_drain_));
}

void coordinator::finish(const receipt& what) {
  ended_ = true;
  home_->close();
  for (auto& promise : drain_promises_)
    promise.deliver(what);
  drain_promises_.clear();
  crew_->end(what);
  last_ = what;
  if (home_->made_with().on_stuck == on_stuck::quick_exit
      && home_->live_workers() > 0)
    leave_after(leave_pause);
  else
    quit();
}

// -- when nothing is left but what does not return ----------------------------

void coordinator::leave_after(std::chrono::nanoseconds pause) {
  if (home_->made_with().on_stuck != on_stuck::quick_exit)
    return;
  leaving_ = true;
  call_at(home_->time().now() + pause, leave_atom_v);
}

void coordinator::leave_if_only_stuck() {
  if (ended_ && home_->live_workers() == 0) {
    quit();
    return;
  }
  // Whoever else is an actor of this system may still do something; and while
  // there are others, nobody can be at the end of the system.
  auto mine = std::size_t{1} + home_->live_workers();
  auto alone = leaving_census::instance().count(system(), id(), mine)
               >= system().registry().running();
  if (!alone || !home_->only_stuck_left()) {
    leave_after(leave_pause);
    return;
  }
  if (!std::exchange(asked_to_stop_, true)) {
    home_->close();
    run_aside([home = home_] { home->cancel_all(ec::pool_stopped); });
    leave_after(leave_pause);
    return;
  }
  receipt left;
  home_->add_unfinished(left);
  for (const auto& x : left.still_running)
    write_log(log_level::error, home_->name(),
              fmt::format("leaving the process: '{}' on worker {}-{} does not "
                          "return, and nothing else is left (on-stuck = "
                          "quick-exit)",
                          x.label, home_->name(), x.worker));
  tell_spared_failures(home_->name());
  std::quick_exit(EXIT_FAILURE);
}

} // namespace troupe
