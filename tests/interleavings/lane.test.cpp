// The real lane.hpp, step by step: each request of a lane is given away once,
// in every order in which an owner, thieves and a cancel can meet on x86.

#include "troupe/lane.hpp"

#include <catch2/catch.hpp>

#include <memory>
#include <string>
#include <vector>

using explore::options;
using explore::world;
using troupe::index_range;
using troupe::lane;

namespace {

/// A lane, and how often each request was given away.
struct state {
  explicit state(std::uint32_t size) : given(size) {}

  void give(std::uint32_t index) {
    if (++given[index] > 1)
      explore::fail("request " + std::to_string(index)
                    + " was given away twice");
  }

  void give(index_range range) {
    for (auto i = range.begin; i < range.end; ++i)
      give(i);
  }

  void start_all() {
    for (auto i = it.start(); i != lane::none; i = it.start())
      give(i);
  }

  void check_all_given() {
    for (std::size_t i = 0; i < given.size(); ++i)
      if (given[i] == 0)
        explore::fail("request " + std::to_string(i) + " was lost");
  }

  lane it;
  std::vector<int> given;
};

auto owner_and_thieves(std::uint32_t size, bool second_thief) {
  return [=](world& w) {
    auto s = std::make_shared<state>(size);
    s->it.try_own();
    s->it.publish({0, size});
    w.thread("owner", [s] { s->start_all(); });
    w.thread("thief", [s] { s->give(s->it.steal_half()); });
    if (second_thief)
      w.thread("cancel", [s] { s->give(s->it.drop()); });
    w.after([s] { s->check_all_given(); });
  };
}

/// Explores under x86's store buffers, with and without asymmetric fence.
template <class Body>
void check_in_every_order(const char* what, Body body) {
  for (auto asymmetric : {true, false}) {
    options how;
    how.fence_exists = asymmetric;
    auto result = explore::all(how, body);
    CHECK(result.failure == "");
    CHECK(result.complete);
    WARN(what << (asymmetric ? ", asymmetric fence: " : ", full fence: ")
              << result.runs << " orders");
  }
}

} // namespace

TEST_CASE(
    "a lane gives each request to its owner or to a thief, in every order",
    "[lane]") {
  check_in_every_order("one request and a thief", owner_and_thieves(1, false));
  check_in_every_order("three requests and a thief",
                       owner_and_thieves(3, false));
}

TEST_CASE("a lane gives each request away once when a thief and a cancel meet, "
          "in every order",
          "[lane]") {
  check_in_every_order("two requests, a thief and a cancel",
                       owner_and_thieves(2, true));
}

TEST_CASE("a lane that is filled again gives each request away once, in every "
          "order",
          "[lane]") {
  check_in_every_order("two times one request and a thief", [](world& w) {
    auto s = std::make_shared<state>(2);
    s->it.try_own();
    w.thread("owner", [s] {
      for (auto i = 0u; i < 2; ++i) {
        s->it.publish({i, i + 1});
        s->start_all();
      }
    });
    w.thread("thief", [s] { s->give(s->it.steal_one()); });
    w.after([s] { s->check_all_given(); });
  });
}

TEST_CASE("what an owner leaves behind is given away once, in every order",
          "[lane]") {
  check_in_every_order(
      "an owner that leaves, its successor and a thief", [](world& w) {
        auto s = std::make_shared<state>(2);
        s->it.try_own();
        s->it.publish({0, 2});
        w.thread("owner", [s] {
          auto first = s->it.start();
          if (first != lane::none)
            s->give(first);
          s->it.disown();
        });
        w.thread("successor", [s] {
          if (s->it.try_own())
            s->start_all();
          else
            s->give(s->it.drop());
        });
        w.thread("thief", [s] { s->give(s->it.steal_half()); });
        w.after([s] {
          s->give(s->it.drop());
          s->check_all_given();
        });
      });
}

TEST_CASE("what an owner starts and gives back is given away once, in every "
          "order",
          "[lane]") {
  check_in_every_order(
      "an owner that gives back one of two, and a thief", [](world& w) {
        auto s = std::make_shared<state>(2);
        s->it.try_own();
        s->it.publish({0, 2});
        w.thread("owner", [s] {
          auto first = s->it.start();
          if (first != lane::none)
            s->give(first);
          auto second = s->it.start();
          if (second != lane::none)
            s->it.give_back(second);
          s->start_all();
        });
        w.thread("thief", [s] { s->give(s->it.steal_half()); });
        w.after([s] { s->check_all_given(); });
      });
  check_in_every_order(
      "an owner that gives back all and leaves, and a thief", [](world& w) {
        auto s = std::make_shared<state>(2);
        s->it.try_own();
        s->it.publish({0, 2});
        w.thread("owner", [s] {
          auto first = s->it.start();
          s->it.start();
          if (first != lane::none)
            s->it.give_back(first);
          s->it.disown();
        });
        w.thread("thief", [s] { s->give(s->it.steal_half()); });
        w.after([s] {
          s->give(s->it.drop());
          s->check_all_given();
        });
      });
}

// Without it, the owner's announcement may still be in its store buffer when
// the thief looks for it.
TEST_CASE("without the expensive fence a request is given away twice",
          "[lane]") {
  options how;
  how.fence_works = false;
  auto result = explore::all(how, owner_and_thieves(1, false));
  CHECK(result.failure.find("request 0 was given away twice") == 0);
  how.store_buffers = false;
  CHECK(explore::all(how, owner_and_thieves(1, false)).failure == "");
}
