// Whoever says that something holds in every order must find each order: the
// explorer is shown small programs whose outcomes are known.

#include "explorer.hpp"

#include <catch2/catch.hpp>

#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

using explore::atomic;
using explore::options;
using explore::world;

namespace {

/// Two threads that each write their own variable and then read the other's.
struct store_buffering {
  atomic<int> x{0};
  atomic<int> y{0};
  int saw_x = -1;
  int saw_y = -1;
};

template <class Write>
std::set<std::pair<int, int>> outcomes_of_store_buffering(options how,
                                                          Write write) {
  std::set<std::pair<int, int>> seen;
  auto result = explore::all(how, [&](world& w) {
    auto s = std::make_shared<store_buffering>();
    w.thread("a", [s, write] {
      write(s->x);
      s->saw_y = s->y.load();
    });
    w.thread("b", [s, write] {
      write(s->y);
      s->saw_x = s->x.load();
    });
    w.after([s, &seen] { seen.emplace(s->saw_x, s->saw_y); });
  });
  CHECK(result.complete);
  return seen;
}

/// A program of loads, stores and additions made up from a seed; what each
/// thread read and what is left in memory is its outcome.
struct made_up {
  atomic<int> cells[2];
  std::vector<int> log[3];
};

std::pair<std::set<std::vector<int>>, std::uint64_t>
outcomes_of_made_up(unsigned seed, bool reduce) {
  std::set<std::vector<int>> seen;
  options how;
  how.reduce = reduce;
  auto result = explore::all(how, [&](world& w) {
    auto s = std::make_shared<made_up>();
    std::minstd_rand random{seed};
    for (int t = 0; t < 2 + static_cast<int>(seed % 2); ++t) {
      std::vector<std::pair<unsigned, unsigned>> plan;
      for (int i = 0; i < (seed % 2 ? 2 : 3); ++i) {
        auto what = static_cast<unsigned>(random() / 7 % 5);
        plan.emplace_back(what, random() / 7 % 2);
      }
      w.thread(std::string(1, static_cast<char>('a' + t)), [s, t, plan] {
        auto value = t * 10;
        for (auto [what, where] : plan) {
          auto& cell = s->cells[where];
          if (what <= 1)
            s->log[t].push_back(cell.load());
          else if (what <= 3)
            cell.store(++value, std::memory_order_relaxed);
          else
            s->log[t].push_back(cell.fetch_add(100));
        }
      });
    }
    w.after([s, &seen] {
      std::vector<int> all;
      for (auto& log : s->log) {
        all.insert(all.end(), log.begin(), log.end());
        all.push_back(-1);
      }
      for (auto& cell : s->cells)
        all.push_back(cell.load());
      seen.insert(std::move(all));
    });
  });
  REQUIRE(result.complete);
  return {seen, result.runs};
}

} // namespace

TEST_CASE("a lost update is found", "[explorer]") {
  auto result = explore::all({}, [](world& w) {
    auto count = std::make_shared<atomic<int>>(0);
    for (auto name : {"a", "b"})
      w.thread(name, [count] { count->store(count->load() + 1); });
    w.after([count] {
      if (count->load() != 2)
        explore::fail("an update was lost");
    });
  });
  CHECK_FALSE(result.complete);
  CHECK(result.failure.find("an update was lost") == 0);
  // And the way to it is told.
  CHECK(result.failure.find("a loads (explorer.test.cpp:")
        != std::string::npos);
}

TEST_CASE("additions lose nothing in any order", "[explorer]") {
  auto result = explore::all({}, [](world& w) {
    auto count = std::make_shared<atomic<int>>(0);
    for (auto name : {"a", "b", "c"})
      w.thread(name, [count] { count->fetch_add(1); });
    w.after([count] {
      if (count->load() != 3)
        explore::fail("an addition was lost");
    });
  });
  CHECK(result.failure == "");
  CHECK(result.complete);
  CHECK(result.runs == 6);
}

TEST_CASE("steps that do not concern each other are run in one order",
          "[explorer]") {
  auto result = explore::all({}, [](world& w) {
    for (auto name : {"a", "b", "c"})
      w.thread(name, [own = std::make_shared<atomic<int>>(0)] {
        for (int i = 0; i < 5; ++i)
          own->fetch_add(1);
      });
  });
  CHECK(result.complete);
  CHECK(result.runs == 1);
}

TEST_CASE("a store that waits in its buffer is overtaken by a load",
          "[explorer]") {
  auto plain = [](atomic<int>& x) { x.store(1, std::memory_order_release); };
  CHECK(outcomes_of_store_buffering({}, plain)
        == std::set<std::pair<int, int>>{{0, 0}, {0, 1}, {1, 0}, {1, 1}});
}

TEST_CASE("no load overtakes a sequentially consistent store", "[explorer]") {
  auto strong = [](atomic<int>& x) { x.store(1); };
  CHECK(outcomes_of_store_buffering({}, strong)
        == std::set<std::pair<int, int>>{{0, 1}, {1, 0}, {1, 1}});
  auto fenced = [](atomic<int>& x) {
    x.store(1, std::memory_order_relaxed);
    explore::fence();
  };
  CHECK(outcomes_of_store_buffering({}, fenced)
        == std::set<std::pair<int, int>>{{0, 1}, {1, 0}, {1, 1}});
}

TEST_CASE("without store buffers nothing is overtaken", "[explorer]") {
  options how;
  how.store_buffers = false;
  auto plain = [](atomic<int>& x) { x.store(1, std::memory_order_release); };
  CHECK(outcomes_of_store_buffering(how, plain)
        == std::set<std::pair<int, int>>{{0, 1}, {1, 0}, {1, 1}});
}

TEST_CASE("what is left out changes no outcome", "[explorer]") {
  std::uint64_t reduced = 0;
  std::uint64_t full = 0;
  for (auto seed = 1u; seed <= 40; ++seed) {
    auto [some, few] = outcomes_of_made_up(seed, true);
    auto [all, many] = outcomes_of_made_up(seed, false);
    INFO("seed " << seed);
    CHECK(some == all);
    reduced += few;
    full += many;
  }
  CHECK(reduced < full / 10);
}

TEST_CASE("threads that wait for each other are found", "[explorer]") {
  auto result = explore::all({}, [](world& w) {
    struct pair {
      explore::mutex one;
      explore::mutex two;
    };
    auto s = std::make_shared<pair>();
    w.thread("a", [s] {
      std::lock_guard first{s->one};
      std::lock_guard second{s->two};
    });
    w.thread("b", [s] {
      std::lock_guard first{s->two};
      std::lock_guard second{s->one};
    });
  });
  CHECK(result.failure.find("wait for each other") != std::string::npos);
}

TEST_CASE("a thread that spins for what never comes is found", "[explorer]") {
  auto result = explore::all({}, [](world& w) {
    auto flag = std::make_shared<atomic<bool>>(false);
    w.thread("a", [flag] {
      while (!flag->load())
        explore::spin();
    });
    w.thread("b", [flag] { flag->load(); });
  });
  CHECK(result.failure.find("wait for each other") != std::string::npos);
}

TEST_CASE("a lock made of a flag and a spin keeps threads apart",
          "[explorer]") {
  auto result = explore::all({}, [](world& w) {
    struct state {
      atomic<bool> locked{false};
      atomic<int> count{0};
    };
    auto s = std::make_shared<state>();
    for (auto name : {"a", "b", "c"})
      w.thread(name, [s] {
        while (s->locked.exchange(true))
          explore::spin();
        s->count.store(s->count.load() + 1, std::memory_order_relaxed);
        s->locked.store(false, std::memory_order_release);
      });
    w.after([s] {
      if (s->count.load() != 3)
        explore::fail("two were inside at once");
    });
  });
  CHECK(result.failure == "");
  CHECK(result.complete);
}

TEST_CASE("a call that comes before its waiter is not lost", "[explorer]") {
  auto result = explore::all({}, [](world& w) {
    auto s = std::make_shared<explore::signal>();
    w.thread("a", [s] { s->call(); });
    w.thread("b", [s] { s->wait(); });
  });
  CHECK(result.failure == "");
  CHECK(result.complete);
}
