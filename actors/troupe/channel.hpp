// A queue with bounded room between threads, actors and tasks: whoever is ahead
// waits for the others.
//
// It has no actor that takes messages, as an event has. CAF delivers types that
// have a type ID, and only the program that defines a type can give it one; nor
// does CAF deliver what cannot be copied. An actor uses `push` and `pop` with
// `then`; where values may be messages, its own mailbox is the queue.

#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include <caf/fwd.hpp>

#include "troupe/count.hpp"
#include "troupe/operation.hpp"
#include "troupe/wait_list.hpp"

namespace troupe {

/// An item on its way from a push to a pop, whatever its type.
class channel_item {
public:
  channel_item() = default;
  channel_item(const channel_item&) = delete;
  channel_item& operator=(const channel_item&) = delete;
  virtual ~channel_item() = default;

private:
  friend class channel_items;

  std::unique_ptr<channel_item> next_;
};

/// Items in the order in which they came. Adding one needs no memory.
class channel_items {
public:
  channel_items() = default;
  channel_items(const channel_items&) = delete;
  channel_items& operator=(const channel_items&) = delete;
  ~channel_items();

  bool empty() const noexcept { return size_ == 0; }

  std::size_t size() const noexcept { return size_; }

  void push_back(std::unique_ptr<channel_item> item) noexcept;

  void push_front(std::unique_ptr<channel_item> item) noexcept;

  /// @pre `!empty()`
  std::unique_ptr<channel_item> pop_front() noexcept;

private:
  std::unique_ptr<channel_item> first_;
  channel_item* last_ = nullptr;
  std::size_t size_ = 0;
};

/// Throws what a push into a closed channel fails with.
[[noreturn]] void throw_channel_closed();

/// The items and the waiters of a channel, shared by its handles. Thread-safe.
///
/// Invariants: (1) While somebody waits for an item, there is none.
///             (2) While somebody waits for room, there is none.
class channel_state final : public ref_counted {
public:
  explicit channel_state(std::size_t capacity) : capacity_{capacity} {}

  void close();

  bool closed() const;

  std::size_t size() const;

  std::size_t capacity() const noexcept { return capacity_; }

  /// Takes the item that `make()` returns, which is called if there is room.
  template <class Make>
  bool try_push(Make make) {
    wake_list woken;
    std::lock_guard guard{mutex_};
    if (closed_)
      throw_channel_closed();
    if (!takes_more())
      return false;
    take(make(), woken);
    return true;
  }

  /// Returns an item, or null.
  std::unique_ptr<channel_item> try_pop();

  /// Puts an item back, before all others, that was popped by somebody who did
  /// not take it.
  void give_back(std::unique_ptr<channel_item> item) noexcept;

private:
  friend class channel_push;
  friend class channel_pop;

  // All under the lock.
  bool takes_more() const noexcept;
  void take(std::unique_ptr<channel_item> item, wake_list& woken) noexcept;
  std::unique_ptr<channel_item> give(wake_list& woken) noexcept;
  void let_in(wake_list& woken) noexcept;

  mutable std::mutex mutex_;
  const std::size_t capacity_;
  bool closed_ = false;
  channel_items items_;
  wait_list pushers_;
  wait_list poppers_;
};

/// One push.
class channel_push final : public wait_op {
public:
  channel_push(const ref_ptr<channel_state>& target,
               std::unique_ptr<channel_item> item);

protected:
  void arrive(wake_list& woken) noexcept override;

  failure_ptr given_up(ec why) const override;

private:
  friend class channel_state;

  channel_state& target_;
  std::unique_ptr<channel_item> item_;
};

/// One pop. Its item goes back unless it is taken.
class channel_pop : public wait_op {
public:
  explicit channel_pop(const ref_ptr<channel_state>& target);

  ~channel_pop() override;

protected:
  void arrive(wake_list& woken) noexcept override;

  failure_ptr given_up(ec why) const override;

  /// Returns what was popped, once; null if the channel has ended.
  std::unique_ptr<channel_item> take_item() noexcept {
    return std::move(item_);
  }

private:
  friend class channel_state;

  ref_ptr<channel_state> target_;
  std::unique_ptr<channel_item> item_;
};

/// A handle to a channel. Copies refer to the same channel; usable from any
/// thread. Items may be move-only; they are moved on the side of who pushes and
/// on the side of who pops.
///
/// Source: asyncio.Queue, with a `maxsize` and `shutdown`; anyio's memory
/// object
///         stream, as to a capacity of 0.
template <class T>
class channel {
public:
  using value_type = T;

  /// Makes a channel with room for `capacity` items. With 0, each push waits
  /// until its item is popped. Takes the system as its relatives do; starts
  /// nothing.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for a negative number.
  channel([[maybe_unused]] caf::actor_system& system, std::size_t capacity)
      : state_{make_ref<channel_state>(
          checked_count("a channel with room for", capacity, "items", 0))} {}

  /// Adds `x` behind all others; waits for room, behind those who came before.
  ///
  /// Errors: `failure` with `ec::closed` if the channel is closed before there
  ///         is room; with `ec::cancelled` if the wait is cancelled. In both
  ///         cases nobody pops the item; it goes with the operation. When the
  ///         last handle goes before, the wait does not end.
  operation<void> push(T x) const {
    return operation<void>{
        make_ref<channel_push>(state_, std::make_unique<item>(std::move(x)))};
  }

  /// Takes the first item; waits until there is one, behind those who came
  /// before.
  ///
  /// Shape:  nothing once the channel is closed and all items are popped. An
  ///         item that was popped for an operation whose result nobody takes
  ///         (its actor has ended, it was dropped, another part of its gather
  ///         failed) is not lost: it goes to the next who pops, or to the front
  ///         of the channel.
  /// Errors: `failure` with `ec::cancelled` if the wait is cancelled; then it
  ///         has popped nothing. When the last handle goes before, the wait
  ///         does not end.
  operation<std::optional<T>> pop() const {
    return operation<std::optional<T>>{make_ref<pop_op>(state_)};
  }

  /// Adds `x` if there is room. Returns whether it did; if not, `x` is as
  /// before.
  ///
  /// Errors: throws `failure` with `ec::closed` if the channel is closed.
  [[nodiscard]] bool try_push(T&& x) const {
    return state_->try_push(
        [&x] { return std::make_unique<item>(std::move(x)); });
  }

  /// As above.
  [[nodiscard]] bool
  try_push(const T& x) const requires std::is_copy_constructible_v<T> {
    return state_->try_push([&x] { return std::make_unique<item>(x); });
  }

  /// Takes the first item, if there is one.
  std::optional<T> try_pop() const {
    std::optional<T> result;
    if (auto got = state_->try_pop())
      result.emplace(std::move(static_cast<item&>(*got).value));
    return result;
  }

  /// Says that nothing more is to come: whoever waits for room, and whoever
  /// pushes from now on, fails; items that are in the channel are still popped;
  /// then whoever pops, or waits for an item already, gets nothing. A second
  /// call does nothing.
  void close() const { state_->close(); }

  /// Returns whether the channel was closed; it may still have items.
  bool closed() const { return state_->closed(); }

  /// Returns how many items are in the channel, without those that wait for
  /// room.
  std::size_t size() const { return state_->size(); }

  std::size_t capacity() const { return state_->capacity(); }

private:
  struct item final : channel_item {
    explicit item(const T& x) : value(x) {}
    explicit item(T&& x) : value(std::move(x)) {}

    T value;
  };

  class pop_op final : public channel_pop {
  public:
    using channel_pop::channel_pop;

    void* result() override {
      if (auto got = this->take_item())
        value_.emplace(std::move(static_cast<item&>(*got).value));
      return &value_;
    }

  private:
    std::optional<T> value_;
  };

  ref_ptr<channel_state> state_;
};

} // namespace troupe
