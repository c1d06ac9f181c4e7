// The actor that owns a pool: it starts and retires workers, keeps the timers,
// answers messages, tells subscribers what is complete, and shuts down.
// Requests themselves do not pass through its mailbox but through the
// dispatcher that it shares with submitters and workers. Never runs, moves or
// destroys user code.

#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include <caf/all.hpp>

#include "troupe/auto_sizer.hpp"
#include "troupe/dispatcher.hpp"
#include "troupe/messages.hpp"
#include "troupe/timer.hpp"
#include "troupe/worker.hpp"

namespace troupe {

/// An operation that asks a pool to shut down.
class shutdown_state final : public plain_op {
public:
  shutdown_state(ref_ptr<dispatcher> home, caf::timespan timeout)
      : home_{std::move(home)}, timeout_{timeout} {}

  void* result() override { return &receipt_; }

  failure_ptr refusal_to_wait() const override;

  void fulfil(receipt what) noexcept {
    receipt_ = std::move(what);
    finish();
  }

  void fail(failure_ptr why) noexcept { finish_with(std::move(why)); }

protected:
  void begin() override;

  // A shutdown cannot be taken back; whoever asked for it learns how it ended.
  void stop(ec) noexcept override {}

private:
  ref_ptr<dispatcher> home_;
  caf::timespan timeout_;
  receipt receipt_;
};

/// What the dispatcher calls for, turned into messages to the coordinator and
/// its workers.
class pool_staff final : public staff {
public:
  void bind(const caf::actor& coordinator);

  void wake(worker_cell& cell) noexcept override;

  void grow() noexcept override;

  void watch() noexcept override;

  void drained() noexcept override;

  void emptied() noexcept override { drained(); }

  void completed(completion what) noexcept override;

  void call_after(std::chrono::nanoseconds span,
                  std::function<void()> wake) noexcept override;

  void call_at(clock& time, clock::time_point when,
               std::function<void()> wake) noexcept override;

  /// Has `waiting` answered when the pool has shut down; at once if it has.
  void ask_shutdown(const ref_ptr<shutdown_state>& waiting,
                    caf::timespan timeout);

  /// Answers all who asked for the shutdown, now and later.
  void end(const receipt& what);

  /// Tells them, now and later, that the pool ended without one.
  void fail(const failure_ptr& why);

private:
  // How the pool ended: with a receipt, or without and why.
  struct ending {
    receipt what;
    failure_ptr why;

    void tell(shutdown_state& waiting) const;
  };

  caf::actor coordinator() const;
  void settle(const ending& how);

  caf::actor_addr address_;
  std::mutex mutex_;
  std::vector<ref_ptr<shutdown_state>> waiting_;
  std::optional<ending> ending_;
};

/// Returns why the pool cannot have so many workers, or null.
failure_ptr refusal_to_resize(const dispatcher& home, std::size_t workers);

class coordinator : public caf::event_based_actor {
public:
  coordinator(caf::actor_config& cfg, ref_ptr<dispatcher> home,
              pool_staff* crew);

  caf::behavior make_behavior() override;

  const char* name() const override { return "troupe.coordinator"; }

  void on_exit() override;

private:
  template <class Atom>
  void call_at(clock::time_point when, Atom what);

  void start_workers();
  void submit(batch* work, const caf::response_promise& promise);
  void watch_idle(clock::time_point when);
  void guard();
  void size_up();
  void begin_drain(caf::timespan timeout);
  void expire_drain();
  void end_drain();
  void maybe_end();
  void finish(const receipt& what);
  void leave_after(std::chrono::nanoseconds pause);
  void leave_if_only_stuck();
  void run_aside(std::function<void()> what);

  void run_errand(const std::string& pool, std::function<void()> what);

  void let_go();

  ref_ptr<dispatcher> home_;
  pool_staff* crew_;
  // Outlives the pool's last handle until nothing is outstanding; let go of at
  // exit.
  caf::strong_actor_ptr self_;
  std::map<caf::actor_addr, caf::actor> subscribers_;
  std::vector<caf::response_promise> drain_promises_;
  // Senders of submitted batches that wait for the completion.
  std::map<std::uint64_t, caf::response_promise> replies_;
  std::uint64_t last_reply_ = 0;
  int last_worker_ = 0;
  // Of a pool that sizes itself, since it first had enough to do.
  std::optional<auto_sizer> sizer_;
  bool watching_idle_ = false;
  bool released_ = false;
  bool draining_ = false;
  bool closing_ = false;
  bool ended_ = false;
  // Whether it is looked now and then if only stuck requests are left; whether
  // these have been asked to stop.
  bool leaving_ = false;
  std::vector<timer_id> timers_;
  bool asked_to_stop_ = false;
  pool_stats at_drain_;
  // What the pool ended with, for those who ask while stuck workers keep it.
  receipt last_;
};

} // namespace troupe
