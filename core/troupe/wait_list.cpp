#include "troupe/wait_list.hpp"

namespace troupe {

// -- wait_op ------------------------------------------------------------------

wait_op::wait_op(ref_ptr<ref_counted> home, std::mutex& guard, wait_list& list)
    : home_{std::move(home)}, guard_{guard}, list_{list} {}

void wait_op::begin() {
  wake_list woken;
  std::lock_guard guard{guard_};
  arrived_ = true;
  if (stopped_ == ec{})
    arrive(woken);
  else
    woken.add(*this, given_up(stopped_));
}

void wait_op::stop(ec why) noexcept {
  {
    std::lock_guard guard{guard_};
    if (!arrived_) {
      stopped_ = why;
      return;
    }
    if (!list_.remove(*this))
      return;
  }
  finish_with(given_up(why));
}

// -- wait_list ----------------------------------------------------------------

void wait_list::push_back(wait_op& op) noexcept {
  op.prev_ = last_;
  op.next_ = nullptr;
  op.listed_ = true;
  (last_ ? last_->next_ : first_) = &op;
  last_ = &op;
  ++size_;
}

wait_op& wait_list::pop_front() noexcept {
  auto& op = *first_;
  remove(op);
  return op;
}

bool wait_list::remove(wait_op& op) noexcept {
  if (!op.listed_)
    return false;
  op.listed_ = false;
  (op.prev_ ? op.prev_->next_ : first_) = op.next_;
  (op.next_ ? op.next_->prev_ : last_) = op.prev_;
  op.prev_ = op.next_ = nullptr;
  --size_;
  return true;
}

// -- wake_list ----------------------------------------------------------------

namespace {

// Completing an operation may wake others on the same thread: a permit that
// nobody took goes to the next one, whose operation nobody took either. Beyond
// this depth they are appended to the list that is being woken, or a long queue
// would overflow the stack. Not at once: whoever was woken should not have to
// wait until unrelated continuations have returned.
constexpr auto max_nesting = 16;

struct nesting {
  int depth = 0;
  wake_list* innermost = nullptr;
};

thread_local nesting waking;

} // namespace

void wake_list::add(wait_op& op, failure_ptr failure) noexcept {
  op.failure_ = std::move(failure);
  op.next_ = nullptr;
  (last_ ? last_->next_ : first_) = &op;
  last_ = &op;
}

void wake_list::add_all(wait_list& from, const failure_ptr& failure) noexcept {
  while (!from.empty())
    add(from.pop_front(), failure);
}

void wake_list::wake() noexcept {
  if (!first_)
    return;
  if (waking.depth == max_nesting) {
    auto& heir = *waking.innermost;
    (heir.last_ ? heir.last_->next_ : heir.first_) = first_;
    heir.last_ = last_;
    return;
  }
  auto outer = std::exchange(waking, nesting{waking.depth + 1, this});
  while (first_) {
    // Each holds a reference to itself until it has finished.
    auto op = std::exchange(first_, first_->next_);
    if (!first_)
      last_ = nullptr;
    op->finish();
  }
  waking = outer;
}

} // namespace troupe
