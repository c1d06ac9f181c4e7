#include "troupe/barrier.hpp"

#include "troupe/count.hpp"
#include "troupe/messages.hpp"

namespace troupe {

/// One party of a barrier.
class barrier_wait final : public wait_op {
public:
  explicit barrier_wait(const ref_ptr<barrier_state>& target)
      : wait_op{target, target->mutex_, target->waiters_}, target_{*target} {}

  void* result() override { return &index_; }

protected:
  void arrive(wake_list& woken) noexcept override {
    if (target_.broken_) {
      woken.add(*this, make_failure(ec::closed,
                                    "cannot wait at a barrier that is broken; "
                                    "reset() mends it",
                                    false, label()));
      return;
    }
    target_.waiters_.push_back(*this);
    if (target_.waiters_.size() < target_.parties_)
      return;
    // Numbered only now, since some may have come and left.
    for (std::size_t i = 0; i < target_.parties_; ++i) {
      auto& party = target_.waiters_.pop_front();
      static_cast<barrier_wait&>(party).index_ = i;
      woken.add(party);
    }
  }

  failure_ptr given_up(ec why) const override {
    return make_failure(
        why, "the wait at a barrier was given up before all had come", false,
        label());
  }

private:
  barrier_state& target_;
  std::size_t index_ = 0;
};

// -- barrier_state ------------------------------------------------------------

operation<std::size_t> barrier_state::wait() {
  return operation<std::size_t>{
      make_ref<barrier_wait>(ref_ptr<barrier_state>{this})};
}

void barrier_state::abort() {
  auto why = make_failure(ec::closed, "the barrier was broken by abort() "
                                      "before all had come");
  wake_list woken;
  std::lock_guard guard{mutex_};
  broken_ = true;
  woken.add_all(waiters_, why);
}

void barrier_state::reset() {
  auto why = make_failure(ec::closed, "the barrier was emptied by reset() "
                                      "before all had come");
  wake_list woken;
  std::lock_guard guard{mutex_};
  broken_ = false;
  woken.add_all(waiters_, why);
}

std::size_t barrier_state::n_waiting() const {
  std::lock_guard guard{mutex_};
  return waiters_.size();
}

bool barrier_state::broken() const {
  std::lock_guard guard{mutex_};
  return broken_;
}

// -- actor --------------------------------------------------------------------

namespace {

class barrier_actor : public face_actor {
public:
  barrier_actor(caf::actor_config& cfg, ref_ptr<barrier_state> state)
      : face_actor(cfg, "not all had come to the barrier before its last "
                        "handle went"),
        state_{std::move(state)} {}

  const char* name() const override { return "troupe.barrier"; }

protected:
  caf::message_handler handlers() override {
    return {
        [this](wait_atom) -> caf::result<std::uint64_t> {
          return answer(state_->wait(), [](asker& who, std::size_t index) {
            who.promise.deliver(std::uint64_t{index});
          });
        },
        [this](abort_atom) -> caf::result<void> {
          state_->abort();
          return caf::unit;
        },
        [this](reset_atom) -> caf::result<void> {
          state_->reset();
          return caf::unit;
        },
        [this](count_atom) -> caf::result<std::uint64_t> {
          return std::uint64_t{state_->n_waiting()};
        },
    };
  }

private:
  ref_ptr<barrier_state> state_;
};

} // namespace

// -- barrier ------------------------------------------------------------------

barrier::barrier(caf::actor_system& system, std::size_t parties)
    : shared_{std::make_shared<faced<barrier_state>>(
        system, checked_count("a barrier for", parties, "parties", 1))} {}

caf::actor barrier::actor() const {
  return shared_->face.actor([this](caf::actor_system& sys) {
    return compat::spawn_thread<barrier_actor>(sys, "the actor of a barrier",
                                               shared_->state);
  });
}

} // namespace troupe
