#include "troupe/dispatcher.hpp"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "troupe/advisor.hpp"
#include "troupe/fetch_early.hpp"
#include "troupe/log.hpp"
#include "troupe/readable.hpp"
#include "troupe/wait_graph.hpp"

namespace troupe {

namespace {

// How often batches of a class may be passed over before one has a turn.
constexpr std::uint32_t most_passed_over = 8;

// Among how many batches one with fewer workers is looked for. A guess.
constexpr std::uint32_t most_compared = 16;

// All dispatchers of the process. Never destroyed: workers may outlive main.
struct all_dispatchers {
  std::mutex mutex;
  std::vector<dispatcher*> list;

  static all_dispatchers& get() {
    static auto instance = new all_dispatchers;
    return *instance;
  }
};

} // namespace

// -- lists --------------------------------------------------------------------

void batch_list::push_back(batch& x) noexcept {
  x.prev_ = last;
  x.next_ = nullptr;
  (last ? last->next_ : first) = &x;
  last = &x;
}

void batch_list::push_front(batch& x) noexcept {
  x.prev_ = nullptr;
  x.next_ = first;
  (first ? first->prev_ : last) = &x;
  first = &x;
}

void batch_list::remove(batch& x) noexcept {
  (x.prev_ ? x.prev_->next_ : first) = x.next_;
  (x.next_ ? x.next_->prev_ : last) = x.prev_;
  x.prev_ = x.next_ = nullptr;
}

dispatcher::service_class& dispatcher::class_of(const batch& work) noexcept {
  return classes_[static_cast<std::size_t>(work.priority_)];
}

batch_list& dispatcher::list_of(const batch& work) noexcept {
  switch (work.place_) {
  case batch::place::waiting:
    return class_of(work).waiting;
  case batch::place::left:
    return class_of(work).left;
  case batch::place::blocked:
    return work.key()->blocked;
  default:
    return class_of(work).running;
  }
}

// Puts a batch into a list, which holds a reference to it.
void dispatcher::list(batch& work, batch::place where) noexcept {
  work.ref();
  work.place_ = where;
  list_of(work).push_back(work);
}

// Takes a batch out of the list that it is in, and the reference that this
// held.
ref_ptr<batch> dispatcher::take_out(batch_list& from, batch& work) noexcept {
  from.remove(work);
  work.place_ = batch::place::nowhere;
  count_begun(work);
  return {&work, adopt_ref};
}

// It is not queued any more.
void dispatcher::count_begun(batch& work) noexcept {
  if (!std::exchange(work.counted_as_queued_, false))
    return;
  queued_ -= work.submissions();
  // Written only if it changes: all look at it all the time.
  if (queued_ <= options_.max_queued && crowded())
    crowded_.store(false, std::memory_order_relaxed);
  if (first_waiter_ && has_room(*first_waiter_))
    room_made_.store(true, std::memory_order_relaxed);
}

// The caller must hold a reference of its own: the list's may be the last one,
// and user code must not be destroyed under the lock.
void dispatcher::unlist(batch& work) noexcept {
  if (work.place_ != batch::place::nowhere)
    take_out(list_of(work), work);
}

// -- nested_part --------------------------------------------------------------

nested_part::nested_part(worker_cell& cell, batch& work) noexcept
    : cell_{cell}, work_{work}, since_{cell.home().time().now()} {
  std::lock_guard guard{cell.home().mutex_};
  outer_ = std::exchange(cell.nested_, this);
}

nested_part::~nested_part() {
  std::lock_guard guard{cell_.home().mutex_};
  cell_.nested_ = outer_;
}

// -- construction -------------------------------------------------------------

dispatcher::dispatcher(effective_options options, std::unique_ptr<staff> crew)
    : options_{std::move(options)},
      resource_{options_.resource.value_or(resource_spec{})},
      clock_{options_.clock ? *options_.clock : steady_clock()},
      staff_{std::move(crew)},
      began_{std::chrono::steady_clock::now()},
      automatic_{options_.automatic && can_size_itself()},
      max_workers_{options_.workers} {
  auto& all = all_dispatchers::get();
  std::lock_guard guard{all.mutex};
  all.list.push_back(this);
  if (options_.automatic && !can_size_itself())
    write_log(log_level::warning, name(),
              fmt::format("workers = auto: this build measures nothing "
                          "(TROUPE_STATISTICS=OFF), so the pool keeps {} "
                          "workers",
                          options_.workers));
}

dispatcher::~dispatcher() {
  if (advises_at_end()) {
    try {
      auto text = advise(stats()).text + "\n";
      std::fputs(text.c_str(), stderr);
    } catch (const std::bad_alloc&) {
      // Advice that there is no memory for is lost.
    }
  }
  op_memory::trim();
  auto& all = all_dispatchers::get();
  std::lock_guard guard{all.mutex};
  all.list.erase(std::find(all.list.begin(), all.list.end(), this));
}

ref_ptr<dispatcher> dispatcher::find(const dispatcher* which) noexcept {
  auto& all = all_dispatchers::get();
  std::lock_guard guard{all.mutex};
  auto found = std::find(all.list.begin(), all.list.end(), which);
  if (found == all.list.end() || !(*found)->try_ref())
    return nullptr;
  return {*found, adopt_ref};
}

std::vector<pool_stats> stats_of_all_pools() {
  // The last reference to one must not go under the lock.
  std::vector<ref_ptr<dispatcher>> found;
  auto& all = all_dispatchers::get();
  {
    std::lock_guard guard{all.mutex};
    for (auto one : all.list)
      if (one->try_ref())
        found.emplace_back(one, adopt_ref);
  }
  std::vector<pool_stats> result;
  for (auto& one : found)
    result.push_back(one->stats());
  return result;
}

// -- properties ---------------------------------------------------------------

effective_options dispatcher::options() const {
  auto result = options_;
  result.workers = max_workers();
  result.automatic = automatic();
  return result;
}

bool dispatcher::accepts() const {
  lock guard{mutex_};
  return !admission_closed_ && !full();
}

std::string dispatcher::start_text() const {
  return fmt::format("the pool '{}' has no worker: {}", name(), start_problem_);
}

std::string dispatcher::late_text() const {
  std::string result = "the deadline passed before a worker took it";
  if (max_workers() == 0)
    result += fmt::format("; the pool '{}' has no worker now", name());
  return result;
}

// -- the submitter's side -----------------------------------------------------

void dispatcher::submit(batch& work) {
  auto caller = worker_cell::current();
  auto nested = caller && &caller->home() == this;
  trash garbage;
  wake_list to_wake;
  auto over = false;
  auto grow = false;
  {
    lock guard{mutex_};
    // They came before.
    if (close_bursts())
      serve_idle(to_wake, garbage);
    auto refuse = [&](ec why, const std::string& text) {
      guard.unlock();
      wake_all(to_wake);
      refused_.fetch_add(1, std::memory_order_relaxed);
      work.refuse(why, text);
    };
    if (closed_ || (admission_closed_ && !nested))
      return refuse(ec::pool_stopped, "the pool '" + name()
                                          + "' has stopped; it takes no more "
                                            "requests");
    if (!nested && live_workers() == 0 && growth_put_off_
        && !start_problem_.empty())
      return refuse(ec::resource_unavailable, start_text());
    if (!nested && exhausted())
      return refuse(ec::pool_stuck, exhausted_text());
    if (!nested && full())
      return refuse(ec::queue_full, full_text());
    if (submissions_ == 0)
      first_submit_ = work.submitted_at();
    submissions_ += work.submissions();
    arrived_ += work.size();
    // Counted first: a cancel may complete an admitted batch at any time.
    auto admitted = admitted_.load(std::memory_order_relaxed);
    admitted_.store(admitted + work.submissions(), std::memory_order_seq_cst);
    auto made = batch::phase::made;
    over = !work.phase_.compare_exchange_strong(made, batch::phase::admitted,
                                                std::memory_order_seq_cst);
    // One that was cancelled meanwhile has been withdrawn already, so it must
    // not be listed any more.
    if (over)
      admitted_.store(admitted, std::memory_order_seq_cst);
    else if (work.has_unclaimed()) {
      find_key(work);
      // The submitter has just looked at the usual clock.
      auto now = options_.clock ? clock_.now() : work.submitted_at();
      if (auto cell = hand_over(work, now))
        to_wake.push_back(cell);
      // The limit of the key may be higher than it was.
      if (work.key())
        serve_idle(to_wake, garbage);
      if (work.place_ == batch::place::waiting
          || work.place_ == batch::place::blocked)
        enqueue(work);
    }
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  // It may have been all that others saw outstanding.
  if (over)
    tell_if_drained(accounted_.load(std::memory_order_seq_cst));
  wake_all(to_wake);
  if (grow)
    staff_->grow();
}

void dispatcher::requeue(batch& work) {
  ref_ptr<batch> keep{&work};
  worker_cell* to_wake = nullptr;
  auto grow = false;
  {
    lock guard{mutex_};
    if (!work.has_unclaimed() || work.phase_.load() == batch::phase::over)
      return;
    // Nobody would come for it any more.
    if (closed_) {
      guard.unlock();
      work.cancel(ec::pool_stopped);
      return;
    }
    if (work.place_ == batch::place::nowhere) {
      // One that has all the workers it may have is listed when one leaves.
      if (work.participants_ < work.max_in_flight_)
        to_wake = hand_over(work, clock_.now());
    } else if (idle_ && work.place_ == batch::place::running) {
      auto cell = idle_;
      remove_idle(*cell);
      if (give(*cell, work, clock_.now()))
        to_wake = cell;
    }
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  if (to_wake)
    wake(*to_wake);
  if (grow)
    staff_->grow();
}

void dispatcher::await_retry(batch& work) {
  lock guard{mutex_};
  ++retrying_[&work];
}

void dispatcher::end_retry(batch& work) {
  lock guard{mutex_};
  if (auto found = retrying_.find(&work); --found->second == 0)
    retrying_.erase(found);
}

void dispatcher::withdraw(batch& work) noexcept {
  ref_ptr<batch> keep{&work};
  trash garbage;
  wake_list to_wake;
  {
    lock guard{mutex_};
    if (work.has_unclaimed())
      return;
    if (work.place_ != batch::place::nowhere) {
      unlist(work);
      if (work.key()) {
        unblock(*work.key());
        serve_idle(to_wake, garbage);
      }
    } else {
      // It may be in a worker's hand.
      count_begun(work);
    }
  }
  wake_all(to_wake);
}

bool dispatcher::await_room(room_waiter& waiter) noexcept {
  lock guard{mutex_};
  count_begun_of_hands();
  waiter.ticket_ = tickets_;
  if (options_.on_full != on_full::wait || has_room(waiter))
    return false;
  waiter.listed_ = true;
  waiter.prev_ = last_waiter_;
  (last_waiter_ ? last_waiter_->next_ : first_waiter_) = &waiter;
  last_waiter_ = &waiter;
  return true;
}

bool dispatcher::forget_room(room_waiter& waiter) noexcept {
  lock guard{mutex_};
  if (!waiter.listed_)
    return false;
  remove_waiter(waiter);
  return true;
}

// -- the worker's side --------------------------------------------------------

bool dispatcher::take_up(worker_cell& cell, batch& work) {
  if (options_.max_run_time.count() > 0
      && !guarded_.load(std::memory_order_relaxed)
      && !guarded_.exchange(true, std::memory_order_relaxed))
    staff_->watch();
  // Written before the batch was given, and then by nobody else. Who comes from
  // `next` was not idle.
  if (cell.waking_ && !cell.examine_resource()) {
    step_back(cell, work);
    return false;
  }
  if ((work.size() == 1 || work.is_burst_) && !cell.waking_)
    return true;
  trash garbage;
  wake_list others;
  worker_cell* to_wake[2] = {};
  auto n = 0;
  auto grow = false;
  auto watch = false;
  {
    lock guard{mutex_};
    arrive(cell);
    cell.hand_.since = cell.mark();
    close_bursts();
    serve_idle(others, garbage);
    last_taker_ = &cell;
    look_at_bursts(cell.mark());
    watch = work.is_private() && work.size() > 1 && begin_watch();
    // One has taken up all of a single request, and of a burst.
    auto more = work.size() > 1 && !work.is_private();
    while (more && n < 2 && idle_ && work.unclaimed() > 0
           && may_have_worker(work)) {
      auto other = idle_;
      remove_idle(*other);
      if (give(*other, work, clock_.now()))
        to_wake[n] = other;
      ++n;
    }
    if (more && n == 0)
      call_from_lower(work);
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  wake_all(others);
  for (auto other : to_wake)
    if (other)
      wake(*other);
  if (grow)
    staff_->grow();
  if (watch)
    watch_bursts();
  return true;
}

worker_cell::hand_off dispatcher::next_work(worker_cell& cell,
                                            const ref_ptr<batch>& done,
                                            leave_reason why) {
  if (auto more = next_in_hand(cell))
    return {std::move(more)};
  // Declared before the lock: what drops here must not do so under it.
  trash garbage;
  laid_down over;
  ref_ptr<batch> work;
  wake_list to_wake;
  auto retired = false;
  auto grow = false;
  auto watch = false;
  auto lose = false;
  std::chrono::nanoseconds stuck_for{0};
  {
    lock guard{mutex_};
    cell.current_ = nullptr;
    note_start(cell);
    if (done) {
      learn(cell, *done);
      lay_down(cell, over);
      end_part(*done);
      lose = lost_the_last(*done);
    }
    if (auto since = cell.seen_since_; end_stuck(cell, to_wake))
      stuck_for = clock_.now() - since;
    // A worker that was called away comes for those that wait. One whose turn
    // is over is not: else they could starve what was left.
    if (why == leave_reason::yielded)
      cell.served_waiting_ = false;
    auto surplus = live_workers() > capacity();
    auto recalled = recall_late(cell.mark());
    close_bursts();
    if (!surplus)
      work = pick_next(cell, garbage);
    if (!surplus && !work && first_hand_) {
      recall_all();
      recalled = true;
      work = pick_next(cell, garbage);
    }
    if (recalled)
      serve_idle(to_wake, garbage);
    if (surplus || (!work && closed_)) {
      // It may have come for a batch that waits: somebody else must.
      if (somebody_waits()) {
        call_workers(1);
        serve_idle(to_wake, garbage);
      }
      live_.fetch_sub(1, std::memory_order_relaxed);
      cell.alive_ = false;
      retired = true;
    } else if (work) {
      begin_part(cell, *work, clock_of(cell));
      deal(cell, *work);
      last_taker_ = &cell;
      watch = work->is_private() && work->size() > 1 && begin_watch();
    } else
      push_idle(cell);
    look_at_bursts(cell.mark());
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  wake_all(to_wake);
  if (grow)
    staff_->grow();
  if (watch)
    watch_bursts();
  if (lose)
    done->lose(cell);
  let_go(over, cell);
  if (stuck_for.count() > 0)
    write_log(log_level::info, name(),
              fmt::format("worker {} is back: its call '{}' has returned "
                          "after {}",
                          cell.name(), done ? done->label() : "",
                          about(stuck_for)));
  if (retired)
    wait_graph::look_again();
  return {std::move(work), retired};
}

void dispatcher::lost(worker_cell& cell, ref_ptr<batch> held) {
  trash garbage;
  laid_down over;
  ref_ptr<batch> part;
  wake_list to_wake;
  auto grow = false;
  auto lose = false;
  auto replaced = false;
  {
    lock guard{mutex_};
    if (cell.users_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      free_cells_.push_back(&cell);
    cell.failed_opens_ = 0;
    // Else it has retired, and was counted out then.
    if (!std::exchange(cell.alive_, false)) {
      auto last = closed_ && live_workers() == 0;
      guard.unlock();
      if (last)
        staff_->emptied();
      return;
    }
    if (std::exchange(cell.resting_, false))
      --resting_;
    if (cell.starting_) {
      cell.starting_ = false;
      --starting_;
    }
    end_stuck(cell, to_wake);
    live_.fetch_sub(1, std::memory_order_relaxed);
    auto given = std::exchange(cell.waking_, false);
    if (given)
      --waking_;
    if (cell.idle_)
      remove_idle(cell);
    garbage.push_back(std::move(held));
    garbage.push_back(cell.take().work);
    lay_down(cell, over);
    // There is one less to come for what others have in their hands.
    recall_all();
    part = ref_ptr<batch>{cell.current_.exchange(nullptr)};
    if (part) {
      leave(*part);
      // Whether it had claimed something is known when nobody else has.
      if (!given)
        part->worker_lost_ = true;
      lose = lost_the_last(*part);
      if (part->participants_ == 0 && part->has_unclaimed()) {
        unlist(*part);
        if (auto other = hand_over(*part, clock_.now()))
          to_wake.push_back(other);
      }
      release_key(*part);
    }
    look_at_bursts();
    serve_idle(to_wake, garbage);
    replaced = !closed_;
    workers_lost_ += replaced;
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  wake_all(to_wake);
  if (grow)
    staff_->grow();
  if (lose)
    part->lose(cell);
  let_go(over, cell);
  if (replaced)
    write_log(log_level::warning, name(),
              fmt::format("worker {} has ended without being told to; another "
                          "one takes its place",
                          cell.name()));
}

void dispatcher::start_failed(worker_cell& cell, const std::string& why) {
  std::vector<ref_ptr<batch>> all;
  {
    lock guard{mutex_};
    // It retires here; `lost` finds nothing to account for.
    cell.alive_ = cell.starting_ = false;
    --starting_;
    live_.fetch_sub(1, std::memory_order_relaxed);
    ++failed_starts_;
    ++missing_;
    start_problem_ = why;
    put_off_growth();
    look_at_bursts();
    if (live_workers() == 0)
      all = listed();
  }
  restart_later();
  write_log(log_level::error, name(),
            fmt::format("worker {} takes no request: {}", cell.name(), why));
  for (auto& work : all)
    work->cancel(ec::resource_unavailable);
}

// -- the batch's side ---------------------------------------------------------

bool dispatcher::join(batch& work) {
  ref_ptr<batch> keep{&work};
  lock guard{mutex_};
  if (!work.has_unclaimed() || work.phase_.load() == batch::phase::over
      || !may_have_worker(work))
    return false;
  enter(work);
  // Only those that may have one more worker are listed.
  if (work.place_ != batch::place::nowhere && !may_have_worker(work)) {
    unlist(work);
    relist(work);
  }
  return true;
}

void dispatcher::part(batch& work) noexcept {
  ref_ptr<batch> keep{&work};
  trash garbage;
  wake_list to_wake;
  {
    lock guard{mutex_};
    end_part(work);
    serve_idle(to_wake, garbage);
  }
  wake_all(to_wake);
}

dispatcher::hang
dispatcher::check_hang(const batch& work,
                       const hang_check& check) const noexcept {
  lock guard{mutex_};
  // Counts the parts that blocked workers have in batches that match.
  auto stuck_in = [&](auto matches) {
    std::size_t result = 0;
    for (auto& cell : cells_) {
      auto current = cell->current_.load();
      if (!current || !check.stuck(*cell))
        continue;
      result += matches(*current);
      for (auto part = cell->nested_; part != nullptr; part = part->outer_)
        result += matches(part->work_);
    }
    return result;
  };
  if (stuck_in([&](const batch& x) { return &x == &work; }) > 0)
    return hang::at_pool;
  // If the pool is closed, whatever waits is about to be cancelled.
  if (closed_ || !work.has_unclaimed())
    return hang::none;
  if (auto key = work.key();
      key && key->in_use >= key->limit && stuck_in([&](const batch& x) {
                                            return x.key() == key;
                                          }) >= key->in_use)
    return hang::at_key;
  // Spares may come for those that are stuck.
  auto spares = options_.max_run_time.count() > 0 ? options_.max_spares : 0;
  // A pool that sizes itself gets more workers while all of them wait.
  auto most = automatic() ? most_workers() : max_workers();
  // Nobody is stuck where nobody may work: others are on their way.
  if (most == 0)
    return hang::none;
  if (starting_ > 0 || live_workers() < most + spares)
    return hang::none;
  auto goes_on = [&](const auto& cell) {
    return cell->alive_ && !check.stuck(*cell);
  };
  if (std::any_of(cells_.begin(), cells_.end(), goes_on))
    return hang::none;
  return may_have_worker(work) ? hang::unless_helped : hang::at_pool;
}

void dispatcher::account(batch& work) noexcept {
  auto counts = work.counts();
  auto late = work.late();
  // Of a burst, each call counts as a batch.
  auto batches = work.submissions();
  auto& over = work.is_burst_ ? calls_over_ : batches_;
  over.fetch_add(batches, std::memory_order_seq_cst);
  // One that was cancelled before its start was never here.
  if (work.submitted_at() != std::chrono::steady_clock::time_point{})
    last_over_.store(work.submitted_at() + work.elapsed_,
                     std::memory_order_relaxed);
  // Those of a burst were counted one by one.
  if (!work.is_burst_) {
    auto& of = counts_[number_of(work.label())];
    if (counts.succeeded)
      of.succeeded.fetch_add(counts.succeeded, std::memory_order_release);
    if (counts.failed)
      of.failed.fetch_add(counts.failed, std::memory_order_release);
    if (counts.cancelled)
      of.cancelled.fetch_add(counts.cancelled, std::memory_order_release);
    if (counts.expired)
      of.expired.fetch_add(counts.expired, std::memory_order_release);
    if (late)
      of.late.fetch_add(late, std::memory_order_release);
  }
  if (subscribed_.load(std::memory_order_relaxed))
    tell_subscribers(work);
  auto before =
      work.phase_.exchange(batch::phase::over, std::memory_order_seq_cst);
  if (before != batch::phase::admitted) {
    not_admitted_.fetch_add(counts.cancelled + counts.expired,
                            std::memory_order_relaxed);
    strangers_.fetch_add(batches, std::memory_order_seq_cst);
  }
  if (work.wanted_key()) {
    trash garbage;
    wake_list to_wake;
    {
      lock guard{mutex_};
      if (work.key()) {
        unlist(work);
        release_key(work);
        serve_idle(to_wake, garbage);
      }
    }
    wake_all(to_wake);
  }
  tell_if_drained(accounted_.fetch_add(batches, std::memory_order_seq_cst)
                  + batches);
}

// -- the coordinator's side ---------------------------------------------------

void dispatcher::close_admission() {
  lock guard{mutex_};
  admission_closed_ = true;
  look_at_bursts();
}

void dispatcher::cancel_all(ec why) {
  std::vector<ref_ptr<batch>> all;
  {
    lock guard{mutex_};
    recall_all();
    close_bursts();
    all = listed();
    for (auto& cell : cells_) {
      if (auto current = cell->current_.load())
        all.emplace_back(current);
      for (auto part = cell->nested_; part != nullptr; part = part->outer_)
        all.emplace_back(&part->work_);
    }
    for (auto& [work, waiting] : retrying_)
      all.emplace_back(work);
  }
  for (auto& work : all)
    work->cancel(why);
}

void dispatcher::close() {
  wake_list to_wake;
  {
    lock guard{mutex_};
    close_under_lock(to_wake);
  }
  wake_all(to_wake);
}

void dispatcher::subscribe(bool yes) noexcept {
  lock guard{mutex_};
  subscribed_.store(yes, std::memory_order_relaxed);
  look_at_bursts();
}

void dispatcher::watch_outstanding(bool yes) noexcept {
  lock guard{mutex_};
  watched_.store(yes, std::memory_order_seq_cst);
  look_at_bursts();
}

bool dispatcher::close_if_drained() {
  wake_list to_wake;
  {
    lock guard{mutex_};
    if (outstanding() > 0)
      return false;
    close_under_lock(to_wake);
  }
  wake_all(to_wake);
  return true;
}

// -- private ------------------------------------------------------------------

bool dispatcher::take_attention(priority of) noexcept {
  auto& wanted = attention_[static_cast<std::size_t>(of)];
  auto asked = wanted.load(std::memory_order_relaxed);
  while (asked > 0)
    if (wanted.compare_exchange_weak(asked, asked - 1,
                                     std::memory_order_relaxed))
      return true;
  return false;
}

bool dispatcher::ends_turn(const batch& work) noexcept {
  auto others = [&](const batch_list& in) {
    return in.first && (in.first != &work || work.next_);
  };
  lock guard{mutex_};
  if (work.key() && others(work.key()->blocked))
    return true;
  // There is somebody for the others, or on the way.
  if (idle_)
    return false;
  auto own = static_cast<std::size_t>(work.priority_);
  for (std::size_t c = 0; c < priorities; ++c)
    if (others(classes_[c].waiting) || others(classes_[c].left)
        || (c < own && classes_[c].running.first))
      return true;
  // The next worker that looks for one finds it first.
  auto& running = classes_[own].running;
  auto looks = most_compared;
  for (auto x = running.first; x != nullptr && looks > 0; --looks, x = x->next_)
    if (x->participants_ + 1 < work.participants_) {
      running.remove(*x);
      running.push_front(*x);
      return true;
    }
  return false;
}

// Asks workers of whichever batch to come back, where there are any that would
// hear it. Those with a single request come back anyway.
void dispatcher::call_workers(std::int32_t n) noexcept {
  for (auto c = 0u; c < priorities; ++c)
    if (classes_[c].callable > 0)
      attention_[c].fetch_add(n, std::memory_order_relaxed);
}

// Has two more workers come for a batch that goes before what they work on.
void dispatcher::call_from_lower(const batch& work) noexcept {
  if (work.unclaimed() == 0 || !may_have_worker(work))
    return;
  for (auto c = priorities - 1; c > static_cast<std::size_t>(work.priority_);
       --c)
    if (classes_[c].participants > 0
        && attention_[c].load(std::memory_order_relaxed) < 2)
      attention_[c].fetch_add(2, std::memory_order_relaxed);
}

bool dispatcher::somebody_waits() const noexcept {
  return std::any_of(
      classes_.begin(), classes_.end(),
      [](const service_class& of) { return of.waiting.first != nullptr; });
}

// Whether one more worker may work on the batch.
bool dispatcher::may_have_worker(const batch& work) const noexcept {
  return work.participants_ < work.max_in_flight_
         && (!work.key() || work.key()->in_use < work.key()->limit);
}

// Returns the time on behalf of the worker that runs on this thread: it has
// just looked, if the pool's clock is the usual one.
clock::time_point dispatcher::clock_of(const worker_cell& cell) const noexcept {
  return options_.clock || cell.mark() == clock::time_point{} ? clock_.now()
                                                              : cell.mark();
}

// A worker is part of the batch from now on.
void dispatcher::enter(batch& work) noexcept {
  auto& of = class_of(work);
  ++work.participants_;
  ++of.participants;
  if (work.key())
    ++work.key()->in_use;
  if (!work.can_be_left())
    return;
  ++of.callable;
  in_shared_bursts_ += work.is_burst_;
  // It came although others wait, and nobody may have been there to be called.
  if (somebody_waits())
    attention_[static_cast<std::size_t>(work.priority_)].fetch_add(
        1, std::memory_order_relaxed);
}

void dispatcher::begin_part(worker_cell& cell, batch& work,
                            clock::time_point now) noexcept {
  enter(work);
  cell.current_ = &work;
  cell.since_ = now;
  cell.seen_any_ = false;
  cell.claims_at_begin_ = cell.claims_.load(std::memory_order_relaxed);
  // Only those that may have one more worker are listed.
  if (work.place_ == batch::place::running && !may_have_worker(work)) {
    unlist(work);
    relist(work);
  }
}

// A worker is no longer part of the batch.
void dispatcher::leave(batch& work) noexcept {
  auto& of = class_of(work);
  --work.participants_;
  --of.participants;
  if (work.key())
    --work.key()->in_use;
  if (!work.can_be_left())
    return;
  --of.callable;
  in_shared_bursts_ -= work.is_burst_;
}

// A worker has left, and the batch is listed as it should be: others may have
// the room that it had.
void dispatcher::release_key(batch& work) noexcept {
  if (!work.key())
    return;
  unblock(*work.key());
  if (work.phase_.load() == batch::phase::over)
    forget_key(work);
}

// A worker leaves. If it was called away as the last one, the batch is left for
// whoever comes next.
void dispatcher::end_part(batch& work) noexcept {
  leave(work);
  // A worker may be called away just when it has run the last request.
  if (!work.has_unclaimed()) {
    unlist(work);
  } else if (work.participants_ == 0 && work.place_ != batch::place::blocked) {
    unlist(work);
    list(work,
         may_have_worker(work) ? batch::place::left : batch::place::blocked);
  } else if (work.place_ == batch::place::nowhere) {
    relist(work);
  } else if (work.place_ == batch::place::blocked) {
    // Others have had to wait for the room that there is now.
    unlist(work);
    list(work, batch::place::blocked);
  }
  release_key(work);
}

// Lists a batch that has workers, if it may have more; one that only lacks room
// at its key is blocked there. One that has all the workers it may have is
// listed when one of them leaves.
void dispatcher::relist(batch& work) noexcept {
  if (may_have_worker(work))
    list(work, batch::place::running);
  else if (work.participants_ < work.max_in_flight_ && work.size() > 1)
    list(work, batch::place::blocked);
}

// -- keys ---------------------------------------------------------------------

void dispatcher::find_key(batch& work) {
  auto wanted = work.wanted_key();
  if (!wanted)
    return;
  auto& share = keys_[wanted->key];
  share.limit = wanted->limit;
  ++share.users;
  work.set_key(&share);
  unblock(share);
}

// The batch is over, but workers may be on their way back from it.
void dispatcher::forget_key(batch& work) noexcept {
  if (work.participants_ > 0 || !work.holds_key_)
    return;
  unlist(work);
  auto last = --work.key()->users == 0;
  work.set_key(nullptr);
  if (last)
    keys_.erase(keys_.find(work.wanted_key()->key));
}

// There is room at the key: its first batch waits from now on, behind those of
// other keys that came in the meantime.
void dispatcher::unblock(key_share& key) noexcept {
  auto room = key.limit - std::min(key.limit, key.in_use);
  for (auto x = key.blocked.first; x != nullptr && room > 0; --room) {
    auto after = x->next_;
    key.blocked.remove(*x);
    x->place_ = batch::place::waiting;
    class_of(*x).waiting.push_back(*x);
    call_workers(1);
    x = after;
  }
}

void dispatcher::count_blocked(batch& work) noexcept {
  if (!std::exchange(work.was_blocked_, true))
    ++blocked_by_key_;
}

// -- picking ------------------------------------------------------------------

// Takes the first batch that has something to claim, and may have one more
// worker, out of a list.
ref_ptr<batch> dispatcher::pick(batch_list& from, trash& garbage) {
  while (from.first) {
    auto first = from.first;
    if (!first->has_unclaimed()) {
      garbage.push_back(take_out(from, *first));
      // The room that it had waited for is free for the next one.
      if (first->key())
        unblock(*first->key());
    } else if (!may_have_worker(*first)) {
      // Its key has no room any more. Still queued, if it was.
      from.remove(*first);
      first->place_ = batch::place::blocked;
      first->key()->blocked.push_back(*first);
      count_blocked(*first);
    } else {
      auto found = take_out(from, *first);
      // What comes next is mostly far away: written when it was submitted, by
      // another thread.
      fetch_early(from.first, single_bytes);
      return found;
    }
  }
  return nullptr;
}

// Those that wait go first, but a batch that all have left for them gets its
// turn in between, as `left_first` says: so neither can starve the other.
ref_ptr<batch> dispatcher::pick_of(service_class& from, worker_cell& cell,
                                   bool left_first, trash& garbage) {
  ref_ptr<batch> found;
  if (left_first && from.left.first)
    found = pick(from.left, garbage);
  if (!found && from.waiting.first) {
    found = pick(from.waiting, garbage);
    cell.served_waiting_ = static_cast<bool>(found);
  }
  if (!found && from.left.first)
    found = pick(from.left, garbage);
  if (!found && from.running.first && !closed_)
    found = pick(from.running, garbage);
  return found;
}

ref_ptr<batch> dispatcher::pick_next(worker_cell& cell, trash& garbage) {
  ref_ptr<batch> found;
  auto left_first = std::exchange(cell.served_waiting_, false);
  // Again if something was unblocked in a list that had been looked at.
  do {
    for (auto& of : classes_)
      if (!found && of.passed_over >= most_passed_over && of.has_waiting())
        found = pick_of(of, cell, left_first, garbage);
    for (auto& of : classes_)
      if (!found && !of.empty())
        found = pick_of(of, cell, left_first, garbage);
  } while (!found && somebody_waits());
  if (!somebody_waits()) {
    // Nobody needs to come back for more batches than wait, but those that are
    // too many.
    auto surplus = shrinking_ ? surplus_workers() : 0;
    shrinking_ = surplus > 0;
    for (auto& wanted : attention_)
      if (wanted.load(std::memory_order_relaxed) != surplus)
        wanted.store(surplus, std::memory_order_relaxed);
  }
  if (!found)
    return nullptr;
  class_of(*found).passed_over = 0;
  for (auto c = static_cast<std::size_t>(found->priority_) + 1; c < priorities;
       ++c)
    if (classes_[c].has_waiting()) {
      ++classes_[c].passed_over;
      // So that this class is offered a worker again, after one more request;
      // whoever has turns comes back by itself.
      auto& wanted = attention_[static_cast<std::size_t>(found->priority_)];
      if (found->size() == 1 && wanted.load(std::memory_order_relaxed) == 0)
        wanted.store(1, std::memory_order_relaxed);
    }
  // To the end, so that idle workers spread over all of them.
  if (found->size() > 1 && !found->is_private())
    list(*found, batch::place::running);
  return found;
}

void dispatcher::push_idle(worker_cell& cell) noexcept {
  cell.since_ = clock_of(cell);
  cell.idle_ = true;
  cell.idle_prev_ = nullptr;
  cell.idle_next_ = idle_;
  if (idle_)
    idle_->idle_prev_ = &cell;
  idle_ = &cell;
  ++idle_count_;
  auto awake = options_.spin.count() > 0 || cell.stays_awake_;
  cell.word_.store(awake ? worker_cell::awake : worker_cell::asleep,
                   std::memory_order_release);
}

void dispatcher::remove_idle(worker_cell& cell) noexcept {
  (cell.idle_prev_ ? cell.idle_prev_->idle_next_ : idle_) = cell.idle_next_;
  if (cell.idle_next_)
    cell.idle_next_->idle_prev_ = cell.idle_prev_;
  cell.idle_prev_ = cell.idle_next_ = nullptr;
  cell.idle_ = false;
  --idle_count_;
}

void dispatcher::wake(worker_cell& cell) noexcept {
  if (!cell.end_linger())
    staff_->wake(cell);
  if (cell.users_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    lock guard{mutex_};
    free_cells_.push_back(&cell);
  }
}

bool dispatcher::give(worker_cell& cell, batch& work,
                      clock::time_point now) noexcept {
  begin_part(cell, work, now);
  work.ref();
  cell.waking_ = true;
  ++waking_;
  return cell.give(reinterpret_cast<std::uintptr_t>(&work));
}

// The worker has found what it was given.
void dispatcher::arrive(worker_cell& cell) noexcept {
  if (std::exchange(cell.waking_, false))
    --waking_;
}

// Gives a batch to an idle worker, or lets it wait. Returns the worker if it
// must be woken.
worker_cell* dispatcher::hand_over(batch& work,
                                   clock::time_point now) noexcept {
  // Called for those that have fewer workers than they may have; so it is the
  // key.
  if (!may_have_worker(work)) {
    list(work, batch::place::blocked);
    count_blocked(work);
    return nullptr;
  }
  auto cell = idle_;
  if (cell == nullptr || waking_ >= most_waking) {
    list(work, batch::place::waiting);
    // Those who are on their way look after the idle ones.
    if (cell == nullptr)
      call_workers(1);
    return nullptr;
  }
  remove_idle(*cell);
  if (work.size() > 1 && !work.is_private())
    list(work, batch::place::running);
  return give(*cell, work, now) ? cell : nullptr;
}

// Gives what waits to idle workers, as long as there are both: after something
// that let batches wait which had been blocked.
void dispatcher::serve_idle(wake_list& to_wake, trash& garbage) {
  if (idle_ && waking_ < most_waking && !somebody_waits())
    recall_all();
  while (idle_ && waking_ < most_waking && somebody_waits()) {
    auto work = pick_next(*idle_, garbage);
    if (!work)
      return;
    auto cell = idle_;
    remove_idle(*cell);
    if (give(*cell, *work, clock_.now()))
      to_wake.push_back(cell);
    // The list may have had the last reference but this one.
    garbage.push_back(std::move(work));
  }
}

bool dispatcher::give_retire(worker_cell& cell) noexcept {
  live_.fetch_sub(1, std::memory_order_relaxed);
  cell.alive_ = false;
  return cell.give(worker_cell::retire);
}

void dispatcher::close_under_lock(wake_list& to_wake) {
  admission_closed_ = closed_ = true;
  look_at_bursts();
  while (auto cell = idle_) {
    remove_idle(*cell);
    if (give_retire(*cell))
      to_wake.push_back(cell);
  }
  retire_resting(to_wake, 0);
}

// Returns what could use one more worker, or waits for room at its key.
std::vector<ref_ptr<batch>> dispatcher::listed() const {
  std::vector<ref_ptr<batch>> result;
  std::vector<const batch_list*> lists;
  for (auto& of : classes_)
    lists.insert(lists.end(), {&of.waiting, &of.left, &of.running});
  for (auto& [name, key] : keys_)
    lists.push_back(&key.blocked);
  for (auto list : lists)
    for (auto x = list->first; x != nullptr; x = x->next_)
      result.emplace_back(x);
  return result;
}

// Whether nobody is left to run what was claimed of the batch: a worker ended
// in it, and no other one is in it, nor an attempt to come.
bool dispatcher::lost_the_last(batch& work) const noexcept {
  if (!work.worker_lost_ || work.participants_ > 0 || work.has_unclaimed()
      || work.phase_.load() == batch::phase::over || retrying_.contains(&work))
    return false;
  return std::none_of(cells_.begin(), cells_.end(), [&](const auto& cell) {
    auto part = cell->nested_;
    while (part && &part->work_ != &work)
      part = part->outer_;
    return part != nullptr;
  });
}

// Called when so many batches are over, or one less was begun. Whoever counts
// the last one finds that it is the last, or else a newer one is outstanding.
void dispatcher::tell_if_drained(std::uint64_t over) noexcept {
  if (watched_.load(std::memory_order_seq_cst) && begun() == over)
    staff_->drained();
}

bool dispatcher::full() const noexcept {
  return options_.on_full == on_full::reject && idle_ == nullptr
         && queued_ >= options_.max_queued;
}

// How long the queue is, in submissions and, as far as can be told, in time.
std::string dispatcher::full_text() const {
  auto now = std::chrono::steady_clock::now();
  std::chrono::nanoseconds busy{0};
  for (auto& cell : cells_)
    busy += cell->record_.busy_time(now);
  auto over = batches_.load(std::memory_order_relaxed);
  std::string estimate;
  if (over > 0 && busy.count() > 0) {
    auto workers = std::max<std::uint32_t>(1, live_workers());
    auto all = std::chrono::duration<double, std::nano>{busy}
               / static_cast<double>(over) * static_cast<double>(queued_)
               / workers;
    estimate = fmt::format(
        ", for about {}",
        about(std::chrono::duration_cast<std::chrono::nanoseconds>(all)));
  }
  return fmt::format("the queue of the pool '{}' is full: {} submissions "
                     "wait{}; raise troupe.max-queued, or set "
                     "troupe.on-full=wait",
                     name(), queued_, estimate);
}

void dispatcher::enqueue(batch& work) noexcept {
  work.counted_as_queued_ = true;
  tickets_ += work.submissions();
  queued_ += work.submissions();
  if (queued_ > options_.max_queued && options_.on_full == on_full::wait)
    crowded_.store(true, std::memory_order_relaxed);
}

// Whether no more of those who came before the waiter are queued than may be.
bool dispatcher::has_room(const room_waiter& waiter) const noexcept {
  auto gone = tickets_ - queued_;
  return waiter.ticket_ <= gone + options_.max_queued;
}

void dispatcher::remove_waiter(room_waiter& waiter) noexcept {
  (waiter.prev_ ? waiter.prev_->next_ : first_waiter_) = waiter.next_;
  (waiter.next_ ? waiter.next_->prev_ : last_waiter_) = waiter.prev_;
  waiter.prev_ = waiter.next_ = nullptr;
  waiter.listed_ = false;
}

void dispatcher::announce_room() noexcept {
  for (;;) {
    room_waiter* lucky = nullptr;
    {
      lock guard{mutex_};
      if (!first_waiter_ || !has_room(*first_waiter_)) {
        room_made_.store(false, std::memory_order_relaxed);
        return;
      }
      lucky = first_waiter_;
      remove_waiter(*lucky);
    }
    lucky->on_room();
  }
}

bool dispatcher::wants_growth() const noexcept {
  if (growth_put_off_ || closed_)
    return false;
  if (live_workers() < options_.min_workers && live_workers() < capacity())
    return true;
  // One that sizes itself is to look whether more would help.
  return (live_workers() < capacity()
          || (automatic() && !sizing_.load(std::memory_order_relaxed)))
         && idle_ == nullptr && wants_workers();
}

// Whether there is something to claim for one more worker.
bool dispatcher::wants_workers() const noexcept {
  return std::any_of(classes_.begin(), classes_.end(),
                     [](const service_class& of) {
                       return of.has_waiting()
                              || (of.running.first != nullptr
                                  && of.running.first->has_unclaimed());
                     });
}

} // namespace troupe
