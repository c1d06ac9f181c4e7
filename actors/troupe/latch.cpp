#include "troupe/latch.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "troupe/count.hpp"
#include "troupe/messages.hpp"

namespace troupe {

namespace {

std::string beyond_zero(std::size_t n, std::size_t missing) {
  return fmt::format("cannot count {} off a latch from which {} are missing: "
                     "0 to {} are accepted",
                     n, missing, missing);
}

} // namespace

/// One wait for a latch, which may bring what is missing along.
class latch_wait final : public wait_op {
public:
  latch_wait(const ref_ptr<latch_state>& target, std::size_t brings)
      : wait_op{target, target->mutex_, target->waiters_},
        target_{*target},
        brings_{brings} {}

protected:
  void arrive(wake_list& woken) noexcept override {
    if (brings_ > target_.missing_) {
      woken.add(*this, make_failure(ec::invalid_option,
                                    beyond_zero(brings_, target_.missing_),
                                    false, label()));
      return;
    }
    target_.waiters_.push_back(*this);
    target_.take_off(brings_, woken);
  }

  failure_ptr given_up(ec why) const override {
    return make_failure(why,
                        "the wait for a latch was given up before it was open",
                        brings_ > 0, label());
  }

private:
  latch_state& target_;
  std::size_t brings_;
};

// -- latch_state --------------------------------------------------------------

void latch_state::count_down(std::size_t n) {
  wake_list woken;
  std::lock_guard guard{mutex_};
  if (n > missing_)
    throw failure{ec::invalid_option, beyond_zero(n, missing_)};
  take_off(n, woken);
}

std::size_t latch_state::missing() const {
  std::lock_guard guard{mutex_};
  return missing_;
}

operation<void> latch_state::wait() {
  return arrive_and_wait(0);
}

operation<void> latch_state::arrive_and_wait(std::size_t n) {
  return operation<void>{make_ref<latch_wait>(ref_ptr<latch_state>{this}, n)};
}

void latch_state::on_operation_complete() noexcept {
  wake_list woken;
  std::lock_guard guard{mutex_};
  take_off(std::min<std::size_t>(missing_, 1), woken);
}

void latch_state::take_off(std::size_t n, wake_list& woken) noexcept {
  missing_ -= n;
  if (missing_ == 0)
    woken.add_all(waiters_);
}

// -- actor --------------------------------------------------------------------

namespace {

class latch_actor : public face_actor {
public:
  latch_actor(caf::actor_config& cfg, ref_ptr<latch_state> state)
      : face_actor(cfg, "the latch was not open before its last handle went"),
        state_{std::move(state)} {}

  const char* name() const override { return "troupe.latch"; }

protected:
  caf::message_handler handlers() override {
    return {
        [this](count_down_atom) { return count_down(1); },
        [this](count_down_atom, std::uint64_t n) { return count_down(n); },
        [this](count_atom) -> caf::result<std::uint64_t> {
          return std::uint64_t{state_->missing()};
        },
        [this](wait_atom) -> caf::result<void> {
          return answer(state_->wait(),
                        [](asker& who) { who.promise.deliver(caf::unit); });
        },
    };
  }

private:
  caf::result<void> count_down(std::uint64_t n) {
    try {
      state_->count_down(n);
      return caf::unit;
    } catch (const failure& err) {
      return err.to_error();
    }
  }

  ref_ptr<latch_state> state_;
};

} // namespace

// -- latch --------------------------------------------------------------------

latch::latch(caf::actor_system& system, std::size_t count)
    : shared_{std::make_shared<faced<latch_state>>(
        system, checked_count("a latch from which", count, "are missing", 0))} {
}

caf::actor latch::actor() const {
  return shared_->face.actor([this](caf::actor_system& sys) {
    return compat::spawn_thread<latch_actor>(sys, "the actor of a latch",
                                             shared_->state);
  });
}

} // namespace troupe
