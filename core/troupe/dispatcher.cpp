#include "troupe/dispatcher.hpp"

#include <algorithm>

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

void dispatcher::batch_list::push_front(batch& x) noexcept {
  x.prev_ = nullptr;
  x.next_ = first;
  (first ? first->prev_ : last) = &x;
  first = &x;
}

void dispatcher::batch_list::remove(batch& x) noexcept {
  (x.prev_ ? x.prev_->next_ : first) = x.next_;
  (x.next_ ? x.next_->prev_ : last) = x.prev_;
  x.prev_ = x.next_ = nullptr;
}

// Puts a batch into a list, which holds a reference to it.
void dispatcher::list(batch& work, batch::place where, bool front) noexcept {
  work.ref();
  work.place_ = where;
  auto& to = where == batch::place::waiting ? waiting_ : running_;
  if (front)
    to.push_front(work);
  else
    to.push_back(work);
}

// The caller must hold a reference of its own: the list's may be the last one,
// and user code must not be destroyed under the lock.
void dispatcher::unlist(batch& work) noexcept {
  if (work.place_ == batch::place::nowhere)
    return;
  auto& from = work.place_ == batch::place::waiting ? waiting_ : running_;
  from.remove(work);
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
  std::vector<const batch*> seen;
  for (auto& cell : cells_) {
    auto work = cell->current_;
    if (work == nullptr)
      continue;
    what.still_running.push_back(
        {std::string{work->label()}, cell->id(), cell->since_});
    if (std::find(seen.begin(), seen.end(), work) != seen.end())
      continue;
    seen.push_back(work);
    auto dropped = work->cancelled_count_.load(std::memory_order_relaxed);
    what.cancelled += dropped;
    what.drained += work->size() - work->barrier_.remaining() - dropped;
  }
}

// -- the submitter's side -----------------------------------------------------

void dispatcher::submit(ref_ptr<batch> work) {
  auto caller = worker_cell::current();
  auto nested = caller && &caller->home() == this;
  worker_cell* to_wake = nullptr;
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
    auto made = batch::phase::made;
    if (!work->phase_.compare_exchange_strong(made, batch::phase::admitted,
                                              std::memory_order_seq_cst))
      return;
    outstanding_.fetch_add(1, std::memory_order_seq_cst);
    if (auto cell = idle_) {
      remove_idle(*cell);
      if (work->size() > 1)
        list(*work, batch::place::running);
      if (give(*cell, *work))
        to_wake = cell;
    } else {
      list(*work, batch::place::waiting);
      work->counted_as_queued_ = true;
      ++queued_;
      attention_.fetch_add(1, std::memory_order_relaxed);
    }
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  if (to_wake)
    staff_->wake(*to_wake);
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

void dispatcher::take_up(worker_cell&, batch& work) {
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
      staff_->wake(*cell);
  if (grow)
    staff_->grow();
}

worker_cell::hand_off dispatcher::next(worker_cell& cell, ref_ptr<batch> done,
                                       leave_reason why) {
  // Declared before the lock: what drops here must not do so under it.
  trash garbage;
  ref_ptr<batch> left;
  ref_ptr<batch> work;
  auto grow = false;
  {
    lock guard{mutex_};
    cell.current_ = nullptr;
    if (cell.starting_) {
      cell.starting_ = false;
      --starting_;
    }
    auto yielded = done && why == leave_reason::yielded;
    if (done && !yielded) {
      end_part(*done);
      unlist(*done);
    }
    if (yielded && cell.return_to_) {
      // It was drawn away from a batch that drew it away from another one. Two
      // are enough to alternate between.
      left = std::move(cell.return_to_);
      end_part(*left);
    }
    if (yielded)
      cell.return_to_ = done;
    if (live_workers() > max_workers() || closed_) {
      if (cell.return_to_) {
        left = std::move(cell.return_to_);
        end_part(*left);
      }
      live_.fetch_sub(1, std::memory_order_relaxed);
      cell.alive_ = false;
      return {nullptr, true};
    }
    // A worker that served one batch that waited goes back to the one it was
    // drawn away from: so neither can starve the other.
    if (!yielded && cell.return_to_) {
      left = std::move(cell.return_to_);
      end_part(*left);
      if (left->has_unclaimed())
        work = left;
    }
    if (!work) {
      work = pick_waiting(garbage);
      if (work && work->size() > 1 && cell.return_to_) {
        left = std::move(cell.return_to_);
        end_part(*left);
      }
    }
    if (!work && cell.return_to_) {
      left = std::move(cell.return_to_);
      end_part(*left);
      if (left->has_unclaimed())
        work = left;
    }
    if (!work)
      work = pick_running(garbage);
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
  ref_ptr<batch> left;
  auto grow = false;
  {
    lock guard{mutex_};
    if (!cell.alive_) {
      // It retired, so nobody is about to wake it: the cell can serve again.
      free_cells_.push_back(&cell);
      return;
    }
    cell.alive_ = false;
    if (cell.starting_) {
      cell.starting_ = false;
      --starting_;
    }
    cell.current_ = nullptr;
    live_.fetch_sub(1, std::memory_order_relaxed);
    if (cell.idle_)
      remove_idle(cell);
    left = std::move(cell.return_to_);
    if (left)
      end_part(*left);
    auto found = cell.take();
    handed = std::move(found.work);
    if (handed)
      end_part(*handed);
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
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
  if (before == batch::phase::admitted
      && outstanding_.fetch_sub(1, std::memory_order_seq_cst) == 1
      && watched_.load(std::memory_order_seq_cst))
    staff_->drained();
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
  for (auto list : {&waiting_, &running_})
    for (auto x = list->first; x != nullptr && demand < room + starting_;
         x = x->next_)
      demand += x->unclaimed();
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
    staff_->wake(*cell);
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
    staff_->wake(*cell);
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
    for (auto list : {&waiting_, &running_})
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
    admission_closed_ = closed_ = true;
    while (auto cell = idle_) {
      remove_idle(*cell);
      if (give_retire(*cell))
        to_wake.push_back(cell);
    }
  }
  for (auto cell : to_wake)
    staff_->wake(*cell);
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

// A worker leaves. If it was the last one and something is left to claim, the
// batch waits for another.
void dispatcher::end_part(batch& work) noexcept {
  if (--work.participants_ > 0 || !work.has_unclaimed())
    return;
  ref_ptr<batch> keep{&work};
  unlist(work);
  list(work, batch::place::waiting, true);
}

ref_ptr<batch> dispatcher::pick_waiting(trash& garbage) {
  ref_ptr<batch> found;
  while (!found && waiting_.first) {
    ref_ptr<batch> first{waiting_.first};
    unlist(*first);
    if (first->has_unclaimed())
      found = std::move(first);
    else
      garbage.push_back(std::move(first));
  }
  if (found && found->size() > 1)
    list(*found, batch::place::running);
  // Nobody needs to come back for more batches than wait.
  if (waiting_.first == nullptr)
    attention_.store(0, std::memory_order_relaxed);
  return found;
}

ref_ptr<batch> dispatcher::pick_running(trash& garbage) {
  while (running_.first) {
    ref_ptr<batch> first{running_.first};
    unlist(*first);
    if (first->has_unclaimed()) {
      // To the end, so that idle workers spread over all of them.
      list(*first, batch::place::running);
      return first;
    }
    garbage.push_back(std::move(first));
  }
  return nullptr;
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

bool dispatcher::give(worker_cell& cell, batch& work) noexcept {
  begin_part(cell, work);
  work.ref();
  return cell.give(reinterpret_cast<std::uintptr_t>(&work));
}

bool dispatcher::give_retire(worker_cell& cell) noexcept {
  live_.fetch_sub(1, std::memory_order_relaxed);
  cell.alive_ = false;
  return cell.give(worker_cell::retire);
}

bool dispatcher::full() const noexcept {
  return options_.on_full == on_full::reject && idle_ == nullptr
         && queued_ >= options_.max_queued;
}

bool dispatcher::wants_growth() const noexcept {
  if (closed_ || idle_ != nullptr || live_workers() >= max_workers())
    return false;
  return waiting_.first != nullptr
         || (running_.first != nullptr && running_.first->has_unclaimed());
}

} // namespace troupe
