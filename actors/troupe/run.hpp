// The way from `main` into a task and back: asyncio.run.

#pragma once

#include <future>
#include <memory>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>

#include "troupe/task.hpp"

namespace troupe {

/// Runs the task `fn(self, args...)` in an actor of its own and blocks for the
/// result. The actor ends with the task, and with it what the task has left
/// running there. Not for the thread of an event-based actor, which it would
/// hold up.
///
/// Errors: throws what the task throws; `failure` with `ec::owner_gone` if
///         something ends the actor first.
/// Source: asyncio.run.
template <class F, class... Ts>
auto run(caf::actor_system& system, F fn, Ts... xs) {
  using task_type = std::invoke_result_t<F&, caf::event_based_actor*, Ts...>;
  refuse_to_block("run(sys, ...)");
  using result = typename task_type::value_type;
  auto promise = std::make_shared<std::promise<result>>();
  auto future = promise->get_future();
  // A coroutine refers to its closure, so that has to live as long.
  auto call = std::make_shared<F>(std::move(fn));
  system.spawn(
      [promise = std::move(promise), call = std::move(call),
       ... args = std::move(xs)](caf::event_based_actor* self) mutable {
        auto fail = [self, promise, call](const caf::error& why) {
          try {
            rethrow(*failure_of(why));
          } catch (...) {
            promise->set_exception(std::current_exception());
          }
          self->quit();
        };
        operation<result> body = (*call)(self, std::move(args)...);
        if constexpr (std::is_void_v<result>)
          std::move(body).then(
              self,
              [self, promise, call] {
                promise->set_value();
                self->quit();
              },
              fail);
        else
          std::move(body).then(
              self,
              [self, promise, call](result x) {
                promise->set_value(std::move(x));
                self->quit();
              },
              fail);
        promise.reset();
      });
  try {
    return future.get();
  } catch (const std::future_error& err) {
    if (err.code() != std::future_errc::broken_promise)
      throw;
    throw failure{ec::owner_gone,
                  "the actor that ran the task ended before the task did",
                  true};
  }
}

} // namespace troupe
