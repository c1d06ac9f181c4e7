// Many single requests as one batch: each keeps its own function and result,
// the group counts and stops them.

#include "troupe/group_batch.hpp"

#include "gate.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <stdexcept>
#include <vector>

using test::batch_of;
using test::thread_crew;
using troupe::batch;
using troupe::ec;
using troupe::group_batch;
using troupe::make_batch;
using troupe::make_ref;
using troupe::ref_ptr;

namespace {

template <class T>
std::vector<batch*> members(const std::vector<troupe::typed_batch<T>>& all,
                            thread_crew& crew) {
  std::vector<batch*> result;
  for (auto& x : all) {
    // As an operation does, before anybody knows that it will be a member.
    batch_of(x).set_home(ref_ptr{&crew.home()});
    result.push_back(&batch_of(x));
  }
  return result;
}

} // namespace

TEST_CASE("each member of a group has its own result", "[group_batch]") {
  thread_crew crew{3};
  std::vector<troupe::typed_batch<int>> all;
  for (int i = 0; i < 1'000; ++i)
    all.push_back(make_batch([i] { return i * i; }));
  auto group = make_ref<group_batch>(members(all, crew));
  crew.submit(*group);
  group->wait();
  REQUIRE_FALSE(group->failed());
  auto wrong = 0;
  for (int i = 0; i < 1'000; ++i)
    wrong += all[static_cast<std::size_t>(i)].result() != i * i;
  CHECK(wrong == 0);
}

TEST_CASE("a group counts once, as one batch with as many requests",
          "[group_batch]") {
  thread_crew crew{2};
  crew.home().subscribe(true);
  std::vector<troupe::typed_batch<void>> all;
  for (int i = 0; i < 100; ++i)
    all.push_back(make_batch([] {}));
  auto group = make_ref<group_batch>(members(all, crew));
  crew.submit(*group);
  group->wait();
  CHECK(crew.stats().batches == 1);
  CHECK(crew.stats().succeeded == 100);
  std::lock_guard guard{crew.log().mutex};
  CHECK(crew.log().completions.size() == 1);
}

TEST_CASE("the first failure of a group drops the rest", "[group_batch]") {
  thread_crew crew{1};
  std::atomic<int> ran{0};
  std::vector<troupe::typed_batch<void>> all;
  for (int i = 0; i < 100; ++i)
    all.push_back(make_batch([&ran, i] {
      ++ran;
      if (i == 3)
        throw std::runtime_error{"disk on fire"};
    }));
  auto group = make_ref<group_batch>(members(all, crew));
  crew.submit(*group);
  group->wait();
  REQUIRE(group->failed());
  CHECK_THROWS_WITH(troupe::rethrow(*group->failed()), "disk on fire");
  CHECK(ran == 4);
  auto what = group->summary();
  CHECK(what.succeeded == 3);
  CHECK(what.failed == 1);
  CHECK(what.cancelled == 96);
  CHECK(crew.stats().failed == 1);
}

// A member has a stop source of its own, which nobody would ever stop.
TEST_CASE("a cancelled group asks its running members to stop",
          "[group_batch]") {
  test::gate asked;
  test::gate running;
  thread_crew crew{1};
  std::vector<troupe::typed_batch<int>> all;
  all.push_back(make_batch([&](troupe::context& ctx) {
    auto hook = ctx.on_cancel([&] { asked.open(); });
    running.touch();
    asked.pass();
    return ctx.stop_token().stop_requested() ? 1 : 0;
  }));
  all.push_back(make_batch([] { return 2; }));
  test::open_at_exit release{asked};
  auto group = make_ref<group_batch>(members(all, crew));
  crew.submit(*group);
  running.wait_for_arrivals();
  group->cancel(ec::cancelled);
  group->wait();
  CHECK(all[0].result() == 1);
  REQUIRE(group->failed());
  CHECK(group->failed()->code == ec::cancelled);
  CHECK(group->summary().cancelled == 1);
}

TEST_CASE("a group that nobody stops asks nobody to stop", "[group_batch]") {
  thread_crew crew{1};
  std::vector<troupe::typed_batch<bool>> all;
  for (int i = 0; i < 2; ++i)
    all.push_back(make_batch([](troupe::context& ctx) {
      return ctx.stop_token().stop_requested();
    }));
  auto group = make_ref<group_batch>(members(all, crew));
  crew.submit(*group);
  group->wait();
  CHECK_FALSE(all[0].result());
  CHECK_FALSE(all[1].result());
}
