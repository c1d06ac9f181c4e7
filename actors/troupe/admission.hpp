// Waiting until the queue of a pool has room for what was submitted: a thread
// blocks for it in `start`, an actor or a task waits for the operation that
// `admit` returns, holding no thread.

#pragma once

#include <optional>
#include <utility>

#include "troupe/op_state.hpp"
#include "troupe/room_waiter.hpp"

namespace troupe {

template <class T>
class operation;

/// Blocks until the pool in which `op` was started has room, if it has not and
/// the calling thread may wait for that: not a worker, lest full queues wait
/// for each other, nor, as far as can be told, an event-based actor.
void await_room(const op_state& op);

/// Starts another operation, and is complete when the pool has room for it.
class admission_state : public plain_op, private room_waiter {
public:
  explicit admission_state(ref_ptr<op_state> inner)
      : inner_{std::move(inner)} {}

  ~admission_state() override;

  void forget() noexcept override { inner_->forget(); }

  void set_label(std::string label) override {
    inner_->set_label(std::move(label));
  }

  std::string_view label_text() const noexcept override {
    return inner_->label_text();
  }

  bool modify(const modifiers& mods) override { return inner_->modify(mods); }

  clock& time() const noexcept override { return inner_->time(); }

protected:
  ref_ptr<op_state> take_inner() noexcept {
    taken_ = true;
    return inner_;
  }

  void begin() override;

  void stop(ec why) noexcept override;

  void drop(ec why) noexcept override;

private:
  void on_room() noexcept override { finish(); }

  const ref_ptr<op_state> inner_;
  // Whether somebody else has it by now.
  bool taken_ = false;
};

/// Adds the started operation as the result.
template <class T>
class admission final : public admission_state {
public:
  using admission_state::admission_state;

  void* result() override {
    if (!result_)
      result_.emplace(take_inner());
    return &*result_;
  }

private:
  std::optional<operation<T>> result_;
};

} // namespace troupe
