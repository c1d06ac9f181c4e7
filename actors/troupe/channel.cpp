#include "troupe/channel.hpp"

namespace troupe {

namespace {

constexpr auto closed_text =
    "cannot push into a channel that is closed; the item was not taken";

} // namespace

void throw_channel_closed() {
  throw failure{ec::closed, closed_text};
}

// -- channel_items ------------------------------------------------------------

channel_items::~channel_items() {
  // One by one, since each owns the next one.
  while (!empty())
    pop_front();
}

void channel_items::push_back(std::unique_ptr<channel_item> item) noexcept {
  auto last = item.get();
  (last_ ? last_->next_ : first_) = std::move(item);
  last_ = last;
  ++size_;
}

void channel_items::push_front(std::unique_ptr<channel_item> item) noexcept {
  if (!last_)
    last_ = item.get();
  item->next_ = std::move(first_);
  first_ = std::move(item);
  ++size_;
}

std::unique_ptr<channel_item> channel_items::pop_front() noexcept {
  auto item = std::move(first_);
  first_ = std::move(item->next_);
  if (!first_)
    last_ = nullptr;
  --size_;
  return item;
}

// -- channel_push -------------------------------------------------------------

channel_push::channel_push(const ref_ptr<channel_state>& target,
                           std::unique_ptr<channel_item> item)
    : wait_op{target, target->mutex_, target->pushers_},
      target_{*target},
      item_{std::move(item)} {}

void channel_push::arrive(wake_list& woken) noexcept {
  if (target_.closed_) {
    woken.add(*this, make_failure(ec::closed, closed_text, false, label()));
    return;
  }
  if (!target_.takes_more()) {
    target_.pushers_.push_back(*this);
    return;
  }
  target_.take(std::move(item_), woken);
  woken.add(*this);
}

failure_ptr channel_push::given_up(ec why) const {
  return make_failure(why,
                      "the push into a channel was given up before there was "
                      "room; the item was not taken",
                      false, label());
}

// -- channel_pop --------------------------------------------------------------

channel_pop::channel_pop(const ref_ptr<channel_state>& target)
    : wait_op{target, target->mutex_, target->poppers_}, target_{target} {}

channel_pop::~channel_pop() {
  if (item_)
    target_->give_back(std::move(item_));
}

void channel_pop::arrive(wake_list& woken) noexcept {
  item_ = target_->give(woken);
  if (item_ || target_->closed_)
    woken.add(*this);
  else
    target_->poppers_.push_back(*this);
}

failure_ptr channel_pop::given_up(ec why) const {
  return make_failure(why,
                      "the wait for an item was given up before there was one",
                      false, label());
}

// -- channel_state ------------------------------------------------------------

void channel_state::close() {
  auto why = make_failure(ec::closed, "the channel was closed before there was "
                                      "room; the item was not taken");
  wake_list woken;
  std::lock_guard guard{mutex_};
  closed_ = true;
  woken.add_all(poppers_);
  woken.add_all(pushers_, why);
}

bool channel_state::closed() const {
  std::lock_guard guard{mutex_};
  return closed_;
}

std::size_t channel_state::size() const {
  std::lock_guard guard{mutex_};
  return items_.size();
}

std::unique_ptr<channel_item> channel_state::try_pop() {
  wake_list woken;
  std::lock_guard guard{mutex_};
  return give(woken);
}

void channel_state::give_back(std::unique_ptr<channel_item> item) noexcept {
  wake_list woken;
  std::lock_guard guard{mutex_};
  items_.push_front(std::move(item));
  if (poppers_.empty())
    return;
  auto& next = poppers_.pop_front();
  static_cast<channel_pop&>(next).item_ = items_.pop_front();
  woken.add(next);
}

bool channel_state::takes_more() const noexcept {
  return !poppers_.empty() || items_.size() < capacity_;
}

void channel_state::take(std::unique_ptr<channel_item> item,
                         wake_list& woken) noexcept {
  if (poppers_.empty()) {
    items_.push_back(std::move(item));
    return;
  }
  auto& next = poppers_.pop_front();
  static_cast<channel_pop&>(next).item_ = std::move(item);
  woken.add(next);
}

std::unique_ptr<channel_item> channel_state::give(wake_list& woken) noexcept {
  // Without room, items come straight from who waits.
  if (items_.empty())
    let_in(woken);
  if (items_.empty())
    return nullptr;
  auto item = items_.pop_front();
  if (items_.size() < capacity_)
    let_in(woken);
  return item;
}

void channel_state::let_in(wake_list& woken) noexcept {
  if (pushers_.empty())
    return;
  auto& next = pushers_.pop_front();
  items_.push_back(std::move(static_cast<channel_push&>(next).item_));
  woken.add(next);
}

} // namespace troupe
