// Waits for several operations at once: asyncio.gather. All results in input
// order; on the first failure by arrival the rest is cancelled, and that
// failure is delivered when everything that had started has returned.

#pragma once

#include <atomic>
#include <concepts>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "troupe/calls_batch.hpp"
#include "troupe/fetch_early.hpp"
#include "troupe/join_barrier.hpp"
#include "troupe/operation.hpp"

namespace troupe {

class dispatcher;

/// The common part of all gathers: starts the parts, joins them, and cancels
/// the rest on the first failure.
class gather_state : public plain_op, private continuation {
public:
  /// What a failed part means for the others.
  enum class on_failure : std::uint8_t { cancel_others, settle_each };

  explicit gather_state(std::vector<ref_ptr<op_state>> parts,
                        on_failure policy = on_failure::cancel_others);

  ~gather_state() override;

  void help() noexcept override;

  bool hangs(hang_check& check) noexcept override;

  dispatcher* queue() const noexcept override;

  bool is_settled_by_cancel() const noexcept override;

  void end_progress() noexcept override;

  bool modify(const modifiers& mods) override;

  void set_deadline(clock::time_point when) noexcept override;

  clock& time() const noexcept override;

protected:
  void begin() override;

  void stop(ec why) noexcept override;

  void drop(ec why) noexcept override;

  /// Everything that had started has returned.
  virtual void end() noexcept;

  /// Makes what is really started: the parts, but one batch of those that are
  /// single requests of one pool.
  virtual void form_groups();

  /// Starts `made` with the others, with what is set for all requests.
  void add_group(ref_ptr<batch> made, ref_ptr<dispatcher> home);

  /// Adds a part, for which there is room. Before the start.
  void add_part(ref_ptr<op_state> part) noexcept;

  void reserve_parts(std::size_t n) { parts_.reserve(n); }

  /// Returns the batches that were made of single requests.
  const std::vector<batch*>& groups() const noexcept { return groups_; }

  /// Returns the parts, in input order.
  const std::vector<ref_ptr<op_state>>& parts() const noexcept {
    return parts_;
  }

  /// Returns how many parts there are. Before the start.
  virtual std::size_t size() const noexcept { return parts_.size(); }

  bool has_started_part() const noexcept;

  /// Gives up one part, once all are complete.
  ref_ptr<op_state> take_part(std::size_t index) noexcept {
    return std::move(parts_[index]);
  }

  /// Gives up the parts, once all are complete.
  std::vector<ref_ptr<op_state>> take_parts() noexcept {
    return std::move(parts_);
  }

private:
  void on_complete(op_state& part) noexcept override;
  void form_group(dispatcher* home, std::vector<batch*> members);
  void start_with_settings(ref_ptr<batch> made);
  void watch_progress();
  bool counts_itself(op_state& part) const noexcept;
  void fail(failure_ptr why) noexcept;

  std::vector<ref_ptr<op_state>> parts_;
  // What is set for the batches that are made of single requests.
  modifiers for_groups_;
  clock::time_point deadline_ = clock::time_point::max();
  ref_ptr<progress_meter> progress_;
  // What is really started: the parts, where single requests of the same pool
  // are replaced by one batch of them.
  std::vector<ref_ptr<op_state>> started_;
  std::vector<batch*> groups_;
  const on_failure policy_;
  // How many of these have begun, from the first on: only they can be stopped
  // by other threads.
  std::atomic<std::size_t> begun_{0};
  std::atomic<bool> has_failed_{false};
  // Why the parts shall stop; the first reason stays.
  std::atomic<ec> stop_reason_{ec{}};
  std::optional<join_barrier> barrier_;
};

/// How a part appears in a tuple.
template <class T>
using gathered_t = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class... Ts>
class gather_tuple final : public gather_state {
public:
  using result_type = std::tuple<gathered_t<Ts>...>;

  using gather_state::gather_state;

  void* result() override {
    if (!result_)
      collect(std::index_sequence_for<Ts...>{});
    return &*result_;
  }

private:
  template <class T>
  static gathered_t<T> take(op_state& part) {
    if constexpr (std::is_void_v<T>)
      return std::monostate{};
    else
      return std::move(*static_cast<T*>(part.result()));
  }

  template <std::size_t... Is>
  void collect(std::index_sequence<Is...>) {
    result_.emplace(take<Ts>(*parts()[Is])...);
  }

  std::optional<result_type> result_;
};

template <class T>
class gather_vector : public gather_state {
public:
  using gather_state::gather_state;

  void* result() override {
    if constexpr (std::is_void_v<T>)
      return nullptr;
    else {
      if (!result_) {
        result_.emplace();
        result_->reserve(parts().size());
        auto all = take_parts();
        for (std::size_t i = 0; i < all.size(); ++i) {
          if (i + fetch_distance < all.size())
            fetch_early(all[i + fetch_distance].get(), single_bytes);
          // It goes as soon as it has been read, while it is in the cache.
          auto part = std::move(all[i]);
          result_->push_back(std::move(*static_cast<T*>(part->result())));
        }
      }
      return &*result_;
    }
  }

private:
  std::optional<std::vector<gathered_t<T>>> result_;
};

/// A gather whose parts are, as long as nothing is set for each of them, the
/// requests of one batch. `Base` does the same for parts.
template <class Base, class Batch, class T>
class gather_of_calls : public Base {
public:
  explicit gather_of_calls(call_list<T> calls)
      : Base{std::vector<ref_ptr<op_state>>{}},
        home_{std::move(calls.home)},
        batch_{make_ref<Batch>(std::move(calls.calls))} {}

  bool modify(const modifiers& mods) override {
    // Each does that for itself.
    if (mods.retry || mods.key || mods.tag)
      make_parts();
    return Base::modify(mods);
  }

  clock& time() const noexcept override { return home_.time(); }

protected:
  void form_groups() override {
    // If memory ran out when parts were made, some calls are not any yet.
    if (!this->parts().empty())
      make_parts();
    if (batch_)
      this->add_group(batch_, home_.copy().take());
    else
      Base::form_groups();
  }

  std::size_t size() const noexcept override {
    return batch_ ? batch_->size() : Base::size();
  }

  /// Returns the batch of the calls; null for parts.
  Batch* made() const noexcept { return batch_.get(); }

private:
  void make_parts() {
    if (!batch_)
      return;
    auto& calls = batch_->calls();
    this->reserve_parts(calls.size());
    for (std::size_t i = 0; i < calls.size(); ++i) {
      auto call = calls.get(i);
      if (!call)
        continue;
      auto home = home_.copy();
      auto part = call->to_batch(home);
      this->add_part(part);
      calls.take(i);
      // Else it gets the name of the whole as all do, if it has none by then.
      if (this->started())
        part->set_label(std::string{this->label_text()});
    }
    batch_ = nullptr;
  }

  const home_share home_;
  ref_ptr<Batch> batch_;
};

template <class T>
class gather_call_vector final
    : public gather_of_calls<gather_vector<T>, calls_batch<T>, T> {
public:
  using gather_of_calls<gather_vector<T>, calls_batch<T>, T>::gather_of_calls;

  void* result() override {
    return this->made() ? this->made()->result() : gather_vector<T>::result();
  }
};

/// Whether `T` is an operation, or converts to one as a task does.
template <class T>
concept awaitable_operation = requires(T&& x) {
  typename std::decay_t<T>::value_type;
  operation<typename std::decay_t<T>::value_type>(std::forward<T>(x));
};

/// Waits for all of `ops`, which may be of different types.
///
/// Shape:  n operations in, a tuple of n values out, in input order; a void one
///         yields std::monostate.
/// Errors: the first failure by arrival. What has not started never will, what
///         runs is asked to stop, and the failure is delivered when all that
///         had started has returned.
/// Source: asyncio.gather (return_exceptions=False), but siblings are cancelled
///         rather than left running.
template <awaitable_operation... Ops>
auto gather(Ops&&... ops) {
  using state = gather_tuple<typename std::decay_t<Ops>::value_type...>;
  std::vector<ref_ptr<op_state>> parts;
  parts.reserve(sizeof...(Ops));
  (parts.push_back(
       operation<typename std::decay_t<Ops>::value_type>(std::forward<Ops>(ops))
           .consume()),
   ...);
  return operation<typename state::result_type>{
      make_ref<state>(std::move(parts))};
}

/// Waits for all of `ops`, which are of the same type.
///
/// Shape:  a vector of values in input order; nothing for void. No operations:
///         an empty vector, at once. Single calls of one pool become one
///         batch, and so one submission and one completion.
/// Errors: as above.
template <class Op>
requires awaitable_operation<Op>
auto gather(std::vector<Op> ops) {
  using value = typename Op::value_type;
  using result = std::conditional_t<std::is_void_v<value>, void,
                                    std::vector<gathered_t<value>>>;
  if constexpr (std::is_same_v<Op, operation<value>>)
    if (auto calls = Op::take_calls(ops))
      return operation<result>{
          make_ref<gather_call_vector<value>>(std::move(*calls))};
  std::vector<ref_ptr<op_state>> parts;
  parts.reserve(ops.size());
  for (auto& op : ops)
    parts.push_back(operation<value>(std::move(op)).consume());
  return operation<result>{make_ref<gather_vector<value>>(std::move(parts))};
}

} // namespace troupe
