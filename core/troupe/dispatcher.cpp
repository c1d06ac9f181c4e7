#include "troupe/dispatcher.hpp"

#include <algorithm>
#include <map>

namespace troupe {

namespace {

// How often batches of a class may be passed over before one has a turn.
constexpr std::uint32_t most_passed_over = 8;

// How many workers may be on their way before more batches wait for them to
// arrive. A wake-up takes longer than many a request: with one for each, a
// thousand small requests would cost a thousand wake-ups.
constexpr std::size_t most_waking = 2;

// Batches finished so far in this process; numbers their completions.
std::atomic<std::uint64_t> completions{0};

} // namespace

// -- lists --------------------------------------------------------------------

void batch_list::push_back(batch& x) noexcept {
  x.prev_ = last;
  x.next_ = nullptr;
  (last ? last->next_ : first) = &x;
  last = &x;
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
    return work.key_->blocked;
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

// The caller must hold a reference of its own: the list's may be the last one,
// and user code must not be destroyed under the lock.
void dispatcher::unlist(batch& work) noexcept {
  if (work.place_ == batch::place::nowhere)
    return;
  list_of(work).remove(work);
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
  result.expired = expired_.load(std::memory_order_relaxed);
  result.late = late_.load(std::memory_order_relaxed);
  result.resource = resource_stats_;
  result.resource.unavailable = resting_;
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
  trash garbage;
  std::vector<worker_cell*> to_wake;
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
      find_key(*work);
      if (auto cell = hand_over(*work))
        to_wake.push_back(cell);
      // The limit of the key may be higher than it was.
      if (work->key_)
        serve_idle(to_wake, garbage);
      if (work->place_ == batch::place::waiting
          || work->place_ == batch::place::blocked) {
        work->counted_as_queued_ = true;
        ++queued_;
      }
    }
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  if (over)
    end_outstanding();
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
    if (work.place_ == batch::place::nowhere) {
      // One that has all the workers it may have is listed when one leaves.
      if (work.participants_ < work.max_in_flight_)
        to_wake = hand_over(work);
    } else if (idle_ && work.place_ == batch::place::running) {
      auto cell = idle_;
      remove_idle(*cell);
      if (give(*cell, work))
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

void dispatcher::withdraw(batch& work) noexcept {
  ref_ptr<batch> keep{&work};
  trash garbage;
  std::vector<worker_cell*> to_wake;
  {
    lock guard{mutex_};
    if (work.place_ == batch::place::nowhere || work.has_unclaimed())
      return;
    unlist(work);
    if (work.key_) {
      unblock(*work.key_);
      serve_idle(to_wake, garbage);
    }
  }
  wake_all(to_wake);
}

// -- the worker's side --------------------------------------------------------

bool dispatcher::take_up(worker_cell& cell, batch& work) {
  // Written before the batch was given, and then by nobody else. Who comes from
  // `next` was not idle.
  if (cell.waking_ && !cell.examine_resource()) {
    step_back(cell, work);
    return false;
  }
  if (work.size() == 1 && !cell.waking_)
    return true;
  trash garbage;
  std::vector<worker_cell*> others;
  worker_cell* to_wake[2] = {};
  auto n = 0;
  auto grow = false;
  {
    lock guard{mutex_};
    arrive(cell);
    serve_idle(others, garbage);
    // One has taken up all of a single request.
    auto more = work.size() > 1;
    while (more && n < 2 && idle_ && work.unclaimed() > 0
           && may_have_worker(work)) {
      auto other = idle_;
      remove_idle(*other);
      if (give(*other, work))
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
  return true;
}

worker_cell::hand_off dispatcher::next_work(worker_cell& cell,
                                            const ref_ptr<batch>& done,
                                            leave_reason why) {
  // Declared before the lock: what drops here must not do so under it.
  trash garbage;
  ref_ptr<batch> work;
  std::vector<worker_cell*> to_wake;
  auto retired = false;
  auto grow = false;
  {
    lock guard{mutex_};
    cell.current_ = nullptr;
    if (cell.starting_) {
      cell.starting_ = false;
      --starting_;
    }
    if (done)
      end_part(*done);
    // A worker that was called away comes for those that wait.
    if (why == leave_reason::yielded)
      cell.served_waiting_ = false;
    auto surplus = live_workers() > max_workers();
    if (!surplus)
      work = pick_next(cell, garbage);
    if (surplus || (!work && closed_)) {
      // It may have come for a batch that waits: somebody else must.
      if (somebody_waits()) {
        call_workers(1);
        serve_idle(to_wake, garbage);
      }
      live_.fetch_sub(1, std::memory_order_relaxed);
      cell.alive_ = false;
      retired = true;
    } else if (work)
      begin_part(cell, *work);
    else
      push_idle(cell);
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  wake_all(to_wake);
  if (grow)
    staff_->grow();
  return {std::move(work), retired};
}

void dispatcher::lost(worker_cell& cell, ref_ptr<batch> held) {
  auto handed = std::move(held);
  trash garbage;
  std::vector<worker_cell*> to_wake;
  auto grow = false;
  {
    lock guard{mutex_};
    if (cell.users_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      free_cells_.push_back(&cell);
    cell.failed_opens_ = 0;
    // Else it has retired, and was counted out then.
    if (!std::exchange(cell.alive_, false))
      return;
    if (std::exchange(cell.resting_, false))
      --resting_;
    if (cell.starting_) {
      cell.starting_ = false;
      --starting_;
    }
    cell.current_ = nullptr;
    live_.fetch_sub(1, std::memory_order_relaxed);
    arrive(cell);
    if (cell.idle_)
      remove_idle(cell);
    if (auto found = cell.take(); !handed)
      handed = std::move(found.work);
    if (handed) {
      leave(*handed);
      if (handed->participants_ == 0 && handed->has_unclaimed()) {
        unlist(*handed);
        if (auto other = hand_over(*handed))
          to_wake.push_back(other);
      }
      release_key(*handed);
    }
    serve_idle(to_wake, garbage);
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  wake_all(to_wake);
  if (grow)
    staff_->grow();
}

// -- the batch's side ---------------------------------------------------------

void dispatcher::account(batch& work) noexcept {
  work.id_ = completions.fetch_add(1, std::memory_order_relaxed) + 1;
  auto counts = work.counts();
  auto late = work.late();
  batches_.fetch_add(1, std::memory_order_relaxed);
  if (counts.succeeded)
    succeeded_.fetch_add(counts.succeeded, std::memory_order_relaxed);
  if (counts.failed)
    failed_.fetch_add(counts.failed, std::memory_order_relaxed);
  if (counts.cancelled)
    cancelled_.fetch_add(counts.cancelled, std::memory_order_relaxed);
  if (counts.expired)
    expired_.fetch_add(counts.expired, std::memory_order_relaxed);
  if (late)
    late_.fetch_add(late, std::memory_order_relaxed);
  if (subscribed_.load(std::memory_order_relaxed))
    staff_->completed(work.summary());
  auto before =
      work.phase_.exchange(batch::phase::over, std::memory_order_seq_cst);
  if (work.wanted_key()) {
    trash garbage;
    std::vector<worker_cell*> to_wake;
    {
      lock guard{mutex_};
      if (work.key_) {
        unlist(work);
        release_key(work);
        serve_idle(to_wake, garbage);
      }
    }
    wake_all(to_wake);
  }
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
  // Nobody has tried since the last worker has ended.
  if (live == 0)
    outage_.reset();
  if (closed_ || live >= max_workers())
    return 0;
  auto room = max_workers() - live;
  std::uint64_t demand = 0;
  for (auto& of : classes_)
    for (auto list : {&of.waiting, &of.left, &of.running})
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
    // Those first that are of no use.
    retire_resting(to_wake, workers);
    while (idle_ && live_workers() > workers) {
      auto cell = idle_;
      remove_idle(*cell);
      if (give_retire(*cell))
        to_wake.push_back(cell);
    }
    if (wants_growth() && !growth_asked_)
      grow = growth_asked_ = true;
  }
  wake_all(to_wake);
  if (grow)
    staff_->grow();
}

clock::time_point dispatcher::retire_idle(clock::time_point now) {
  std::vector<worker_cell*> to_wake;
  auto again = clock::time_point::max();
  {
    lock guard{mutex_};
    auto oldest = now;
    for (auto& cell : cells_)
      if (cell->resting_ && now - cell->since_ < options_.idle_timeout)
        oldest = std::min(oldest, cell->since_);
    if (resting_ > 0 && !wants_workers())
      retire_resting(to_wake, options_.min_workers,
                     now - options_.idle_timeout);
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
  wake_all(to_wake);
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
    all = listed();
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
  wake_all(to_wake);
}

bool dispatcher::close_if_drained() {
  std::vector<worker_cell*> to_wake;
  {
    lock guard{mutex_};
    if (outstanding() > 0)
      return false;
    to_wake = close_under_lock();
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

// Asks workers of whichever batch to come back.
void dispatcher::call_workers(std::int32_t n) noexcept {
  for (auto& wanted : attention_)
    wanted.fetch_add(n, std::memory_order_relaxed);
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
         && (!work.key_ || work.key_->in_use < work.key_->limit);
}

void dispatcher::begin_part(worker_cell& cell, batch& work) noexcept {
  ++work.participants_;
  ++class_of(work).participants;
  if (work.key_)
    ++work.key_->in_use;
  cell.current_ = &work;
  cell.since_ = clock_.now();
  // Only those that may have one more worker are listed.
  if (work.place_ == batch::place::running && !may_have_worker(work)) {
    unlist(work);
    relist(work);
  }
}

// A worker is no longer part of the batch.
void dispatcher::leave(batch& work) noexcept {
  --work.participants_;
  --class_of(work).participants;
  if (work.key_)
    --work.key_->in_use;
}

// A worker has left, and the batch is listed as it should be: others may have
// the room that it had.
void dispatcher::release_key(batch& work) noexcept {
  if (!work.key_)
    return;
  unblock(*work.key_);
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
  work.key_ = &share;
  work.holds_key_ = true;
  unblock(share);
}

// The batch is over, but workers may be on their way back from it.
void dispatcher::forget_key(batch& work) noexcept {
  if (work.participants_ > 0 || !std::exchange(work.holds_key_, false))
    return;
  unlist(work);
  if (--work.key_->users == 0)
    keys_.erase(keys_.find(work.wanted_key()->key));
  work.key_ = nullptr;
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

// -- picking ------------------------------------------------------------------

// Takes the first batch that has something to claim, and may have one more
// worker, out of a list.
ref_ptr<batch> dispatcher::pick(batch_list& from, trash& garbage) {
  while (from.first) {
    ref_ptr<batch> first{from.first};
    if (!first->has_unclaimed()) {
      unlist(*first);
      // The room that it had waited for is free for the next one.
      if (first->key_)
        unblock(*first->key_);
      garbage.push_back(std::move(first));
    } else if (!may_have_worker(*first)) {
      // Its key has no room any more. Still queued, if it was.
      from.remove(*first);
      first->place_ = batch::place::blocked;
      first->key_->blocked.push_back(*first);
    } else {
      unlist(*first);
      return first;
    }
  }
  return nullptr;
}

// Those that wait go first, but a batch that all have left for them gets its
// turn in between, as `left_first` says: so neither can starve the other.
ref_ptr<batch> dispatcher::pick_of(service_class& from, worker_cell& cell,
                                   bool left_first, trash& garbage) {
  ref_ptr<batch> found;
  if (left_first)
    found = pick(from.left, garbage);
  if (!found) {
    found = pick(from.waiting, garbage);
    cell.served_waiting_ = static_cast<bool>(found);
  }
  if (!found)
    found = pick(from.left, garbage);
  if (!found && !closed_)
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
      if (!found)
        found = pick_of(of, cell, left_first, garbage);
  } while (!found && somebody_waits());
  if (!somebody_waits()) {
    // Nobody needs to come back for more batches than wait.
    for (auto& wanted : attention_)
      wanted.store(0, std::memory_order_relaxed);
  }
  if (!found)
    return nullptr;
  class_of(*found).passed_over = 0;
  for (auto c = static_cast<std::size_t>(found->priority_) + 1; c < priorities;
       ++c)
    if (classes_[c].has_waiting()) {
      ++classes_[c].passed_over;
      // So that this class is offered a worker again, after one more request.
      auto& wanted = attention_[static_cast<std::size_t>(found->priority_)];
      if (wanted.load(std::memory_order_relaxed) == 0)
        wanted.store(1, std::memory_order_relaxed);
    }
  // To the end, so that idle workers spread over all of them.
  if (found->size() > 1)
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

bool dispatcher::give(worker_cell& cell, batch& work) noexcept {
  begin_part(cell, work);
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
worker_cell* dispatcher::hand_over(batch& work) noexcept {
  // Called for those that have fewer workers than they may have; so it is the
  // key.
  if (!may_have_worker(work)) {
    list(work, batch::place::blocked);
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
  if (work.size() > 1)
    list(work, batch::place::running);
  return give(*cell, work) ? cell : nullptr;
}

// Gives what waits to idle workers, as long as there are both: after something
// that let batches wait which had been blocked.
void dispatcher::serve_idle(std::vector<worker_cell*>& to_wake,
                            trash& garbage) {
  while (idle_ && waking_ < most_waking && somebody_waits()) {
    auto work = pick_next(*idle_, garbage);
    if (!work)
      return;
    auto cell = idle_;
    remove_idle(*cell);
    if (give(*cell, *work))
      to_wake.push_back(cell);
    // The list may have had the last reference but this one.
    garbage.push_back(std::move(work));
  }
}

void dispatcher::wake_all(const std::vector<worker_cell*>& cells) noexcept {
  for (auto cell : cells)
    wake(*cell);
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
  retire_resting(to_wake, 0);
  return to_wake;
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
  return !closed_ && idle_ == nullptr && live_workers() < max_workers()
         && wants_workers();
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
