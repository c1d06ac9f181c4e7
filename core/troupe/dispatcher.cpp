#include "troupe/dispatcher.hpp"

#include <algorithm>
#include <map>

namespace troupe {

namespace {

// Batches finished so far in this process; numbers their completions.
std::atomic<std::uint64_t> completions{0};

} // namespace

// -- lists --------------------------------------------------------------------

void dispatcher::batch_list::push_back(batch& x) noexcept {
  x.prev_ = last;
  x.next_ = nullptr;
  (last ? last->next_ : first) = &x;
  last = &x;
}

void dispatcher::batch_list::remove(batch& x) noexcept {
  (x.prev_ ? x.prev_->next_ : first) = x.next_;
  (x.next_ ? x.next_->prev_ : last) = x.prev_;
  x.prev_ = x.next_ = nullptr;
}

dispatcher::batch_list& dispatcher::list_of(batch::place where) noexcept {
  return where == batch::place::waiting ? waiting_
         : where == batch::place::left  ? left_
                                        : running_;
}

// Puts a batch into a list, which holds a reference to it.
void dispatcher::list(batch& work, batch::place where) noexcept {
  work.ref();
  work.place_ = where;
  list_of(where).push_back(work);
}

// The caller must hold a reference of its own: the list's may be the last one,
// and user code must not be destroyed under the lock.
void dispatcher::unlist(batch& work) noexcept {
  if (work.place_ == batch::place::nowhere)
    return;
  list_of(work.place_).remove(work);
  work.place_ = batch::place::nowhere;
  if (work.counted_as_queued_) {
    work.counted_as_queued_ = false;
    --queued_;
  }
  work.deref();
}

// -- construction -------------------------------------------------------------

dispatcher::dispatcher(effective_options options, std::unique_ptr<staff> crew)
    : options_{std::move(options)},
      resource_{options_.resource.value_or(resource_spec{})},
      clock_{options_.clock ? *options_.clock : steady_clock()},
      staff_{std::move(crew)},
      max_workers_{options_.workers} {}

dispatcher::~dispatcher() = default;

// -- properties ---------------------------------------------------------------

effective_options dispatcher::options() const {
  auto result = options_;
  result.workers = max_workers();
  return result;
}

pool_stats dispatcher::stats() const {
  pool_stats result;
  lock guard{mutex_};
  result.workers = live_workers();
  result.idle = idle_count_;
  for (auto& cell : cells_) {
    result.busy += cell->current_ != nullptr;
    result.busy_time += cell->busy_time();
  }
  result.queued = std::min(queued_, options_.max_queued);
  result.waiting = queued_ - result.queued;
  result.refused = refused_.load(std::memory_order_relaxed);
  result.batches = batches_.load(std::memory_order_relaxed);
  result.succeeded = succeeded_.load(std::memory_order_relaxed);
  result.failed = failed_.load(std::memory_order_relaxed);
  result.cancelled = cancelled_.load(std::memory_order_relaxed);
  return result;
}

bool dispatcher::accepts() const {
  lock guard{mutex_};
  return !admission_closed_ && !full();
}

void dispatcher::add_unfinished(receipt& what) const {
  lock guard{mutex_};
  std::map<const batch*, std::uint32_t> running;
  for (auto& cell : cells_)
    // A worker may be on its way back from a batch that is counted already.
    if (auto work = cell->current_;
        work && work->phase_.load() != batch::phase::over) {
      what.still_running.push_back(
          {std::string{work->label()}, cell->id(), cell->since_});
      ++running[work];
    }
  for (auto& [work, workers] : running) {
    auto dropped = work->cancelled_count_.load(std::memory_order_relaxed);
    what.cancelled += dropped;
    // The barrier would not do: requests claimed together are counted together,
    // so those of them that have returned may be missing there.
    auto rest = dropped + work->unstarted() + workers;
    what.drained += work->size() - std::min(work->size(), rest);
  }
}

// -- the submitter's side -----------------------------------------------------

void dispatcher::submit(const ref_ptr<batch>& work) {
  auto caller = worker_cell::current();
  auto nested = caller && &caller->home() == this;
  worker_cell* to_wake = nullptr;
  auto over = false;
  auto grow = false;
  {
    lock guard{mutex_};
    if (closed_ || (admission_closed_ && !nested)) {
      guard.unlock();
      refused_.fetch_add(1, std::memory_order_relaxed);
      work->refuse(ec::pool_stopped, "the pool '" + name()
                                         + "' has stopped; it takes no more "
                                           "requests");
      return;
    }
    if (!nested && full()) {
      auto depth = queued_;
      guard.unlock();
      refused_.fetch_add(1, std::memory_order_relaxed);
      work->refuse(ec::queue_full,
                   "the queue of the pool '" + name()
                       + "' is full: " + std::to_string(depth)
                       + " submissions wait; raise troupe.max-queued, or set "
                         "troupe.on-full=wait");
      return;
    }
    // Counted first: a cancel may complete an admitted batch at any time.
    outstanding_.fetch_add(1, std::memory_order_seq_cst);
    auto made = batch::phase::made;
    over = !work->phase_.compare_exchange_strong(made, batch::phase::admitted,
                                                 std::memory_order_seq_cst);
    // One that was cancelled meanwhile has been withdrawn already, so it must
    // not be listed any more.
    if (!over && work->has_unclaimed()) {
      to_wake = hand_over(*work);
      if (work->place_ == batch::place::waiting) {
        work->counted_as_queued_ = true;
        ++queued_;
      }
    }
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  if (over)
    end_outstanding();
  if (to_wake)
    wake(*to_wake);
  if (grow)
    staff_->grow();
}

void dispatcher::withdraw(batch& work) noexcept {
  ref_ptr<batch> keep{&work};
  lock guard{mutex_};
  if (work.place_ == batch::place::nowhere || work.has_unclaimed())
    return;
  unlist(work);
}

// -- the worker's side --------------------------------------------------------

void dispatcher::take_up(batch& work) {
  if (work.size() == 1)
    return;
  worker_cell* to_wake[2] = {};
  auto n = 0;
  auto grow = false;
  {
    lock guard{mutex_};
    while (n < 2 && idle_ && work.unclaimed() > 0) {
      auto cell = idle_;
      remove_idle(*cell);
      if (give(*cell, work))
        to_wake[n] = cell;
      ++n;
    }
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  for (auto cell : to_wake)
    if (cell)
      wake(*cell);
  if (grow)
    staff_->grow();
}

worker_cell::hand_off dispatcher::next(worker_cell& cell,
                                       const ref_ptr<batch>& done,
                                       leave_reason why) {
  // Declared before the lock: what drops here must not do so under it.
  trash garbage;
  ref_ptr<batch> work;
  auto grow = false;
  {
    lock guard{mutex_};
    cell.current_ = nullptr;
    if (cell.starting_) {
      cell.starting_ = false;
      --starting_;
    }
    if (done)
      end_part(*done, why);
    // A worker that was called away comes for those that wait.
    if (why == leave_reason::yielded)
      cell.served_waiting_ = false;
    auto surplus = live_workers() > max_workers();
    if (!surplus)
      work = pick_next(cell, garbage);
    if (surplus || (!work && closed_)) {
      // It may have come for a batch that waits: somebody else must.
      if (waiting_.first)
        attention_.fetch_add(1, std::memory_order_relaxed);
      live_.fetch_sub(1, std::memory_order_relaxed);
      cell.alive_ = false;
      return {nullptr, true};
    }
    if (work)
      begin_part(cell, *work);
    else
      push_idle(cell);
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  if (grow)
    staff_->grow();
  return {std::move(work), false};
}

void dispatcher::lost(worker_cell& cell) {
  ref_ptr<batch> handed;
  worker_cell* to_wake = nullptr;
  auto grow = false;
  {
    lock guard{mutex_};
    if (cell.users_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      free_cells_.push_back(&cell);
    // Else it has retired, and was counted out then.
    if (!std::exchange(cell.alive_, false))
      return;
    if (cell.starting_) {
      cell.starting_ = false;
      --starting_;
    }
    cell.current_ = nullptr;
    live_.fetch_sub(1, std::memory_order_relaxed);
    if (cell.idle_)
      remove_idle(cell);
    auto found = cell.take();
    handed = std::move(found.work);
    if (handed && --handed->participants_ == 0 && handed->has_unclaimed()) {
      unlist(*handed);
      to_wake = hand_over(*handed);
    }
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  if (to_wake)
    wake(*to_wake);
  if (grow)
    staff_->grow();
}

// -- the batch's side ---------------------------------------------------------

void dispatcher::account(batch& work) noexcept {
  work.id_ = completions.fetch_add(1, std::memory_order_relaxed) + 1;
  auto failed = work.failed_count_.load(std::memory_order_relaxed);
  auto dropped = work.cancelled_count_.load(std::memory_order_relaxed);
  batches_.fetch_add(1, std::memory_order_relaxed);
  if (auto succeeded = work.size() - failed - dropped)
    succeeded_.fetch_add(succeeded, std::memory_order_relaxed);
  if (failed)
    failed_.fetch_add(failed, std::memory_order_relaxed);
  if (dropped)
    cancelled_.fetch_add(dropped, std::memory_order_relaxed);
  if (subscribed_.load(std::memory_order_relaxed))
    staff_->completed(work.summary());
  auto before =
      work.phase_.exchange(batch::phase::over, std::memory_order_seq_cst);
  if (before == batch::phase::admitted)
    end_outstanding();
}

// -- the coordinator's side ---------------------------------------------------

void dispatcher::add(std::unique_ptr<worker_cell> cell) {
  lock guard{mutex_};
  cell->alive_ = cell->starting_ = true;
  cells_.push_back(std::move(cell));
}

worker_cell* dispatcher::reuse() {
  lock guard{mutex_};
  if (free_cells_.empty())
    return nullptr;
  auto cell = free_cells_.back();
  free_cells_.pop_back();
  cell->alive_ = cell->starting_ = true;
  cell->word_.store(worker_cell::awake, std::memory_order_relaxed);
  cell->users_.store(1, std::memory_order_relaxed);
  return cell;
}

std::size_t dispatcher::take_growth() {
  lock guard{mutex_};
  growth_asked_ = false;
  auto live = live_workers();
  if (closed_ || live >= max_workers())
    return 0;
  auto room = max_workers() - live;
  std::uint64_t demand = 0;
  for (auto list : {&waiting_, &left_, &running_})
    for (auto x = list->first; x != nullptr && demand < room + starting_;
         x = x->next_)
      demand += std::max<std::uint32_t>(x->unclaimed(), x->has_unclaimed());
  // Those that are about to start will take something, too.
  demand -= std::min<std::uint64_t>(demand, starting_);
  auto more = std::min<std::uint64_t>(room, demand);
  if (live < options_.min_workers)
    more = std::max<std::uint64_t>(more, options_.min_workers - live);
  live_.fetch_add(static_cast<std::uint32_t>(more), std::memory_order_relaxed);
  starting_ += more;
  return more;
}

void dispatcher::cancel_growth(std::size_t n) {
  lock guard{mutex_};
  starting_ -= n;
  live_.fetch_sub(static_cast<std::uint32_t>(n), std::memory_order_relaxed);
}

void dispatcher::resize(std::size_t workers) {
  std::vector<worker_cell*> to_wake;
  auto grow = false;
  {
    lock guard{mutex_};
    max_workers_.store(workers, std::memory_order_relaxed);
    while (idle_ && live_workers() > workers) {
      auto cell = idle_;
      remove_idle(*cell);
      if (give_retire(*cell))
        to_wake.push_back(cell);
    }
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  for (auto cell : to_wake)
    wake(*cell);
  if (grow)
    staff_->grow();
}

clock::time_point dispatcher::retire_idle(clock::time_point now) {
  std::vector<worker_cell*> to_wake;
  auto again = clock::time_point::max();
  {
    lock guard{mutex_};
    auto oldest = now;
    for (auto cell = idle_; cell != nullptr;) {
      auto after = cell->idle_next_;
      if (live_workers() <= options_.min_workers)
        break;
      if (now - cell->since_ >= options_.idle_timeout) {
        remove_idle(*cell);
        if (give_retire(*cell))
          to_wake.push_back(cell);
      } else {
        oldest = std::min(oldest, cell->since_);
      }
      cell = after;
    }
    if (live_workers() > options_.min_workers)
      again = oldest + options_.idle_timeout;
  }
  for (auto cell : to_wake)
    wake(*cell);
  return again;
}

void dispatcher::close_admission() {
  lock guard{mutex_};
  admission_closed_ = true;
}

void dispatcher::cancel_all(ec why) {
  std::vector<ref_ptr<batch>> all;
  {
    lock guard{mutex_};
    for (auto list : {&waiting_, &left_, &running_})
      for (auto x = list->first; x != nullptr; x = x->next_)
        all.emplace_back(x);
    for (auto& cell : cells_)
      if (cell->current_)
        all.emplace_back(cell->current_);
  }
  for (auto& work : all)
    work->cancel(why);
}

void dispatcher::close() {
  std::vector<worker_cell*> to_wake;
  {
    lock guard{mutex_};
    to_wake = close_under_lock();
  }
  for (auto cell : to_wake)
    wake(*cell);
}

bool dispatcher::close_if_drained() {
  std::vector<worker_cell*> to_wake;
  {
    lock guard{mutex_};
    if (outstanding() > 0)
      return false;
    to_wake = close_under_lock();
  }
  for (auto cell : to_wake)
    wake(*cell);
  return true;
}

// -- private ------------------------------------------------------------------

bool dispatcher::take_attention() noexcept {
  auto asked = attention_.load(std::memory_order_relaxed);
  while (asked > 0)
    if (attention_.compare_exchange_weak(asked, asked - 1,
                                         std::memory_order_relaxed))
      return true;
  return false;
}

void dispatcher::begin_part(worker_cell& cell, batch& work) noexcept {
  ++work.participants_;
  cell.current_ = &work;
  cell.since_ = clock_.now();
}

// A worker leaves. If it was called away as the last one, the batch is left for
// whoever comes next.
void dispatcher::end_part(batch& work, leave_reason why) noexcept {
  --work.participants_;
  // A worker may be called away just when it has run the last request.
  if (why == leave_reason::exhausted || !work.has_unclaimed()) {
    unlist(work);
  } else if (work.participants_ == 0) {
    unlist(work);
    list(work, batch::place::left);
  }
}

// Takes the first batch that has something to claim out of a list.
ref_ptr<batch> dispatcher::pick(batch::place where, trash& garbage) {
  auto& from = list_of(where);
  while (from.first) {
    ref_ptr<batch> first{from.first};
    unlist(*first);
    if (first->has_unclaimed())
      return first;
    garbage.push_back(std::move(first));
  }
  return nullptr;
}

ref_ptr<batch> dispatcher::pick_waiting(trash& garbage) {
  auto found = pick(batch::place::waiting, garbage);
  // Nobody needs to come back for more batches than wait.
  if (waiting_.first == nullptr)
    attention_.store(0, std::memory_order_relaxed);
  return found;
}

ref_ptr<batch> dispatcher::pick_next(worker_cell& cell, trash& garbage) {
  ref_ptr<batch> found;
  // Those that wait go first, but a batch that all have left for them gets its
  // turn in between: so neither can starve the other.
  if (std::exchange(cell.served_waiting_, false))
    found = pick(batch::place::left, garbage);
  if (!found) {
    found = pick_waiting(garbage);
    cell.served_waiting_ = static_cast<bool>(found);
  }
  if (!found)
    found = pick(batch::place::left, garbage);
  if (!found && !closed_)
    found = pick(batch::place::running, garbage);
  // To the end, so that idle workers spread over all of them.
  if (found && found->size() > 1)
    list(*found, batch::place::running);
  return found;
}

void dispatcher::push_idle(worker_cell& cell) noexcept {
  cell.since_ = clock_.now();
  cell.idle_ = true;
  cell.idle_prev_ = nullptr;
  cell.idle_next_ = idle_;
  if (idle_)
    idle_->idle_prev_ = &cell;
  idle_ = &cell;
  ++idle_count_;
  cell.word_.store(options_.spin.count() > 0 ? worker_cell::awake
                                             : worker_cell::asleep,
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

bool dispatcher::give(worker_cell& cell, batch& work) noexcept {
  begin_part(cell, work);
  work.ref();
  return cell.give(reinterpret_cast<std::uintptr_t>(&work));
}

// Gives a batch to an idle worker, or lets it wait. Returns the worker if it
// must be woken.
worker_cell* dispatcher::hand_over(batch& work) noexcept {
  auto cell = idle_;
  if (cell == nullptr) {
    list(work, batch::place::waiting);
    attention_.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  remove_idle(*cell);
  if (work.size() > 1)
    list(work, batch::place::running);
  return give(*cell, work) ? cell : nullptr;
}

bool dispatcher::give_retire(worker_cell& cell) noexcept {
  live_.fetch_sub(1, std::memory_order_relaxed);
  cell.alive_ = false;
  return cell.give(worker_cell::retire);
}

// Returns the workers to wake.
std::vector<worker_cell*> dispatcher::close_under_lock() {
  std::vector<worker_cell*> to_wake;
  admission_closed_ = closed_ = true;
  while (auto cell = idle_) {
    remove_idle(*cell);
    if (give_retire(*cell))
      to_wake.push_back(cell);
  }
  return to_wake;
}

void dispatcher::end_outstanding() noexcept {
  if (outstanding_.fetch_sub(1, std::memory_order_seq_cst) == 1
      && watched_.load(std::memory_order_seq_cst))
    staff_->drained();
}

bool dispatcher::full() const noexcept {
  return options_.on_full == on_full::reject && idle_ == nullptr
         && queued_ >= options_.max_queued;
}

bool dispatcher::wants_growth() const noexcept {
  if (closed_ || idle_ != nullptr || live_workers() >= max_workers())
    return false;
  return waiting_.first != nullptr || left_.first != nullptr
         || (running_.first != nullptr && running_.first->has_unclaimed());
}

} // namespace troupe
