// The three ways to wait for an operation, so that a test can say what each of
// them hears. Whoever tests an operation of actors/ leans on it.

#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include <caf/actor_registry.hpp>
#include <caf/all.hpp>

#include "troupe/troupe.hpp"

#include "counted.hpp"

namespace test {

/// An actor system that knows troupe's messages.
struct actor_world {
  troupe::config cfg;
  caf::actor_system sys{cfg};
};

/// How a test waits.
enum class way { get, then, co_await_ };

inline std::ostream& operator<<(std::ostream& out, way how) {
  return out << (how == way::get    ? "get"
                 : how == way::then ? "then"
                                    : "co_await");
}

/// What came of an operation, as its waiter heard it.
template <class T>
struct heard {
  /// std::monostate for void.
  std::optional<troupe::gathered_t<T>> value;

  /// What `get` or `co_await` threw.
  std::exception_ptr thrown;

  /// What `then` got; none for the other ways.
  caf::error error;

  /// Returns what `get` and `co_await` threw, or what `then` found in its
  /// error; throws nothing itself.
  std::exception_ptr exception() const {
    return thrown ? thrown : troupe::exception_of(error);
  }

  /// Returns the code of the failure, whichever way it came.
  troupe::ec code() const {
    if (error != caf::none)
      return troupe::failure_of(error)->code;
    try {
      std::rethrow_exception(thrown);
    } catch (const troupe::failure& err) {
      return err.code();
    } catch (...) {
      return troupe::ec::request_failed;
    }
  }
};

namespace detail {

template <class T>
heard<T> hear_by_get(troupe::operation<T> op) {
  heard<T> result;
  try {
    if constexpr (std::is_void_v<T>) {
      op.get();
      result.value.emplace();
    } else {
      result.value.emplace(op.get());
    }
  } catch (...) {
    result.thrown = std::current_exception();
  }
  return result;
}

template <class T>
troupe::task<void> hear_by_co_await(caf::event_based_actor*,
                                    troupe::operation<T> op, heard<T>* result) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(op);
      result->value.emplace();
    } else {
      result->value.emplace(co_await std::move(op));
    }
  } catch (...) {
    result->thrown = std::current_exception();
  }
}

} // namespace detail

/// Makes an operation by `make(self)`, in an actor of its own, waits for it as
/// `how` says, and returns what came of it. A task counts as the operation that
/// it converts to.
template <class Make>
auto hear(way how, caf::actor_system& sys, Make make) {
  using made = std::invoke_result_t<Make&, caf::event_based_actor*>;
  using value = typename made::value_type;
  using op_type = troupe::operation<value>;
  if (how == way::co_await_) {
    heard<value> result;
    troupe::run(sys, [&](caf::event_based_actor* self) -> troupe::task<void> {
      return detail::hear_by_co_await<value>(self, op_type(make(self)),
                                             &result);
    });
    return result;
  }
  if (how == way::get) {
    // Started where it was made, since tasks and delays belong to their actor.
    auto started = std::make_shared<std::promise<op_type>>();
    auto future = started->get_future();
    sys.spawn([&make, started](caf::event_based_actor* self) {
      started->set_value(op_type(make(self)).start());
    });
    return detail::hear_by_get(future.get());
  }
  auto result = std::make_shared<std::promise<heard<value>>>();
  auto future = result->get_future();
  sys.spawn([&make, result](caf::event_based_actor* self) {
    auto fail = [result](caf::error why) {
      result->set_value(heard<value>{{}, {}, std::move(why)});
    };
    if constexpr (std::is_void_v<value>)
      op_type(make(self))
          .then(
              self,
              [result] {
                result->set_value(heard<value>{std::monostate{}, {}, {}});
              },
              fail);
    else
      op_type(make(self))
          .then(
              self,
              [result](value x) {
                result->set_value(heard<value>{std::move(x), {}, {}});
              },
              fail);
  });
  return future.get();
}

/// Calls `fn` and returns the code of the `failure` that it throws.
template <class Fn>
std::optional<troupe::ec> failure_code(Fn fn) {
  try {
    fn();
  } catch (const troupe::failure& err) {
    return err.code();
  }
  return std::nullopt;
}

/// Calls `fn` and returns the text of the std::exception that it throws.
template <class Fn>
std::string thrown_text(Fn fn) {
  try {
    fn();
  } catch (const std::exception& err) {
    return err.what();
  }
  return "nothing was thrown";
}

/// A count that threads change and a test waits for.
class tally {
public:
  void add(int n = 1) {
    std::lock_guard guard{mutex_};
    count_ += n;
    changed_.notify_all();
  }

  int value() const {
    std::lock_guard guard{mutex_};
    return count_;
  }

  void wait_for(int n) {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [&] { return count_ >= n; });
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

/// Touches `over` when the actor behind `who` has ended.
inline void watch_end(const caf::actor& who, std::shared_ptr<tally> over) {
  who->attach_functor([over](const caf::error&) { over->add(); });
}

} // namespace test
