// The part of the dispatcher that lets single calls come in bursts while the
// workers are busy with tiny ones, and sees to it that none waits in a burst
// for longer than behind tiny ones.

#include <algorithm>

#include "troupe/burst.hpp"
#include "troupe/dispatcher.hpp"
#include "troupe/trace.hpp"

namespace troupe {

namespace {

// Sanitizers make everything slower, but shall see bursts, too.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr auto slower = 50;
#else
constexpr auto slower = 1;
#endif

// Calls that take less are tiny: of a worker's time, a good part goes into what
// a submission costs.
constexpr auto tiny_time = slower * std::chrono::nanoseconds{1500};

// Calls come in bursts if so many of the latest were tiny, more or less: one
// that is not, or a worker that lost its processor for a while, is no reason to
// stop.
constexpr unsigned enough_tiny = 4;
constexpr unsigned most_tiny = 8;

// How long a burst may take, or wait to be taken up, before idle workers are to
// help. Ten times what a full one takes of tiny calls, and so seldom that a
// look at the queue does not count.
constexpr auto late_time = std::chrono::microseconds{500};

// Beside idle workers, calls come in bursts only if another one has taken
// something up in this time: it will be back sooner than they would be awake.
constexpr auto soon = slower * std::chrono::microseconds{20};

// A burst of so many calls costs each of them next to nothing.
constexpr std::uint32_t enough_calls = burst_page::capacity / 2;

std::uint32_t calls_of(const batch& work) noexcept {
  return static_cast<const burst&>(work).calls();
}

} // namespace

// -- the submitter's side -----------------------------------------------------

void dispatcher::open_burst(burst_page& page) {
  auto made = make_ref<burst>(ref_ptr<burst_page>{&page});
  made->set_home(ref_ptr<dispatcher>{this});
  trash garbage;
  wake_list to_wake;
  auto grow = false;
  auto watch = false;
  {
    lock guard{mutex_};
    // Those that have enough calls need not be looked at by those who add. If
    // nobody has come for others that were closed so, there is enough to do for
    // more workers; for the first, somebody is about to come.
    auto behind = somebody_waits();
    while (open_bursts_.first && calls_of(*open_bursts_.first) >= enough_calls)
      close_first_burst();
    if (behind)
      serve_idle(to_wake, garbage);
    if (may_take_calls(made->submitted_at())) {
      made->open();
      // Each of its calls counts as a batch that was admitted; this one now.
      admitted_.store(admitted_.load(std::memory_order_relaxed) + 1,
                      std::memory_order_seq_cst);
      made->phase_.store(batch::phase::admitted, std::memory_order_relaxed);
      open_bursts_.push_back(*made.release());
      watch = begin_watch();
      if (wants_growth() && !growth_asked_)
        grow = growth_asked_ = true;
    }
  }
  wake_all(to_wake);
  if (grow)
    staff_->grow();
  if (watch)
    watch_bursts();
  if (!made)
    return;
  made->close();
  made->start();
}

// -- under the lock -----------------------------------------------------------

// Whether calls may come in bursts: there is nobody who has to be told of each,
// or could come for it at once, and somebody who will look at them soon.
bool dispatcher::may_take_calls(
    std::chrono::steady_clock::time_point now) const noexcept {
  if (tiny_score_ < enough_tiny || live_workers() < capacity() || stuck_ > 0
      || closed_ || admission_closed_ || crowded()
      || subscribed_.load(std::memory_order_relaxed)
      || watched_.load(std::memory_order_relaxed) || trace::active())
    return false;
  // Workers in larger batches can be called away for each call.
  std::uint32_t callable = 0;
  for (auto& of : classes_)
    callable += of.callable;
  if (callable > in_shared_bursts_)
    return false;
  return !idle_ || waking_ > 0
         || (last_taker_ && last_taker_->current_.load() != nullptr
             && now - last_taker_->hand_.since < soon);
}

// Says whether calls may come in bursts from now on. `now`: when the caller
// last looked at the clock.
void dispatcher::look_at_bursts(
    std::chrono::steady_clock::time_point now) noexcept {
  auto yes = may_take_calls(now);
  if (!yes)
    close_bursts();
  if (yes != takes_calls())
    takes_calls_.store(yes, std::memory_order_relaxed);
}

// As above, on behalf of somebody who is no worker.
void dispatcher::look_at_bursts() noexcept {
  look_at_bursts(std::chrono::steady_clock::now());
}

// Closes the open ones: they wait from now on. Returns whether there were any.
bool dispatcher::close_bursts() noexcept {
  auto found = open_bursts_.first != nullptr;
  while (open_bursts_.first)
    close_first_burst();
  return found;
}

void dispatcher::close_first_burst() noexcept {
  auto& work = static_cast<burst&>(*open_bursts_.first);
  open_bursts_.remove(work);
  work.close();
  // One was counted when it was opened.
  admitted_.store(admitted_.load(std::memory_order_relaxed) + work.size() - 1,
                  std::memory_order_seq_cst);
  submissions_ += work.size();
  arrived_ += work.size();
  // With the reference that the other list had.
  work.place_ = batch::place::waiting;
  class_of(work).waiting.push_back(work);
  enqueue(work);
  if (!idle_)
    call_workers(1);
}

// Learns how long a single call took.
void dispatcher::learn_size(std::chrono::nanoseconds each) noexcept {
  // Where each may be refused, each is looked at; and where time is not what
  // the clock says, nobody would look for late ones.
  if (options_.on_full == on_full::reject || cooperative() || options_.clock)
    return;
  if (each > tiny_time)
    tiny_score_ -= tiny_score_ > 0;
  else
    tiny_score_ += tiny_score_ < most_tiny;
}

// Has other workers take some of a burst that one of them runs, the next idle
// one at once.
void dispatcher::share_burst(batch& work, wake_list& to_wake) {
  work.is_private_.store(false, std::memory_order_relaxed);
  if (work.can_be_left()) {
    class_of(work).callable += work.participants_;
    in_shared_bursts_ += work.participants_;
  }
  if (!work.has_unclaimed())
    return;
  if (work.place_ == batch::place::nowhere)
    relist(work);
  if (!idle_ || work.place_ != batch::place::running)
    return;
  auto other = idle_;
  remove_idle(*other);
  if (give(*other, work, clock_.now()))
    to_wake.push_back(other);
}

// Returns how many calls are in bursts that are still open.
std::size_t dispatcher::open_calls() const noexcept {
  std::size_t result = 0;
  for (auto x = open_bursts_.first; x != nullptr; x = x->next_)
    result += calls_of(*x);
  return result;
}

void dispatcher::count_dropped_call(ec why) noexcept {
  auto& of = counts_[label_book::none];
  auto& n = why == ec::worker_lost ? of.failed : of.cancelled;
  n.fetch_add(1, std::memory_order_release);
  calls_dropped_.fetch_add(1, std::memory_order_release);
}

// Tells of a batch that is complete; of a burst, as of so many batches of one.
void dispatcher::tell_subscribers(batch& work) noexcept {
  if (!work.is_burst_) {
    staff_->completed(work.summary());
    return;
  }
  auto all = work.counts();
  auto tell = [&](std::uint64_t n, std::uint64_t completion::*what) {
    for (; n > 0; --n) {
      completion one;
      one.id = batch::new_id();
      one.requests = one.*what = 1;
      one.elapsed = work.elapsed_;
      staff_->completed(std::move(one));
    }
  };
  tell(all.succeeded, &completion::succeeded);
  tell(all.failed, &completion::failed);
  tell(all.cancelled, &completion::cancelled);
}

// -- late ones ----------------------------------------------------------------

// Returns whether somebody must call `watch_bursts`, since nobody has: there is
// one that may turn out to be late.
bool dispatcher::begin_watch() noexcept {
  return !std::exchange(bursts_watched_, true);
}

void dispatcher::watch_bursts() noexcept {
  // Without a reference: it is not to live on for this.
  staff_->call_after(late_time, [self = this] {
    if (auto home = find(self))
      home->help_late_bursts();
  });
}

// Gives idle workers what is in bursts for too long. Called as long as there
// are any that could be late.
void dispatcher::help_late_bursts() {
  trash garbage;
  wake_list to_wake;
  auto grow = false;
  auto again = false;
  {
    lock guard{mutex_};
    auto now = std::chrono::steady_clock::now();
    auto latest = now - late_time;
    while (open_bursts_.first && open_bursts_.first->submitted_at() < latest)
      close_first_burst();
    look_at_bursts(now);
    serve_idle(to_wake, garbage);
    for (auto& cell : cells_) {
      auto work = cell->current_.load();
      if (!work || !work->is_private() || work->size() < 2)
        continue;
      // With enough workers on their way, it has to wait for the next look.
      if (cell->hand_.since > latest || waking_ >= most_waking)
        again = true;
      else
        share_burst(*work, to_wake);
    }
    bursts_watched_ = again = again || open_bursts_.first;
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  wake_all(to_wake);
  if (grow)
    staff_->grow();
  if (again)
    watch_bursts();
}

} // namespace troupe
