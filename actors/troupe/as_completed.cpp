#include "troupe/as_completed.hpp"

namespace troupe {

completion_list::completion_list(stream_core& face,
                                 std::vector<ref_ptr<op_state>> parts)
    : face_{face},
      count_{parts.size()},
      ends_{std::make_unique<part_end[]>(parts.size())} {
  for (std::size_t i = 0; i < count_; ++i) {
    ends_[i].owner = this;
    ends_[i].part = std::move(parts[i]);
    ends_[i].index = i;
  }
}

completion_list::~completion_list() {
  on_stop_.reset();
}

// -- the reader's side --------------------------------------------------------

void completion_list::do_pull() noexcept {
  for (auto i = begun_.load(std::memory_order_relaxed); i < count_; ++i) {
    auto& end = ends_[i];
    auto part = end.part;
    // Released by `on_complete`, since parts may outlive the stream.
    face_.ref();
    if (!part->started())
      part->measure();
    if (!cancelled_.load(std::memory_order_seq_cst))
      part->start();
    begun_.store(i + 1, std::memory_order_seq_cst);
    // Whoever cancelled meanwhile has passed over this part, unless it saw that
    // it had begun.
    if (cancelled_.load(std::memory_order_seq_cst))
      part->cancel(ec::cancelled);
    if (!part->attach(end))
      end.on_complete(*part);
  }
}

void completion_list::do_stop() noexcept {
  if (stopped_.exchange(true, std::memory_order_seq_cst))
    return;
  // On the reader's thread, where tasks among them may be dropped.
  for (auto i = begun_.exchange(count_, std::memory_order_seq_cst); i < count_;
       ++i)
    ends_[i].part->forget();
  cancel_begun();
  face_.serve();
}

void completion_list::do_set_stop_token(std::stop_token token) {
  on_stop_.emplace(std::move(token), on_token{this});
}

void completion_list::on_token::operator()() const noexcept {
  // The token may be stopped while the last reference goes.
  if (target->face_.try_ref()) {
    target->cancel_begun();
    target->face_.deref();
  }
}

void completion_list::cancel_begun() noexcept {
  cancelled_.store(true, std::memory_order_seq_cst);
  auto begun = begun_.load(std::memory_order_seq_cst);
  for (std::size_t i = 0; i < begun; ++i)
    if (auto& part = *ends_[i].part; part.started() && !part.done())
      part.cancel(ec::cancelled);
}

void completion_list::do_help() noexcept {
  // A worker that waits for its own pool must run one of them itself, and may
  // then be held up by it.
  auto begun = begun_.load(std::memory_order_seq_cst);
  for (std::size_t i = 0; i < begun && face_.waiting() > 0; ++i)
    ends_[i].part->help();
}

stream_node* completion_list::do_pop() noexcept {
  if (stopped_.load(std::memory_order_acquire))
    return nullptr;
  if (ready_ == nullptr) {
    auto latest = complete_.load(std::memory_order_seq_cst);
    if (latest == nullptr)
      return nullptr;
    latest = complete_.exchange(nullptr, std::memory_order_acquire);
    while (latest) {
      auto next = latest->next;
      latest->next = ready_;
      ready_ = latest;
      latest = next;
    }
  }
  return std::exchange(ready_, ready_->next);
}

void completion_list::do_release(part_end&) noexcept {
  released_.fetch_add(1, std::memory_order_seq_cst);
}

bool completion_list::is_exhausted() const noexcept {
  return stopped_.load(std::memory_order_acquire)
         || released_.load(std::memory_order_acquire) == count_;
}

bool completion_list::next_is_there() const noexcept {
  return ready_ != nullptr
         || complete_.load(std::memory_order_relaxed) != nullptr
         || is_exhausted();
}

// -- the side of the operations -----------------------------------------------

void completion_list::part_end::on_complete(op_state&) noexcept {
  auto& list = *owner;
  ref_ptr<stream_core> keep{&list.face_, adopt_ref};
  next = list.complete_.load(std::memory_order_relaxed);
  while (!list.complete_.compare_exchange_weak(
      next, static_cast<stream_node*>(this), std::memory_order_seq_cst))
    continue;
  list.face_.serve();
}

} // namespace troupe
