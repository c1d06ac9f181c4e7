#include "troupe/semaphore.hpp"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

#include "troupe/count.hpp"
#include "troupe/messages.hpp"

namespace troupe {

namespace {

/// The bound of a semaphore that has none.
constexpr std::size_t most_permits = PTRDIFF_MAX;

} // namespace

/// One wait for a permit. Its result gives the permit back unless it is taken.
class semaphore_wait final : public wait_op {
public:
  explicit semaphore_wait(const ref_ptr<semaphore_state>& target)
      : wait_op{target, target->mutex_, target->waiters_}, target_{target} {}

  void* result() override { return &permit_; }

  /// Under the lock: a permit has been taken for it.
  void grant() noexcept { permit_ = permit{target_}; }

protected:
  void arrive(wake_list& woken) noexcept override {
    if (target_->free_ == 0) {
      target_->waiters_.push_back(*this);
      return;
    }
    --target_->free_;
    grant();
    woken.add(*this);
  }

  failure_ptr given_up(ec why) const override {
    return make_failure(
        why, "the wait for a permit was given up before one was free", false,
        label());
  }

private:
  ref_ptr<semaphore_state> target_;
  permit permit_;
};

// -- semaphore_state ----------------------------------------------------------

operation<permit> semaphore_state::acquire() {
  return operation<permit>{
      make_ref<semaphore_wait>(ref_ptr<semaphore_state>{this})};
}

bool semaphore_state::try_acquire() {
  std::lock_guard guard{mutex_};
  if (free_ == 0)
    return false;
  --free_;
  return true;
}

void semaphore_state::release(std::size_t n) {
  wake_list woken;
  std::lock_guard guard{mutex_};
  if (n > bound_ - free_)
    throw failure{ec::invalid_option,
                  fmt::format("cannot release {} permits of a semaphore with "
                              "{} free and a bound of {}: 0 to {} are accepted",
                              n, free_, bound_, bound_ - free_)};
  add(n, woken);
}

void semaphore_state::give_back() noexcept {
  wake_list woken;
  std::lock_guard guard{mutex_};
  add(std::min<std::size_t>(bound_ - free_, 1), woken);
}

std::size_t semaphore_state::available() const {
  std::lock_guard guard{mutex_};
  return free_;
}

void semaphore_state::add(std::size_t n, wake_list& woken) noexcept {
  for (; n > 0 && !waiters_.empty(); --n) {
    auto& next = waiters_.pop_front();
    static_cast<semaphore_wait&>(next).grant();
    woken.add(next);
  }
  free_ += n;
}

// -- actor --------------------------------------------------------------------

namespace {

class semaphore_actor : public face_actor {
public:
  semaphore_actor(caf::actor_config& cfg, ref_ptr<semaphore_state> state)
      : face_actor(cfg, "no permit was free before the semaphore's last handle "
                        "went"),
        state_{std::move(state)} {}

  const char* name() const override { return "troupe.semaphore"; }

protected:
  caf::message_handler handlers() override {
    return {
        [this](acquire_atom) -> caf::result<void> {
          return answer(state_->acquire(), [this](asker& who, permit got) {
            hold(who.address, got);
            who.promise.deliver(caf::unit);
          });
        },
        [this](try_acquire_atom) -> caf::result<bool> {
          auto who = know_sender();
          if (!state_->try_acquire())
            return false;
          permit got{state_};
          hold(who, got);
          return true;
        },
        [this](release_atom) -> caf::result<void> {
          try {
            state_->release(1);
          } catch (const failure& err) {
            return err.to_error();
          }
          drop_one(sender_address());
          return caf::unit;
        },
        [this](count_atom) -> caf::result<std::uint64_t> {
          return std::uint64_t{state_->available()};
        },
    };
  }

  void lose_sender(const caf::actor_addr& gone) override {
    auto found = held_.extract(gone);
    if (!found)
      return;
    for (auto n = found.mapped(); n > 0; --n)
      state_->give_back();
  }

private:
  // Nobody at all could not give it back.
  void hold(const caf::actor_addr& who, permit& got) {
    if (!who)
      return;
    got.detach();
    ++held_[who];
  }

  void drop_one(const caf::actor_addr& who) {
    auto found = held_.find(who);
    if (found != held_.end() && --found->second == 0)
      held_.erase(found);
  }

  ref_ptr<semaphore_state> state_;
  // Permits that senders have got.
  std::map<caf::actor_addr, std::size_t> held_;
};

} // namespace

// -- semaphore ----------------------------------------------------------------

semaphore::semaphore(caf::actor_system& system, std::size_t permits)
    : semaphore{system, permits, most_permits} {}

semaphore::semaphore(caf::actor_system& system, std::size_t permits,
                     std::size_t bound)
    : shared_{std::make_shared<faced<semaphore_state>>(
        system, checked_count("a semaphore with", permits, "permits", 0),
        checked_count("a semaphore with a bound of", bound, "permits", 1))} {
  if (permits > bound)
    throw failure{ec::invalid_option,
                  fmt::format("cannot make a semaphore with {} permits and a "
                              "bound of {}: 0 to {} permits are accepted",
                              permits, bound, bound)};
}

operation<permit> semaphore::acquire() const {
  return shared_->state->acquire();
}

caf::actor semaphore::actor() const {
  return shared_->face.actor([this](caf::actor_system& sys) {
    return compat::spawn_thread<semaphore_actor>(
        sys, "the actor of a semaphore", shared_->state);
  });
}

} // namespace troupe
