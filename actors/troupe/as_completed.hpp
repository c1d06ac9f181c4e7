// The outcomes of several operations, one after another as they complete:
// asyncio.as_completed.

#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "troupe/first.hpp"
#include "troupe/outcome_of.hpp"
#include "troupe/stream.hpp"

namespace troupe {

/// The common part: starts the operations and lists those that are complete.
class completion_list {
public:
  completion_list(stream_core& face, std::vector<ref_ptr<op_state>> parts);

  completion_list(const completion_list&) = delete;
  completion_list& operator=(const completion_list&) = delete;

protected:
  // Hears from one operation, and stands for its result.
  struct part_end final : stream_node, continuation {
    void on_complete(op_state&) noexcept override;

    completion_list* owner = nullptr;
    ref_ptr<op_state> part;
    std::size_t index = 0;
  };

  ~completion_list();

  // -- the members of stream_core ---------------------------------------------

  void do_pull() noexcept;

  void do_stop() noexcept;

  void do_set_stop_token(std::stop_token token);

  void do_help() noexcept;

  stream_node* do_pop() noexcept;

  void do_release(part_end& node) noexcept;

  bool is_exhausted() const noexcept;

  bool next_is_there() const noexcept;

private:
  struct on_token {
    completion_list* target;
    void operator()() const noexcept;
  };

  void cancel_begun() noexcept;

  stream_core& face_;
  const std::size_t count_;
  std::unique_ptr<part_end[]> ends_;
  std::optional<std::stop_callback<on_token>> on_stop_;
  // How many have begun, from the first on: only they can be stopped by other
  // threads.
  std::atomic<std::size_t> begun_{0};
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> stopped_{false};
  // Those that are complete, the latest first; and in order, for who pops.
  std::atomic<stream_node*> complete_{nullptr};
  stream_node* ready_ = nullptr;
  std::atomic<std::size_t> released_{0};
};

template <class T>
class completion_source final : public stream_source<arrival<T>>,
                                private completion_list {
public:
  explicit completion_source(std::vector<ref_ptr<op_state>> parts)
      : completion_list{*this, std::move(parts)} {}

  void pull(bool, bool) noexcept override { do_pull(); }

  void stop() noexcept override { do_stop(); }

  void set_stop_token(std::stop_token token) override {
    do_set_stop_token(std::move(token));
  }

  bool is_there() const noexcept override { return next_is_there(); }

  void help() noexcept override { do_help(); }

  void move_out(stream_node& node, std::optional<arrival<T>>& to) override {
    auto& from = static_cast<part_end&>(node);
    to.emplace(outcome_of<T>(*from.part), from.index);
  }

private:
  stream_node* pop() noexcept override { return do_pop(); }

  void release(stream_node& node) noexcept override {
    do_release(static_cast<part_end&>(node));
  }

  bool exhausted() const noexcept override { return is_exhausted(); }
};

/// Streams what comes of `ops`, in order of completion.
///
/// Shape:  n operations of one type in, n arrivals out: the outcome, and whose
///         it is. All are started, in order, when the first result is asked
///         for, on that thread. None: the stream ends at once.
/// Errors: a failed operation is an arrival like any other; `next` does not
///         throw for it, and the others go on. Stopping the stream, or leaving
///         it early, cancels those that are not complete; a stop token does
///         too, and then each still arrives.
/// Source: asyncio.as_completed; concurrent.futures.as_completed.
template <awaitable_operation Op>
stream<arrival<typename Op::value_type>> as_completed(std::vector<Op> ops) {
  using value = typename Op::value_type;
  return stream<arrival<value>>{
      make_ref<completion_source<value>>(consume_all(std::move(ops)))};
}

/// As above, for operations of the same value type that are not in a vector.
template <awaitable_operation First, awaitable_operation... Others>
requires(std::same_as<typename std::decay_t<First>::value_type,
                      typename std::decay_t<Others>::value_type>&&...)
    stream<arrival<typename std::decay_t<First>::value_type>> as_completed(
        First&& first, Others&&... others) {
  using value = typename std::decay_t<First>::value_type;
  return stream<arrival<value>>{make_ref<completion_source<value>>(consume_all(
      std::forward<First>(first), std::forward<Others>(others)...))};
}

} // namespace troupe
