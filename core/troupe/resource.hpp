// What a worker keeps between requests, such as a connection or a client
// handle: opened on the worker's own thread before it takes a request, checked
// when it has been idle, renewed when it is broken or old, and closed on the
// same thread. Requests reach it by `context::resource<T>()`.

#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <typeindex>
#include <utility>

#include "troupe/null_function.hpp"

namespace troupe {

/// When a worker checks and renews its resource, and how long it puts up with
/// one that cannot be opened. Times are those of the pool's clock.
struct resource_rules {
  /// A resource that was not used for this long is checked before its next use.
  /// Source: HikariCP, which trusts a connection for half a second.
  std::chrono::nanoseconds check_after = std::chrono::milliseconds{500};

  /// After so many requests that used it, it is closed and another one opened;
  /// 0: never.
  std::uint64_t recycle_after = 0;

  /// As above, so long after it was opened; 0: never.
  std::chrono::nanoseconds recycle_every{0};

  /// How long a worker waits after a failed `open` before it tries again; twice
  /// as long each time, at most `longest_backoff`. Half of it is random, so
  /// that workers do not come back together. Guesses.
  std::chrono::nanoseconds backoff = std::chrono::milliseconds{100};
  std::chrono::nanoseconds longest_backoff = std::chrono::seconds{10};

  /// When no worker has had a resource for this long, the requests that wait
  /// fail. Source: the connection timeouts of HikariCP and r2d2.
  std::chrono::nanoseconds give_up_after = std::chrono::seconds{30};
};

/// Says how a worker opens, checks and closes its resource. Made by
/// `make_resource`. The functions are shared by all workers, which may call
/// them at the same time.
struct resource_spec {
  /// The type that `context::resource<T>()` must name.
  std::type_index type = typeid(void);

  /// Opens one; the deleter of what it returns closes it.
  std::function<std::shared_ptr<void>()> open = {};

  /// Returns whether a resource that has been idle is still good; an exception
  /// means no. None: it is.
  std::function<bool(void*)> check = {};

  /// Returns whether a resource says of itself, after a request, that it is of
  /// no more use. None: it never does.
  std::function<bool(void*)> broken = {};

  resource_rules rules = {};
};

/// Throws `failure` with `ec::invalid_option` if `rules` has a number that is
/// not accepted.
void check_rules(const resource_rules& rules);

/// A resource that knows when it is of no more use: asked after each request
/// that used it, so it must answer at once.
template <class T>
concept tells_if_broken = requires(const T& x) {
  { x.broken() } -> std::convertible_to<bool>;
};

/// Describes a resource of type `T`, step by step:
/// `make_resource<connection>(open).check(ping).recycle_every(1h)`.
template <class T>
class resource_of : public resource_spec {
public:
  /// @pre `made` describes a `T`
  explicit resource_of(resource_spec made) : resource_spec{std::move(made)} {
    if constexpr (tells_if_broken<T>)
      broken = [](void* ptr) {
        return static_cast<bool>(static_cast<const T*>(ptr)->broken());
      };
  }

  /// Has `fn(T&)` called, by the worker, before a resource is used that was not
  /// used for `resource_rules::check_after`. One that fails is closed, and
  /// another one opened, before the worker takes a request.
  ///
  /// Errors: false, or an exception, if `fn` returns something; an exception if
  ///         it returns nothing. Throws `failure` with `ec::invalid_option`
  ///         for a null function.
  /// Source: SQLAlchemy's pool_pre_ping, r2d2's is_valid.
  template <class Fn>
  resource_of check(Fn fn) && {
    refuse_null(fn, "check a resource with");
    resource_spec::check = [fn = std::move(fn)](void* ptr) {
      auto& resource = *static_cast<T*>(ptr);
      if constexpr (std::is_void_v<std::invoke_result_t<const Fn&, T&>>) {
        std::invoke(fn, resource);
        return true;
      } else {
        return static_cast<bool>(std::invoke(fn, resource));
      }
    };
    return std::move(*this);
  }

  /// Sets `resource_rules::check_after`; 0 checks before each use.
  resource_of check_after(std::chrono::nanoseconds idle) && {
    rules.check_after = idle;
    return std::move(*this);
  }

  /// Sets `resource_rules::recycle_after`.
  /// Source: multiprocessing.Pool's maxtasksperchild.
  resource_of recycle_after(std::uint64_t requests) && {
    rules.recycle_after = requests;
    return std::move(*this);
  }

  /// Sets `resource_rules::recycle_every`.
  /// Source: HikariCP's maxLifetime, SQLAlchemy's pool_recycle.
  resource_of recycle_every(std::chrono::nanoseconds age) && {
    rules.recycle_every = age;
    return std::move(*this);
  }

  /// Sets `resource_rules::backoff` and `longest_backoff`.
  resource_of backoff(std::chrono::nanoseconds first,
                      std::chrono::nanoseconds longest) && {
    rules.backoff = first;
    rules.longest_backoff = longest;
    return std::move(*this);
  }

  /// Sets `resource_rules::give_up_after`; 0 fails what waits as soon as no
  /// worker has a resource and one could not open it.
  resource_of give_up_after(std::chrono::nanoseconds patience) && {
    rules.give_up_after = patience;
    return std::move(*this);
  }
};

/// Describes a resource of type `T`, which may be one that cannot be moved.
///
/// Shape:  at most one `T` per worker. A worker opens it before it takes its
///         first request, and closes it when it ends; each that was opened is
///         closed once, on the same thread.
/// Errors: a worker whose `open` throws takes no request; it tries again after
///         a while, longer each time, and says why in `pool_stats::resource`.
///         Others serve meanwhile. When no worker has had a resource for
///         `give_up_after`, the requests that wait fail with
///         `ec::resource_unavailable`, whose text has what `open` threw; those
///         that come later do so after the next try that fails. Throws
///         `failure` with `ec::invalid_option` for a null function.
template <class T, class Open>
resource_of<T> make_resource(Open open) {
  refuse_null(open, "open a resource with");
  resource_spec result;
  result.type = typeid(T);
  result.open = [open = std::move(open)]() mutable {
    // Made in place, for those that cannot be moved.
    return std::shared_ptr<void>{new T(open()), std::default_delete<T>{}};
  };
  return resource_of<T>{std::move(result)};
}

/// As above, and calls `close(T&)` before the resource is destroyed. What
/// `close` throws is dropped.
template <class T, class Open, class Close>
resource_of<T> make_resource(Open open, Close close) {
  refuse_null(open, "open a resource with");
  refuse_null(close, "close a resource with");
  resource_spec result;
  result.type = typeid(T);
  result.open = [open = std::move(open), close = std::move(close)]() mutable {
    return std::shared_ptr<void>{new T(open()), [close](void* ptr) mutable {
                                   std::unique_ptr<T> owned{
                                       static_cast<T*>(ptr)};
                                   try {
                                     close(*owned);
                                   } catch (...) {
                                     // Nobody could do anything about it: the
                                     // resource goes now, one way or another.
                                   }
                                 }};
  };
  return resource_of<T>{std::move(result)};
}

} // namespace troupe
