// The list in which operations wait for a word: order, leaving, and waking, on
// one thread and on several.

#include "troupe/wait_list.hpp"

#include "race.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <functional>
#include <vector>

using troupe::ec;
using troupe::make_ref;
using troupe::ref_ptr;
using troupe::wait_op;
using troupe::wake_list;

namespace {

/// A door at which operations wait, in any number, or until one of them is
/// called in.
class door final : public troupe::ref_counted {
public:
  void open() {
    wake_list woken;
    std::lock_guard guard{mutex};
    is_open = true;
    woken.add_all(waiters);
  }

  void shut_for_good() {
    wake_list woken;
    std::lock_guard guard{mutex};
    woken.add_all(waiters, troupe::make_failure(ec::closed, "shut"));
  }

  /// Lets in the first one, or whoever comes next.
  void call_in() {
    wake_list woken;
    std::lock_guard guard{mutex};
    if (waiters.empty())
      ++calls;
    else
      woken.add(waiters.pop_front());
  }

  std::size_t waiting() {
    std::lock_guard guard{mutex};
    return waiters.size();
  }

  std::mutex mutex;
  troupe::wait_list waiters;
  bool is_open = false;
  int calls = 0;
};

class visit final : public wait_op {
public:
  explicit visit(const ref_ptr<door>& target)
      : wait_op{target, target->mutex, target->waiters}, target_{*target} {}

  ~visit() override {
    if (on_end)
      on_end();
  }

  std::function<void()> on_end;

protected:
  void arrive(wake_list& woken) noexcept override {
    if (target_.is_open || target_.calls > 0) {
      target_.calls -= target_.is_open ? 0 : 1;
      woken.add(*this);
    } else {
      target_.waiters.push_back(*this);
    }
  }

  troupe::failure_ptr given_up(ec why) const override {
    return troupe::make_failure(why, "went away", false, label());
  }

private:
  door& target_;
};

/// Calls a function on completion.
class then_call final : public troupe::continuation {
public:
  explicit then_call(std::function<void()> what) : what_{std::move(what)} {}

  void on_complete(troupe::op_state&) noexcept override { what_(); }

private:
  std::function<void()> what_;
};

ref_ptr<visit> started(const ref_ptr<door>& target) {
  auto op = make_ref<visit>(target);
  op->start();
  return op;
}

} // namespace

// -- order --------------------------------------------------------------------

TEST_CASE("those who wait are woken in the order in which they came",
          "[wait_list]") {
  auto entry = make_ref<door>();
  std::vector<ref_ptr<visit>> visits;
  std::vector<int> order;
  std::vector<std::unique_ptr<then_call>> calls;
  for (int i = 0; i < 5; ++i) {
    visits.push_back(started(entry));
    calls.push_back(
        std::make_unique<then_call>([&order, i] { order.push_back(i); }));
    CHECK(visits.back()->attach(*calls.back()));
  }
  CHECK(entry->waiting() == 5);
  entry->open();
  CHECK(order == std::vector{0, 1, 2, 3, 4});
  CHECK(entry->waiting() == 0);
}

TEST_CASE("one is woken at a time where that is asked", "[wait_list]") {
  auto entry = make_ref<door>();
  auto first = started(entry);
  auto second = started(entry);
  entry->call_in();
  CHECK(first->done());
  CHECK_FALSE(second->done());
  entry->call_in();
  CHECK(second->done());
  entry->call_in();
  CHECK(started(entry)->done());
}

TEST_CASE("who does not have to wait is done when started", "[wait_list]") {
  auto entry = make_ref<door>();
  entry->open();
  auto op = started(entry);
  CHECK(op->done());
  CHECK_FALSE(op->failed());
}

TEST_CASE("those who wait can be woken with a failure", "[wait_list]") {
  auto entry = make_ref<door>();
  auto first = started(entry);
  auto second = started(entry);
  entry->shut_for_good();
  REQUIRE(first->done());
  REQUIRE(first->failed());
  CHECK(first->failed()->code == ec::closed);
  CHECK(second->failed()->code == ec::closed);
}

// -- leaving ------------------------------------------------------------------

TEST_CASE("whoever gives up leaves the others in their order", "[wait_list]") {
  auto who = GENERATE(0, 1, 2);
  CAPTURE(who);
  auto entry = make_ref<door>();
  std::vector<ref_ptr<visit>> visits;
  for (int i = 0; i < 3; ++i)
    visits.push_back(started(entry));
  visits[who]->cancel(ec::deadline_exceeded);
  REQUIRE(visits[who]->done());
  CHECK(visits[who]->failed()->code == ec::deadline_exceeded);
  CHECK(entry->waiting() == 2);
  visits.erase(visits.begin() + who);
  entry->call_in();
  CHECK(visits[0]->done());
  CHECK_FALSE(visits[1]->done());
  entry->call_in();
  CHECK(visits[1]->done());
}

TEST_CASE("a wait that is over cannot be given up", "[wait_list]") {
  auto entry = make_ref<door>();
  auto op = started(entry);
  entry->call_in();
  op->cancel(ec::cancelled);
  CHECK_FALSE(op->failed());
}

TEST_CASE("a wait that is cancelled before it starts never joins",
          "[wait_list]") {
  auto entry = make_ref<door>();
  auto op = make_ref<visit>(entry);
  op->cancel(ec::cancelled);
  op->start();
  CHECK(op->failed()->code == ec::cancelled);
  CHECK(entry->waiting() == 0);
}

// -- waking -------------------------------------------------------------------

TEST_CASE("whoever is woken may wait again at once", "[wait_list]") {
  // Woken under the lock, it would never get in. Failure here is a hang.
  auto entry = make_ref<door>();
  ref_ptr<visit> again;
  then_call rejoin{[&] { again = started(entry); }};
  auto op = started(entry);
  CHECK(op->attach(rejoin));
  entry->call_in();
  REQUIRE(again);
  CHECK_FALSE(again->done());
  CHECK(entry->waiting() == 1);
  entry->call_in();
  CHECK(again->done());
}

TEST_CASE("who is woken by somebody that is woken is done when that returns",
          "[wait_list]") {
  auto outer = make_ref<door>();
  auto inner = make_ref<door>();
  auto waits_inside = started(inner);
  auto done_on_return = false;
  then_call open_inner{[&] {
    inner->open();
    done_on_return = waits_inside->done();
  }};
  auto op = started(outer);
  CHECK(op->attach(open_inner));
  outer->open();
  CHECK(done_on_return);
}

TEST_CASE("a long chain in which each one wakes the next is woken to its end",
          "[wait_list]") {
  // Each is destroyed on completion, and calls in the next one then. Failure
  // here is an overflow of the stack.
  constexpr auto length = 200'000;
  auto entry = make_ref<door>();
  auto ended = 0;
  for (int i = 0; i < length; ++i) {
    auto op = make_ref<visit>(entry);
    op->on_end = [&] {
      ++ended;
      entry->call_in();
    };
    op->start();
  }
  entry->call_in();
  CHECK(ended == length);
  CHECK(entry->waiting() == 0);
}

// -- races --------------------------------------------------------------------

TEST_CASE("a wait that is called in while it is given up ends one way",
          "[wait_list]") {
  auto entry = make_ref<door>();
  ref_ptr<visit> op;
  auto called_in = 0;
  auto given_up = 0;
  test::race(
      10'000, [&](int) { op = started(entry); }, [&](int) { entry->call_in(); },
      [&](int) { op->cancel(ec::cancelled); },
      [&](int) {
        if (op->done() && !op->failed()) {
          ++called_in;
        } else if (op->done()) {
          ++given_up;
          // The call was not used up.
          called_in -= started(entry)->done() ? 0 : 1;
        }
      });
  CHECK(called_in + given_up == 10'000);
  CHECK(entry->waiting() == 0);
}

TEST_CASE("a wait that starts while others are woken is not overlooked",
          "[wait_list]") {
  auto entry = make_ref<door>();
  ref_ptr<visit> op;
  auto done = 0;
  test::race(
      10'000,
      [&](int) {
        entry->is_open = false;
        op = make_ref<visit>(entry);
      },
      [&](int) { op->start(); }, [&](int) { entry->open(); },
      [&](int) { done += op->done() ? 1 : 0; });
  CHECK(done == 10'000);
}

TEST_CASE("a wait that is cancelled while it starts ends", "[wait_list]") {
  // Also if the cancel comes between the start and the arrival.
  auto entry = make_ref<door>();
  ref_ptr<visit> op;
  auto done = 0;
  test::race(
      10'000, [&](int) { op = make_ref<visit>(entry); },
      [&](int) { op->start(); }, [&](int) { op->cancel(ec::cancelled); },
      [&](int) { done += op->done() && op->failed() ? 1 : 0; });
  CHECK(done == 10'000);
  CHECK(entry->waiting() == 0);
}
