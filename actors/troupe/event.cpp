#include "troupe/event.hpp"

#include "troupe/messages.hpp"

namespace troupe {

/// One wait for an event.
class event_wait final : public wait_op {
public:
  explicit event_wait(const ref_ptr<event_state>& target)
      : wait_op{target, target->mutex_, target->waiters_}, target_{*target} {}

protected:
  void arrive(wake_list& woken) noexcept override {
    if (target_.set_)
      woken.add(*this);
    else
      target_.waiters_.push_back(*this);
  }

  failure_ptr given_up(ec why) const override {
    return make_failure(why,
                        "the wait for an event was given up before it was set",
                        false, label());
  }

private:
  event_state& target_;
};

// -- event_state --------------------------------------------------------------

void event_state::set() {
  wake_list woken;
  std::lock_guard guard{mutex_};
  set_ = true;
  woken.add_all(waiters_);
}

void event_state::clear() {
  std::lock_guard guard{mutex_};
  set_ = false;
}

bool event_state::is_set() const {
  std::lock_guard guard{mutex_};
  return set_;
}

operation<void> event_state::wait() {
  return operation<void>{make_ref<event_wait>(ref_ptr<event_state>{this})};
}

// -- actor --------------------------------------------------------------------

namespace {

class event_actor : public face_actor {
public:
  event_actor(caf::actor_config& cfg, ref_ptr<event_state> state)
      : face_actor(cfg, "the event was not set before its last handle went"),
        state_{std::move(state)} {}

  const char* name() const override { return "troupe.event"; }

protected:
  caf::message_handler handlers() override {
    return {
        [this](set_atom) -> caf::result<void> {
          state_->set();
          return caf::unit;
        },
        [this](clear_atom) -> caf::result<void> {
          state_->clear();
          return caf::unit;
        },
        [this](is_set_atom) -> caf::result<bool> { return state_->is_set(); },
        [this](wait_atom) -> caf::result<void> {
          return answer(state_->wait(),
                        [](asker& who) { who.promise.deliver(caf::unit); });
        },
    };
  }

private:
  ref_ptr<event_state> state_;
};

} // namespace

// -- event --------------------------------------------------------------------

event::event(caf::actor_system& system)
    : shared_{std::make_shared<faced<event_state>>(system)} {}

caf::actor event::actor() const {
  return shared_->face.actor([this](caf::actor_system& sys) {
    return compat::spawn_thread<event_actor>(sys, "the actor of an event",
                                             shared_->state);
  });
}

} // namespace troupe
