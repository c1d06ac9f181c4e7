#include "troupe/coordinator.hpp"

#include <algorithm>

#include "troupe/defaults.hpp"
#include "troupe/timer.hpp"

namespace troupe {

namespace {

// The shortest time between two looks at the idle workers. A guess.
constexpr auto shortest_watch = std::chrono::milliseconds{10};

/// Tells the coordinator that a batch submitted by message is complete.
class report_complete final : public continuation {
public:
  report_complete(caf::actor_addr coordinator, std::uint64_t key)
      : coordinator_{std::move(coordinator)}, key_{key} {}

  void on_complete(op_state& op) noexcept override {
    std::unique_ptr<report_complete> owned{this};
    if (auto to = caf::actor_cast<caf::actor>(coordinator_))
      compat::tell(to, done_atom_v, key_, op.as_batch()->summary());
  }

private:
  caf::actor_addr coordinator_;
  std::uint64_t key_;
};

} // namespace

// -- shutdown_state -----------------------------------------------------------

void shutdown_state::begin() {
  static_cast<pool_staff&>(home_->crew())
      .ask_shutdown(ref_ptr<shutdown_state>{this}, timeout_);
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

void pool_staff::drained() noexcept {
  if (auto to = coordinator())
    compat::tell(to, done_atom_v);
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
  std::optional<receipt> last;
  {
    std::lock_guard guard{mutex_};
    if (last_)
      last = last_;
    else
      waiting_.push_back(waiting);
  }
  if (last)
    waiting->fulfil(std::move(*last));
  else if (auto to = coordinator())
    compat::tell(to, drain_atom_v, timeout);
}

void pool_staff::end(const receipt& what) {
  std::vector<ref_ptr<shutdown_state>> waiting;
  {
    std::lock_guard guard{mutex_};
    if (!last_)
      last_ = what;
    waiting.swap(waiting_);
  }
  for (auto& x : waiting)
    x->fulfil(what);
}

// -- coordinator --------------------------------------------------------------

coordinator::coordinator(caf::actor_config& cfg, ref_ptr<dispatcher> home,
                         pool_staff* crew)
    : caf::event_based_actor(cfg), home_{std::move(home)}, crew_{crew} {
  // Not later: the last handle may go before the actor's thread has begun.
  self_ = caf::strong_actor_ptr{ctrl()};
}

caf::behavior coordinator::make_behavior() {
  start_workers();
  return {
      // -- from the dispatcher and the pool's handle
      [this](grow_atom) { start_workers(); },
      [this](done_atom) { maybe_end(); },
      [this](tick_atom) {
        watching_idle_ = false;
        watch_idle(home_->retire_idle(home_->time().now()));
      },
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
        if (workers < 1 || workers > defaults::workers_limit)
          return to_error(make_failure(
              ec::invalid_option,
              "cannot resize the pool '" + home_->name() + "' to "
                  + std::to_string(workers) + " workers (accepted: 1 to "
                  + std::to_string(defaults::workers_limit) + ")"));
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
        auto promise = make_response_promise();
        drain_promises_.push_back(promise);
        begin_drain(timeout);
        return promise;
      },
  };
}

void coordinator::on_exit() {
  self_ = nullptr;
  // Ended from outside: whoever waits must be told all the same.
  if (!ended_) {
    ended_ = true;
    home_->close();
    run_aside([home = home_] { home->cancel_all(ec::pool_stopped); });
    crew_->end({});
  }
  auto why = to_error(make_failure(
      ec::pool_stopped, "the pool '" + home_->name() + "' has ended"));
  for (auto& promise : drain_promises_)
    promise.deliver(why);
  for (auto& [key, promise] : replies_)
    promise.deliver(why);
  drain_promises_.clear();
  replies_.clear();
  subscribers_.clear();
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
    auto started = home_->cooperative()
                       ? spawn<worker>(home_, cell)
                       : spawn<worker, caf::detached>(home_, cell);
    cell->address = started.address();
    compat::tell(started, wake_atom_v);
  }
  auto options = home_->options();
  if (more > 0 && home_->live_workers() > options.min_workers)
    watch_idle(home_->time().now() + options.idle_timeout);
}

void coordinator::watch_idle(clock::time_point when) {
  if (watching_idle_ || ended_ || when == clock::time_point::max())
    return;
  watching_idle_ = true;
  // While workers are busy there may be nothing to retire for long; a short
  // idle timeout must not make this actor busy, too.
  call_at(std::max(when, home_->time().now() + shortest_watch), tick_atom_v);
}

// Sends a message to this actor, without keeping it alive until then.
template <class Atom>
void coordinator::call_at(clock::time_point when, Atom what) {
  auto me = address();
  auto wake = [me, what] {
    if (auto to = caf::actor_cast<caf::actor>(me))
      compat::tell(to, what);
  };
  start_timer(home_->time(), when, wake);
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
  auto report = std::make_unique<report_complete>(address(), key);
  if (work->attach(*report))
    static_cast<void>(report.release());
  // To refuse a batch means to destroy the user's function.
  if (home_->accepts())
    work->start();
  else
    run_aside([keep = ref_ptr<batch>{work}] { keep->start(); });
}

void coordinator::run_aside(std::function<void()> what) {
  system().spawn<caf::detached>(
      [what = std::move(what)](caf::event_based_actor*) { what(); });
}

// -- the end ------------------------------------------------------------------

void coordinator::maybe_end() {
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
  at_drain_ = home_->stats();
  home_->close_admission();
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
  run_aside([home = home_, me] {
    home->cancel_all(ec::pool_stopped);
    if (auto to = caf::actor_cast<caf::actor>(me))
      compat::tell(to, drain_atom_v);
  });
}

void coordinator::end_drain() {
  if (ended_)
    return;
  receipt what;
  auto now = home_->stats();
  auto late = now.late - at_drain_.late;
  what.drained = now.succeeded - at_drain_.succeeded + now.failed
                 - at_drain_.failed + late;
  what.cancelled = now.cancelled - at_drain_.cancelled + now.expired
                   - at_drain_.expired - late;
  // Where nothing is outstanding, workers may still be on their way back.
  if (!closing_)
    home_->add_unfinished(what);
  finish(what);
}

void coordinator::finish(const receipt& what) {
  ended_ = true;
  home_->close();
  for (auto& promise : drain_promises_)
    promise.deliver(what);
  drain_promises_.clear();
  crew_->end(what);
  quit();
}

} // namespace troupe
