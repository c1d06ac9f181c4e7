// A thread, an actor and a task that do the same thing round after round, all
// at once. Whoever tests an event or one of its relatives leans on it.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "actor_ways.hpp"

namespace test {

/// Who waits.
enum class who { thread, actor, task };

namespace detail {

/// What the actor's callbacks need.
template <class T>
struct actor_rounds {
  int rounds;
  std::function<troupe::operation<T>(who, int)> wait;
  std::function<void(who, int, troupe::gathered_t<T>)> after;
  std::shared_ptr<tally> over;
};

template <class T>
void next_round(caf::event_based_actor* self,
                std::shared_ptr<actor_rounds<T>> plan, int i) {
  if (i == plan->rounds) {
    plan->over->add();
    return;
  }
  auto go_on = [self, plan, i](auto... value) {
    plan->after(who::actor, i, troupe::gathered_t<T>{std::move(value)...});
    next_round<T>(self, plan, i + 1);
  };
  if constexpr (std::is_void_v<T>)
    plan->wait(who::actor, i).then(self, [go_on] { go_on(); });
  else
    plan->wait(who::actor, i).then(self, [go_on](T x) { go_on(std::move(x)); });
}

template <class T>
troupe::task<void> task_rounds(caf::event_based_actor*,
                               std::shared_ptr<actor_rounds<T>> plan) {
  for (int i = 0; i < plan->rounds; ++i) {
    auto op = plan->wait(who::task, i);
    if constexpr (std::is_void_v<T>) {
      co_await std::move(op);
      plan->after(who::task, i, {});
    } else {
      plan->after(who::task, i, co_await std::move(op));
    }
  }
  plan->over->add();
}

} // namespace detail

/// Has a thread, an actor and a task wait for what `wait(who, i)` returns and
/// call `after(who, i, value)` then, for each i below `rounds`. Calls
/// `meanwhile()` on this thread, and returns when all are through.
template <class T, class Meanwhile>
void all_ways_at_once(
    caf::actor_system& sys, int rounds,
    std::function<troupe::operation<T>(who, int)> wait,
    std::function<void(who, int, troupe::gathered_t<T>)> after,
    Meanwhile meanwhile) {
  auto over = std::make_shared<tally>();
  auto plan = std::make_shared<detail::actor_rounds<T>>(
      detail::actor_rounds<T>{rounds, std::move(wait), std::move(after), over});
  sys.spawn([plan](caf::event_based_actor* self) {
    detail::next_round<T>(self, plan, 0);
  });
  sys.spawn([plan](caf::event_based_actor* self) {
    detail::task_rounds<T>(self, plan).then(self, [] {});
  });
  std::jthread thread{[plan] {
    for (int i = 0; i < plan->rounds; ++i) {
      auto op = plan->wait(who::thread, i);
      if constexpr (std::is_void_v<T>) {
        op.get();
        plan->after(who::thread, i, {});
      } else {
        plan->after(who::thread, i, op.get());
      }
    }
    plan->over->add();
  }};
  meanwhile();
  over->wait_for(3);
}

/// Starts an operation and cancels it at once, as a timeout does, and returns
/// the code of its failure; 0 if it had been complete.
template <class T>
troupe::ec code_of_cancelled(troupe::operation<T> op, troupe::ec why) {
  auto state = op.consume();
  state->start();
  state->cancel(why);
  state->wait();
  return state->failed() ? state->failed()->code : troupe::ec{};
}

/// Has an actor wait by `then` for what `make()` returns, and ends the actor;
/// returns when nothing of the wait is left.
template <class Make>
void wait_in_actor_that_ends(caf::actor_system& sys, Make make) {
  auto begun = std::make_shared<tally>();
  auto gone = std::make_shared<tally>();
  auto waiter = sys.spawn([=](caf::event_based_actor* self) -> caf::behavior {
    std::shared_ptr<void> trace{nullptr, [gone](void*) { gone->add(); }};
    make().then(
        self, [trace](auto&&...) {}, [trace](const caf::error&) {});
    begun->add();
    return {[](int) {}};
  });
  begun->wait_for(1);
  caf::anon_send_exit(waiter, caf::exit_reason::kill);
  gone->wait_for(1);
}

} // namespace test
