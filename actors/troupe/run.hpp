// The way from `main` into a task and back: asyncio.run.

#pragma once

#include <future>
#include <memory>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>

#include "troupe/hosted_run.hpp"
#include "troupe/task.hpp"

namespace troupe {

namespace detail {

/// What the callbacks of `run` share; goes when the task is over.
template <class T>
struct run_outcome {
  run_outcome() = default;
  run_outcome(const run_outcome&) = delete;
  run_outcome& operator=(const run_outcome&) = delete;

  ~run_outcome() {
    if (hosted)
      hosted->over();
  }

  std::promise<T> promise;
  // If a worker waits.
  ref_ptr<hosted_run> hosted = hosted_run::on_worker();
};

} // namespace detail

/// Runs the task `fn(self, args...)` in an actor of its own and blocks for the
/// result. The actor ends with the task, and with it what the task has left
/// running there. Not for the thread of an event-based actor, which it would
/// hold up. A worker that calls it runs requests of its own pool itself for
/// which the task waits.
///
/// Errors: throws what the task throws; `failure` with `ec::owner_gone` if
///         something ends the actor first.
/// Source: asyncio.run.
template <class F, class... Ts>
auto run(caf::actor_system& system, F fn, Ts... xs) {
  using task_type = std::invoke_result_t<F&, caf::event_based_actor*, Ts...>;
  refuse_to_block("run(sys, ...)");
  using result = typename task_type::value_type;
  auto outcome = std::make_shared<detail::run_outcome<result>>();
  auto future = outcome->promise.get_future();
  auto hosted = outcome->hosted;
  // A coroutine refers to its closure, so that has to live as long.
  auto call = std::make_shared<F>(std::move(fn));
  system.spawn([outcome = std::move(outcome), call = std::move(call),
                ... args =
                    std::move(xs)](caf::event_based_actor* self) mutable {
    auto fail = [self, outcome, call](const caf::error& why) {
      try {
        rethrow(*failure_of(why));
      } catch (...) {
        outcome->promise.set_exception(std::current_exception());
      }
      self->quit();
    };
    auto state = operation<result>((*call)(self, std::move(args)...)).consume();
    if (outcome->hosted)
      outcome->hosted->set_root(port::of(self), *state);
    operation<result> body{std::move(state)};
    if constexpr (std::is_void_v<result>)
      std::move(body).then(
          self,
          [self, outcome, call] {
            outcome->promise.set_value();
            self->quit();
          },
          fail);
    else
      std::move(body).then(
          self,
          [self, outcome, call](result x) {
            outcome->promise.set_value(std::move(x));
            self->quit();
          },
          fail);
    outcome.reset();
  });
  if (hosted)
    hosted->wait();
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
