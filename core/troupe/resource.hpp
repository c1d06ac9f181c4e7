// What a worker keeps between requests, such as a connection or a client
// handle: opened on the worker's own thread, used by one request at a time, and
// closed on the same thread. Requests reach it by `context::resource<T>()`.

#pragma once

#include <functional>
#include <memory>
#include <typeindex>
#include <utility>

namespace troupe {

/// Says how a worker opens and closes its resource. Made by `make_resource`.
struct resource_spec {
  /// The type that `context::resource<T>()` must name.
  std::type_index type = typeid(void);

  /// Opens one; the deleter of what it returns closes it.
  std::function<std::shared_ptr<void>()> open;

  /// Whether a worker opens it when it starts, and not before its first use.
  bool at_start = false;
};

/// Describes a resource of type `T`.
///
/// Shape:  at most one `T` per worker, opened before its first use there.
/// Errors: what `open` throws becomes the failure of the request that asked
///         for the resource; the next request that asks tries again. `close`
///         must not throw.
template <class T, class Open>
resource_spec make_resource(Open open) {
  return {typeid(T),
          [open = std::move(open)]() mutable {
            return std::static_pointer_cast<void>(std::make_shared<T>(open()));
          },
          false};
}

/// As above, and calls `close(T&)` before the resource is destroyed.
template <class T, class Open, class Close>
resource_spec make_resource(Open open, Close close) {
  auto make = [open = std::move(open), close = std::move(close)]() mutable {
    return std::shared_ptr<void>{new T(open()), [close](void* ptr) mutable {
                                   std::unique_ptr<T> owned{
                                       static_cast<T*>(ptr)};
                                   close(*owned);
                                 }};
  };
  return {typeid(T), std::move(make), false};
}

} // namespace troupe
