// What came of one request, as a value: for those who want to hear of every
// request, not only of the first that failed. Plain data; leans on error.hpp
// only.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>

#include "troupe/error.hpp"

namespace troupe {

/// How far a request came.
enum class outcome_state : std::uint8_t {
  /// It has a value.
  done,
  /// It ran and failed by itself.
  failed,
  /// It was dropped before it ran. It has had no effect.
  never_started,
  /// It was asked to stop while it ran, and then failed.
  stopped,
  /// It had not returned when a deadline passed, its own or that of the whole.
  /// It may still have effects.
  still_running,
};

/// Returns the name of `state`, such as "never_started".
std::string_view to_string(outcome_state state) noexcept;

/// When and where a request ran.
struct call_report {
  /// From the submit to the start of the call, or to the end if it never ran.
  std::chrono::nanoseconds waited{0};
  /// From the start of the call to its end.
  std::chrono::nanoseconds ran{0};
  /// The number of the worker, from 1; 0: none.
  int worker = 0;
  /// How often the call was made.
  unsigned attempts = 0;
};

/// Returns the state that the record of a failed request speaks of.
/// `asked_to_stop` says whether somebody had cancelled it.
outcome_state failed_state(const failure_record& record,
                           bool asked_to_stop) noexcept;

template <class T>
class settled_calls;

/// The part of an outcome that does not depend on the type of the value.
class outcome_base {
public:
  // -- properties -------------------------------------------------------------

  /// Returns whether there is a value.
  explicit operator bool() const noexcept {
    return state_ == outcome_state::done;
  }

  outcome_state state() const noexcept { return state_; }

  /// Returns why there is no value; `ec{}` if there is one.
  ec code() const noexcept { return *this ? ec{} : record_->code; }

  /// Returns the text of the failure; nothing if there is a value. Lives as
  /// long as the outcome.
  std::string_view what() const noexcept {
    return *this ? std::string_view{} : std::string_view{record_->text};
  }

  /// Returns what `value()` would throw: the request's own exception, or a
  /// `failure`; null if there is a value.
  std::exception_ptr exception() const;

  /// Returns the record of the failure; null if there is a value.
  failure_ptr failed() const noexcept {
    return *this ? failure_ptr{} : record_;
  }

  /// Returns the label of the request, or an empty text.
  std::string_view label() const noexcept {
    return record_ ? std::string_view{record_->label} : std::string_view{};
  }

  /// Returns the number of the worker that made the call; 0 if none did, or if
  /// it was no call on a worker: a task, a wait, a delay.
  int worker() const noexcept { return worker_; }

  /// Returns the time from the submit to the start of the call; to the end if
  /// it never ran. Not known of an operation that had been started before it
  /// was handed over: then it is 0, as the worker is, and `ran` is the whole.
  std::chrono::nanoseconds waited() const noexcept { return waited_; }

  /// Returns the time from the start of the call to its end; of one that still
  /// runs, to when the outcome was taken.
  std::chrono::nanoseconds ran() const noexcept { return ran_; }

  /// Returns how often the call was made: 0 if it never ran, more than 1 if it
  /// was retried.
  unsigned attempts() const noexcept { return attempts_; }

protected:
  /// `label` may be null, or a record of which only the label counts.
  outcome_base(failure_ptr label, const call_report& report) noexcept
      : outcome_base{std::move(label), outcome_state::done, report} {}

  outcome_base(failure_ptr why, outcome_state state,
               const call_report& report) noexcept
      : record_{std::move(why)},
        waited_{report.waited},
        ran_{report.ran},
        worker_{report.worker},
        attempts_{static_cast<std::uint16_t>(
            report.attempts > 0 ? report.attempts
                                : state != outcome_state::never_started)},
        state_{state} {}

  [[noreturn]] void raise() const { rethrow(*record_); }

  // -- for who writes it where it is to be read -------------------------------

  /// Says when and where the call begins. That may be read from then on.
  void begin_call(std::chrono::nanoseconds waited, int worker) noexcept {
    waited_ = waited;
    worker_ = worker;
    attempts_ = 1;
  }

  /// Says what came of the call, but for its value. Does not touch what
  /// `begin_call` has said.
  void end_call(outcome_state state, failure_ptr record,
                std::chrono::nanoseconds ran) noexcept {
    record_ = std::move(record);
    ran_ = ran;
    state_ = state;
  }

private:
  // Of a request with a value: null, or a record that carries its label. A
  // million outcomes pay for one pointer that way.
  failure_ptr record_;
  std::chrono::nanoseconds waited_;
  std::chrono::nanoseconds ran_;
  std::int32_t worker_;
  std::uint16_t attempts_;
  outcome_state state_;
};

/// What came of one request: a value, or why there is none; with how long it
/// waited and ran, and where.
///
/// Errors: `value()` throws the request's own exception, or a `failure` where
///         it has none.
/// Source: return_exceptions=True of asyncio.gather; concurrent.futures.Future
///         when it is done.
template <class T>
class outcome : public outcome_base {
public:
  using value_type = T;

  // -- construction -----------------------------------------------------------

  /// Holds a value. `label` is a record of which only the label counts, or
  /// null.
  explicit outcome(T value, const call_report& report = {},
                   failure_ptr label = nullptr)
      : outcome_base{std::move(label), report}, value_{std::move(value)} {}

  /// Holds a failure.
  /// @pre `why` is not null, `state` is not `done`
  outcome(failure_ptr why, outcome_state state,
          const call_report& report = {}) noexcept
      : outcome_base{std::move(why), state, report} {}

  // -- properties -------------------------------------------------------------

  T& value() & {
    check();
    return *value_;
  }

  const T& value() const& {
    check();
    return *value_;
  }

  T value() && {
    check();
    return std::move(*value_);
  }

private:
  template <class>
  friend class settled_calls;

  void put(T&& value) { value_.emplace(std::move(value)); }

  void drop_value() noexcept { value_.reset(); }

  void check() const {
    if (!*this)
      this->raise();
  }

  std::optional<T> value_;
};

/// What came of a request that yields nothing.
template <>
class outcome<void> : public outcome_base {
public:
  using value_type = void;

  explicit outcome(const call_report& report = {}, failure_ptr label = nullptr)
      : outcome_base{std::move(label), report} {}

  outcome(failure_ptr why, outcome_state state,
          const call_report& report = {}) noexcept
      : outcome_base{std::move(why), state, report} {}

  /// Returns if all went well, else throws.
  void value() const {
    if (!*this)
      raise();
  }

private:
  template <class>
  friend class settled_calls;
};

/// The outcome of one of several operations, and which one it was.
template <class T>
class arrival : public outcome<T> {
public:
  arrival(outcome<T> what, std::size_t index)
      : outcome<T>{std::move(what)}, index_{index} {}

  /// Returns the position of the operation among those that were passed in.
  std::size_t index() const noexcept { return index_; }

private:
  std::size_t index_;
};

} // namespace troupe
