#include "troupe/event.hpp"

#include <map>

#include "troupe/messages.hpp"

namespace troupe {

/// One wait for an event.
class event_wait final : public plain_op {
public:
  explicit event_wait(ref_ptr<event_state> target)
      : target_{std::move(target)} {}

  void fulfil() noexcept { finish(); }

protected:
  void begin() override {
    {
      std::lock_guard guard{target_->mutex_};
      if (!target_->set_) {
        next_ = target_->waiters_;
        if (next_)
          next_->prev_ = this;
        target_->waiters_ = this;
        linked_ = true;
        return;
      }
    }
    finish();
  }

  void stop(ec why) noexcept override {
    {
      std::lock_guard guard{target_->mutex_};
      if (!linked_)
        return;
      linked_ = false;
      (prev_ ? prev_->next_ : target_->waiters_) = next_;
      if (next_)
        next_->prev_ = prev_;
    }
    finish_with(make_failure(
        why, "the wait for an event was cancelled before it was set", false,
        label()));
  }

private:
  friend class event_state;

  ref_ptr<event_state> target_;
  event_wait* prev_ = nullptr;
  event_wait* next_ = nullptr;
  bool linked_ = false;
};

// -- event_state --------------------------------------------------------------

void event_state::set() {
  event_wait* woken = nullptr;
  {
    std::lock_guard guard{mutex_};
    set_ = true;
    // Turned round, so that they are woken in the order in which they came.
    while (waiters_) {
      auto first = waiters_;
      waiters_ = first->next_;
      first->linked_ = false;
      first->next_ = woken;
      woken = first;
    }
  }
  // Each holds a reference to itself until it has finished.
  while (woken) {
    auto next = woken->next_;
    woken->fulfil();
    woken = next;
  }
}

void event_state::clear() {
  std::lock_guard guard{mutex_};
  set_ = false;
}

bool event_state::is_set() const {
  std::lock_guard guard{mutex_};
  return set_;
}

// -- actor --------------------------------------------------------------------

namespace {

/// The mailbox face of an event. Detached, so that a busy scheduler does not
/// hold it up.
class event_actor final : public caf::event_based_actor {
public:
  event_actor(caf::actor_config& cfg, ref_ptr<event_state> state)
      : caf::event_based_actor(cfg), state_{std::move(state)} {}

  caf::behavior make_behavior() override {
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
          auto promise = make_response_promise();
          auto key = ++last_wait_;
          waiting_.emplace(key, promise);
          operation<void>{make_ref<event_wait>(state_)}.then(
              this, [this, key] { take(key).deliver(caf::unit); },
              [this, key](caf::error why) {
                take(key).deliver(std::move(why));
              });
          return promise;
        },
    };
  }

  const char* name() const override { return "troupe.event"; }

  // Nobody can set an event whose handles are gone.
  void on_exit() override {
    auto why = to_error(make_failure(
        ec::owner_gone, "the event was not set before its last handle went"));
    for (auto& [key, promise] : waiting_)
      promise.deliver(why);
    waiting_.clear();
  }

private:
  caf::response_promise take(std::uint64_t key) {
    return std::move(waiting_.extract(key).mapped());
  }

  ref_ptr<event_state> state_;
  // Senders that wait for the event.
  std::map<std::uint64_t, caf::response_promise> waiting_;
  std::uint64_t last_wait_ = 0;
};

} // namespace

// -- event --------------------------------------------------------------------

event::face::face(caf::actor_system& sys)
    : system{sys}, state{make_ref<event_state>()} {}

event::face::~face() {
  if (actor)
    caf::anon_send_exit(*actor, caf::exit_reason::user_shutdown);
}

event::event(caf::actor_system& system)
    : face_{std::make_shared<face>(system)} {}

operation<void> event::wait() const {
  return operation<void>{make_ref<event_wait>(face_->state)};
}

caf::actor event::actor() const {
  std::lock_guard guard{face_->mutex};
  if (!face_->actor)
    face_->actor = std::make_unique<caf::actor>(
        face_->system.spawn<event_actor, caf::detached>(face_->state));
  return *face_->actor;
}

} // namespace troupe
