// The relatives of event as an actor sees them that sends plain messages; and
// that a sender which has ended leaves nothing behind.

#include "troupe/mailbox_face.hpp"

#include "actor_ways.hpp"
#include "mail.hpp"

#include <catch2/catch.hpp>

#include <memory>
#include <optional>

using test::request;
using troupe::ec;

namespace {

using nothing = std::monostate;

/// An actor that sends one request, and what it has heard of it. It lives on
/// until it is ended.
template <class T>
class asker {
public:
  template <class Atom>
  asker(caf::actor_system& sys, const caf::actor& to, Atom what) {
    auto state = state_;
    actor_ = sys.spawn([=](caf::event_based_actor* self) -> caf::behavior {
      // CAF calls the functors of an actor from the last to the first, so this
      // comes behind the one of `to`.
      self->attach_functor([state](const caf::error&) { state->over.add(); });
      auto fail = [state](const caf::error& why) {
        state->code = troupe::failure_of(why)->code;
        state->answers.add();
      };
      auto asked = [&] {
        return troupe::compat::ask(self, to, troupe::compat::forever, what);
      };
      if constexpr (std::is_same_v<T, nothing>)
        asked().then([state] { state->answers.add(); }, fail);
      else
        asked().then(
            [state](T x) {
              state->value = x;
              state->answers.add();
            },
            fail);
      state->asked.add();
      return {[](int) {}};
    });
    state_->asked.wait_for(1);
  }

  asker(const asker&) = delete;
  asker& operator=(const asker&) = delete;

  ~asker() { end(); }

  /// Returns the answer; nothing if it was an error.
  std::optional<T> answer() {
    state_->answers.wait_for(1);
    if (state_->code != ec{})
      return std::nullopt;
    return state_->value;
  }

  /// Returns the code of the error.
  ec code() {
    state_->answers.wait_for(1);
    return state_->code;
  }

  /// Returns whether there was an answer.
  bool answered() const { return state_->answers.value() > 0; }

  /// Ends the actor; whoever has known it has been told when this returns.
  void end() {
    if (!actor_)
      return;
    caf::anon_send_exit(actor_, caf::exit_reason::kill);
    actor_ = nullptr;
    state_->over.wait_for(1);
  }

private:
  struct content {
    test::tally asked;
    test::tally answers;
    test::tally over;
    T value{};
    ec code{};
  };

  std::shared_ptr<content> state_ = std::make_shared<content>();
  caf::actor actor_;
};

std::uint64_t count(caf::actor_system& sys, const caf::actor& face) {
  return request<std::uint64_t>(sys, face, troupe::count_atom_v).value.value();
}

template <class... Ts>
ec told(caf::actor_system& sys, const caf::actor& face, Ts... xs) {
  return request<nothing>(sys, face, xs...).code();
}

} // namespace

// -- latch --------------------------------------------------------------------

TEST_CASE("a latch understands count_down, count and wait", "[mailbox_face]") {
  test::actor_world world;
  troupe::latch all{world.sys, 4};
  auto face = all.actor();
  CHECK(count(world.sys, face) == 4);
  CHECK(told(world.sys, face, troupe::count_down_atom_v) == ec{});
  CHECK(all.missing() == 3);
  CHECK(told(world.sys, face, troupe::count_down_atom_v, std::uint64_t{4})
        == ec::invalid_option);
  CHECK(all.missing() == 3);
  asker<nothing> waits{world.sys, face, troupe::wait_atom_v};
  // Answered behind the wait.
  CHECK(count(world.sys, face) == 3);
  CHECK_FALSE(waits.answered());
  CHECK(told(world.sys, face, troupe::count_down_atom_v, std::uint64_t{3})
        == ec{});
  CHECK(waits.answer().has_value());
  CHECK(told(world.sys, face, troupe::wait_atom_v) == ec{});
}

// -- barrier ------------------------------------------------------------------

TEST_CASE("a barrier understands wait, count, abort and reset",
          "[mailbox_face]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 2};
  auto face = meeting.actor();
  asker<std::uint64_t> first{world.sys, face, troupe::wait_atom_v};
  CHECK(count(world.sys, face) == 1);
  CHECK_FALSE(first.answered());
  // By message and by function at once.
  CHECK(meeting.wait().get() == 1);
  CHECK(first.answer() == 0);
  asker<std::uint64_t> broken{world.sys, face, troupe::wait_atom_v};
  CHECK(count(world.sys, face) == 1);
  CHECK(told(world.sys, face, troupe::abort_atom_v) == ec{});
  CHECK(broken.code() == ec::closed);
  CHECK(meeting.broken());
  CHECK(told(world.sys, face, troupe::reset_atom_v) == ec{});
  CHECK_FALSE(meeting.broken());
}

TEST_CASE("a sender that ends is no party of the barrier", "[mailbox_face]") {
  test::actor_world world;
  troupe::barrier meeting{world.sys, 2};
  auto face = meeting.actor();
  asker<std::uint64_t> gone{world.sys, face, troupe::wait_atom_v};
  CHECK(count(world.sys, face) == 1);
  gone.end();
  CHECK(count(world.sys, face) == 0);
  asker<std::uint64_t> first{world.sys, face, troupe::wait_atom_v};
  CHECK(count(world.sys, face) == 1);
  CHECK_FALSE(first.answered());
  CHECK(meeting.wait().get() == 1);
  CHECK(first.answer() == 0);
}

// -- semaphore ----------------------------------------------------------------

TEST_CASE("a semaphore understands acquire, try_acquire, release and count",
          "[mailbox_face]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 2, 2};
  auto face = slots.actor();
  CHECK(count(world.sys, face) == 2);
  asker<nothing> first{world.sys, face, troupe::acquire_atom_v};
  CHECK(first.answer().has_value());
  CHECK(count(world.sys, face) == 1);
  asker<bool> second{world.sys, face, troupe::try_acquire_atom_v};
  CHECK(second.answer() == true);
  asker<bool> third{world.sys, face, troupe::try_acquire_atom_v};
  CHECK(third.answer() == false);
  asker<nothing> waits{world.sys, face, troupe::acquire_atom_v};
  CHECK(count(world.sys, face) == 0);
  CHECK_FALSE(waits.answered());
  slots.release();
  CHECK(waits.answer().has_value());
  CHECK(slots.available() == 0);
  slots.release(2);
  CHECK(told(world.sys, face, troupe::release_atom_v) == ec::invalid_option);
  CHECK(slots.available() == 2);
}

TEST_CASE("a sender that ends gives its permits back, and those only",
          "[mailbox_face]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 3};
  auto face = slots.actor();
  asker<nothing> by_acquire{world.sys, face, troupe::acquire_atom_v};
  asker<bool> by_try{world.sys, face, troupe::try_acquire_atom_v};
  CHECK(by_acquire.answer().has_value());
  CHECK(by_try.answer() == true);
  auto mine = slots.acquire().get();
  CHECK(slots.available() == 0);
  by_acquire.end();
  CHECK(count(world.sys, face) == 1);
  by_try.end();
  CHECK(count(world.sys, face) == 2);
  mine.release();
  CHECK(slots.available() == 3);
}

TEST_CASE("a sender that has released its permit gives nothing back as it ends",
          "[mailbox_face]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 1};
  auto face = slots.actor();
  auto over = std::make_shared<test::tally>();
  world.sys.spawn([=](caf::event_based_actor* self) {
    self->attach_functor([over](const caf::error&) { over->add(); });
    troupe::compat::ask(self, face, troupe::compat::forever,
                        troupe::acquire_atom_v)
        .then([=] {
          troupe::compat::ask(self, face, troupe::compat::forever,
                              troupe::release_atom_v)
              .then([] {});
        });
  });
  over->wait_for(1);
  CHECK(count(world.sys, face) == 1);
}

TEST_CASE("a sender that ends while it waits for a permit gets none",
          "[mailbox_face]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 0};
  auto face = slots.actor();
  asker<nothing> gone{world.sys, face, troupe::acquire_atom_v};
  CHECK(count(world.sys, face) == 0);
  gone.end();
  CHECK(count(world.sys, face) == 0);
  slots.release();
  CHECK(slots.available() == 1);
}

TEST_CASE("a permit for a message without a sender goes back",
          "[mailbox_face]") {
  test::actor_world world;
  troupe::semaphore slots{world.sys, 1};
  auto face = slots.actor();
  troupe::compat::tell(face, troupe::try_acquire_atom_v);
  CHECK(count(world.sys, face) == 1);
  troupe::compat::tell(face, troupe::acquire_atom_v);
  asker<nothing> next{world.sys, face, troupe::acquire_atom_v};
  CHECK(next.answer().has_value());
}

// -- the end ------------------------------------------------------------------

TEST_CASE("who waits by message hears when the last handle goes",
          "[mailbox_face]") {
  test::actor_world world;
  auto all = std::make_optional<troupe::latch>(world.sys, 1);
  auto meeting = std::make_optional<troupe::barrier>(world.sys, 2);
  auto slots = std::make_optional<troupe::semaphore>(world.sys, 0);
  asker<nothing> opens{world.sys, all->actor(), troupe::wait_atom_v};
  asker<std::uint64_t> meets{world.sys, meeting->actor(), troupe::wait_atom_v};
  asker<nothing> acquires{world.sys, slots->actor(), troupe::acquire_atom_v};
  // Answered behind the waits, which exit messages would overtake.
  CHECK(count(world.sys, all->actor()) == 1);
  CHECK(count(world.sys, meeting->actor()) == 1);
  CHECK(count(world.sys, slots->actor()) == 0);
  all.reset();
  meeting.reset();
  slots.reset();
  CHECK(opens.code() == ec::owner_gone);
  CHECK(meets.code() == ec::owner_gone);
  CHECK(acquires.code() == ec::owner_gone);
}
