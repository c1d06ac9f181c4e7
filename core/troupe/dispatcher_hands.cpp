// The part of the dispatcher that lets workers take several submissions of one
// request each together, when these are tiny, and sees to it that none of them
// waits behind one that is not.

#include "troupe/dispatcher.hpp"

#include <algorithm>

#include "troupe/fetch_early.hpp"

namespace troupe {

// Whether the batch is one request without limits of its own.
bool dispatcher::fits_hand(const batch& work) noexcept {
  return work.size() == 1 && !work.modified_ && !work.can_be_left()
         && work.max_in_flight_ == batch::max_size;
}

// Whether there is nothing that a worker with several submissions in its hand
// would be late for: nobody who could take one of them instead, unless somebody
// is on the way who will look after that, and nothing of another priority, or
// left by its workers, that is to have a turn in between.
bool dispatcher::may_take_several(const batch& first) const noexcept {
  if ((idle_ && waking_ == 0) || cooperative() || crowded()
      || live_workers() < capacity() || options_.on_full == on_full::reject)
    return false;
  auto& own = classes_[static_cast<std::size_t>(first.priority_)];
  return !own.left.first
         && std::none_of(classes_.begin(), classes_.end(), [&](const auto& of) {
              return &of != &own && of.has_waiting();
            });
}

// The worker has taken `first` and begins with it. More of those that wait
// behind go with it, as many as are likely to be tiny; towards the end of the
// queue, some are left for the others.
void dispatcher::deal(worker_cell& cell, batch& first) noexcept {
  auto& mine = cell.hand_;
  mine.since = cell.mark();
  auto fair = queued_ / (2 * std::max<std::size_t>(1, live_workers())) + 1;
  auto most = std::min<std::size_t>(mine.fit, fair);
  if (most < 2 || !fits_hand(first) || !may_take_several(first))
    return;
  auto& waiting = class_of(first).waiting;
  std::uint32_t n = 1;
  for (auto x = waiting.first; n < most && x && fits_hand(*x);
       x = waiting.first) {
    fetch_early(x->next_, single_bytes);
    // The reference that the list had goes with it, and it counts as queued
    // until it is begun.
    waiting.remove(*x);
    x->place_ = batch::place::nowhere;
    enter(*x);
    mine.batches[n++] = x;
  }
  if (n == 1)
    return;
  first.ref();
  mine.batches[0] = &first;
  mine.reset(n);
  cell.hand_prev_ = last_hand_;
  (last_hand_ ? last_hand_->hand_next_ : first_hand_) = &cell;
  last_hand_ = &cell;
  cell.hand_listed_ = true;
}

// Learns from what the worker has just done how many tiny submissions fit into
// the time that a hand should take.
void dispatcher::learn(worker_cell& cell, const batch& done) noexcept {
  auto& mine = cell.hand_;
  if (done.is_burst_ && done.size() > 1) {
    learn_size((cell.mark() - mine.since) / done.size());
    return;
  }
  if (done.size() > 1)
    return;
  auto n = mine.empty() ? 1 : mine.position() + 1;
  auto each = std::max<std::int64_t>(1, (cell.mark() - mine.since).count() / n);
  learn_size(std::chrono::nanoseconds{each});
  auto fit = std::chrono::nanoseconds{hand::time}.count() / each;
  mine.fit = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(fit, 1, std::min(hand::max_size, 4 * mine.fit)));
}

// Returns what the worker goes on with, without a look at the queue; null if it
// has no more in its hand, or has been at it for longer than it should.
ref_ptr<batch> dispatcher::next_in_hand(worker_cell& cell) noexcept {
  auto& mine = cell.hand_;
  if (mine.empty() || cell.mark() - mine.since > hand::time || crowded()
      || cell.resource_stale() || !mine.go_on())
    return nullptr;
  auto& found = *mine.batches[mine.position()];
  cell.current_.store(&found, std::memory_order_release);
  return ref_ptr<batch>{&found};
}

// Has others see what the worker has not begun with: in front of all that
// waits, since it came before. Who calls this sees to it that idle workers get
// some.
void dispatcher::recall(worker_cell& cell) noexcept {
  if (!cell.hand_listed_)
    return;
  auto& mine = cell.hand_;
  mine.call_back();
  auto at = mine.position();
  for (auto i = mine.size - 1; i > at; --i) {
    auto& x = *mine.batches[i];
    if (x.has_unclaimed()) {
      x.ref();
      x.place_ = batch::place::waiting;
      class_of(x).waiting.push_front(x);
    }
  }
  for (std::uint32_t i = 0; i < mine.size; ++i)
    if (i <= at || !mine.batches[i]->has_unclaimed())
      count_begun(*mine.batches[i]);
  cell.hand_listed_ = false;
  (cell.hand_prev_ ? cell.hand_prev_->hand_next_ : first_hand_) =
      cell.hand_next_;
  (cell.hand_next_ ? cell.hand_next_->hand_prev_ : last_hand_) =
      cell.hand_prev_;
  cell.hand_prev_ = cell.hand_next_ = nullptr;
}

void dispatcher::recall_all() noexcept {
  while (first_hand_)
    recall(*first_hand_);
}

// Recalls the oldest hand if its worker is late: there was one among them that
// is not tiny. Returns whether it did.
bool dispatcher::recall_late(
    std::chrono::steady_clock::time_point now) noexcept {
  auto late = first_hand_ && now - first_hand_->hand_.since > 2 * hand::time;
  if (late)
    recall(*first_hand_);
  return late;
}

// Ends the worker's part in all but the one that it is at, which is its current
// batch from now on like any other.
void dispatcher::lay_down(worker_cell& cell, laid_down& over) noexcept {
  auto& mine = cell.hand_;
  if (mine.empty())
    return;
  recall(cell);
  auto at = mine.position();
  for (std::uint32_t i = 0; i < mine.size; ++i) {
    auto& x = *mine.batches[i];
    over.batches[over.size++] = &x;
    if (i == at)
      continue;
    leave(x);
    if (!x.has_unclaimed())
      unlist(x);
    if (lost_the_last(x))
      over.lost |= std::uint32_t{1} << i;
  }
  mine.reset(0);
}

// Those that were begun since somebody looked are not queued any more.
void dispatcher::count_begun_of_hands() noexcept {
  for (auto cell = first_hand_; cell != nullptr; cell = cell->hand_next_) {
    auto at = cell->hand_.position();
    for (std::uint32_t i = 0; i <= at; ++i)
      count_begun(*cell->hand_.batches[i]);
  }
}

// Returns how many submissions are queued.
std::size_t dispatcher::queued_now() const noexcept {
  auto result = queued_;
  for (auto cell = first_hand_; cell != nullptr; cell = cell->hand_next_) {
    auto at = cell->hand_.position();
    for (std::uint32_t i = 0; i <= at; ++i)
      result -= cell->hand_.batches[i]->counted_as_queued_;
  }
  return result;
}

// Without the lock: these may be the last references.
void dispatcher::let_go(const laid_down& over, worker_cell& cell) noexcept {
  for (std::uint32_t i = 0; i < over.size; ++i) {
    if ((over.lost >> i & 1) != 0)
      over.batches[i]->lose(cell);
    over.batches[i]->deref();
  }
}

} // namespace troupe
