#include "troupe/delay.hpp"

#include "troupe/messages.hpp"

namespace troupe {

namespace {

/// Completes when CAF's clock says so, on the thread of an actor.
class delay_state final : public plain_op {
public:
  delay_state(caf::event_based_actor* self, std::chrono::nanoseconds delay)
      : self_{self}, delay_{delay} {}

protected:
  void begin() override {
    actor_ = caf::strong_actor_ptr{self_->ctrl()};
    auto tie =
        std::make_shared<owner_tie<delay_state>>(ref_ptr<delay_state>{this});
    id_ =
        compat::expect_timeout(self_, delay_, [tie] { tie->state->expire(); });
  }

  friend struct owner_tie<delay_state>;

  void lose_owner() noexcept {
    if (over_.exchange(true))
      return;
    actor_ = nullptr;
    finish_with(make_failure(ec::owner_gone,
                             "the actor in which the delay ran has ended", true,
                             label()));
  }

  void stop(ec why) noexcept override {
    if (over_.exchange(true))
      return;
    // Answers in place of the clock, so that the actor expects nothing more.
    compat::respond(std::exchange(actor_, nullptr), id_, caf::ok_atom_v);
    finish_with(make_failure(why, "the delay was cancelled", true, label()));
  }

private:
  void expire() {
    if (over_.exchange(true))
      return;
    actor_ = nullptr;
    finish();
  }

  caf::event_based_actor* self_;
  std::chrono::nanoseconds delay_;
  caf::strong_actor_ptr actor_;
  caf::message_id id_;
  std::atomic<bool> over_{false};
};

} // namespace

operation<void> sleep_for(caf::event_based_actor* self,
                          std::chrono::nanoseconds delay) {
  return operation<void>{make_ref<delay_state>(self, delay)};
}

} // namespace troupe
