// The mailbox face of an event and its relatives: an actor that does by message
// what their functions do. Written once: how it starts and ends, and that a
// sender which has ended does not wait any more.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <utility>

#include <caf/actor_addr.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/message_handler.hpp>
#include <caf/response_promise.hpp>

#include "troupe/operation.hpp"

namespace troupe {

/// Starts an actor on first use and ends it with itself. Thread-safe.
class mailbox_face {
public:
  explicit mailbox_face(caf::actor_system& system) : system_{system} {}

  mailbox_face(const mailbox_face&) = delete;
  mailbox_face& operator=(const mailbox_face&) = delete;

  ~mailbox_face();

  /// Returns the actor, which `spawn` makes the first time.
  caf::actor actor(const std::function<caf::actor(caf::actor_system&)>& spawn);

private:
  caf::actor_system& system_;
  std::mutex mutex_;
  caf::actor actor_;
};

/// What the handles of an event, or of a relative, share.
template <class State>
struct faced {
  template <class... Ts>
  explicit faced(caf::actor_system& system, Ts&&... xs)
      : face{system}, state{make_ref<State>(std::forward<Ts>(xs)...)} {}

  mailbox_face face;
  ref_ptr<State> state;
};

/// What the actors have in common. To be spawned detached, so that a busy
/// scheduler does not hold them up.
class face_actor : public caf::event_based_actor {
public:
  /// `orphaned` is what those are told who wait when the last handle goes.
  face_actor(caf::actor_config& cfg, const char* orphaned)
      : caf::event_based_actor(cfg), orphaned_{orphaned} {}

  caf::behavior make_behavior() final;

  void on_exit() override;

protected:
  /// A sender that waits for an answer.
  struct asker {
    caf::response_promise promise;
    // Invalid if nobody is there to wait.
    caf::actor_addr address;
    // Cancels the wait.
    std::stop_source stop;
  };

  /// Returns what the actor understands.
  virtual caf::message_handler handlers() = 0;

  /// A sender that is known has ended.
  virtual void lose_sender(const caf::actor_addr&) {}

  /// Answers the current message by `deliver(asker, value)` once `op` has
  /// succeeded, else by its error. If the sender ends first, `op` is cancelled,
  /// or its value dropped.
  template <class T, class Deliver>
  caf::response_promise answer(operation<T> op, Deliver deliver) {
    auto key = ++last_asker_;
    auto& added = add_asker(key);
    auto promise = added.promise;
    std::move(op)
        .stop_with(added.stop.get_token())
        .then(
            this,
            [this, key, deliver](auto&&... value) {
              if (auto who = take_asker(key))
                deliver(*who, std::forward<decltype(value)>(value)...);
            },
            [this, key](caf::error why) {
              if (auto who = take_asker(key))
                who->promise.deliver(std::move(why));
            });
    return promise;
  }

  /// Returns the address of the current message's sender; an invalid one if it
  /// has none.
  caf::actor_addr sender_address();

  /// Hears when the sender of the current message ends. Returns its address.
  caf::actor_addr know_sender();

private:
  asker& add_asker(std::uint64_t key);

  std::optional<asker> take_asker(std::uint64_t key);

  void forget_sender(const caf::actor_addr& gone);

  const char* orphaned_;
  std::uint64_t last_asker_ = 0;
  std::map<std::uint64_t, asker> askers_;
  // Keys of what they wait for.
  std::map<caf::actor_addr, std::set<std::uint64_t>> senders_;
};

} // namespace troupe
