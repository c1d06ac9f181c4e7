// One request per element: how elements get to the function, how results come
// back, and what becomes of the rest when one fails or somebody cancels.

#include "troupe/map_batch.hpp"

#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <forward_list>
#include <list>
#include <memory>
#include <ranges>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using test::batch_of;
using test::failure_in;
using test::get;
using test::thread_crew;
using troupe::ec;
using troupe::make_map_batch;

namespace {

/// Counts its living copies.
struct counted {
  explicit counted(std::atomic<int>& alive) : alive_{&alive} { ++*alive_; }
  counted(const counted& other) : alive_{other.alive_} { ++*alive_; }
  counted& operator=(const counted&) = default;
  ~counted() { --*alive_; }
  std::atomic<int>* alive_;
};

/// A result that can be moved and that has no default.
struct sealed {
  explicit sealed(int x) : content{std::make_unique<int>(x)} {}
  std::unique_ptr<int> content;
};

auto numbers(std::uint32_t n) {
  return std::views::iota(0u, n);
}

/// An event that counts how often it is told.
class told final : public troupe::completion_sink {
public:
  void on_operation_complete() noexcept override { told_.touch(); }

  test::gate told_;
};

} // namespace

// -- results ------------------------------------------------------------------

TEST_CASE("results come in the order of the elements, whoever ran them",
          "[map_batch]") {
  thread_crew crew{4};
  auto n = GENERATE(1u, 2u, 63u, 64u, 1'000u, 100'000u);
  auto all = get(crew.start(make_map_batch(
      numbers(n), [](unsigned x) { return std::uint64_t{x} * x; })));
  REQUIRE(all.size() == n);
  auto wrong = 0;
  for (std::uint64_t i = 0; i < n; ++i)
    wrong += all[i] != i * i;
  CHECK(wrong == 0);
}

TEST_CASE("the results of an empty map are there at once", "[map_batch]") {
  thread_crew crew{1};
  auto made =
      crew.start(make_map_batch(std::vector<int>{}, [](int x) { return x; }));
  CHECK(batch_of(made).done());
  CHECK(get(made).empty());
  CHECK(crew.home().outstanding() == 0);
}

TEST_CASE("results may be move-only and without a default", "[map_batch]") {
  thread_crew crew{2};
  auto all = get(crew.start(make_map_batch(
      numbers(500), [](unsigned x) { return sealed{static_cast<int>(x)}; })));
  REQUIRE(all.size() == 500);
  CHECK(*all[0].content == 0);
  CHECK(*all[499].content == 499);
}

// Written by several threads at once into one vector<bool>, neighbours would
// overwrite each other.
TEST_CASE("results of type bool do not disturb each other", "[map_batch]") {
  thread_crew crew{4};
  std::vector<bool> all = get(crew.start(
      make_map_batch(numbers(10'000), [](unsigned x) { return x % 3 == 0; })));
  REQUIRE(all.size() == 10'000);
  auto wrong = 0;
  for (unsigned i = 0; i < all.size(); ++i)
    wrong += all[i] != (i % 3 == 0);
  CHECK(wrong == 0);
}

TEST_CASE("a map without results can be waited for", "[map_batch]") {
  thread_crew crew{2};
  std::atomic<unsigned> sum{0};
  auto made =
      crew.start(make_map_batch(numbers(1'000), [&](unsigned x) { sum += x; }));
  static_assert(std::is_void_v<decltype(made.result())>);
  get(made);
  CHECK(sum == 499'500);
}

TEST_CASE("results that are references become values", "[map_batch]") {
  thread_crew crew{1};
  std::vector<std::string> words{"a", "b"};
  std::vector<std::string> all = get(crew.start(
      make_map_batch(words, [](std::string& x) -> std::string& { return x; })));
  CHECK(all == words);
}

TEST_CASE("results of a map that failed are destroyed with it", "[map_batch]") {
  std::atomic<int> alive{0};
  {
    thread_crew crew{1};
    auto made = crew.start(make_map_batch(numbers(10), [&](unsigned x) {
      if (x == 5)
        throw std::runtime_error{"five"};
      return counted{alive};
    }));
    CHECK_THROWS_WITH(get(made), "five");
    CHECK(alive == 5);
  }
  CHECK(alive == 0);
}

// -- elements -----------------------------------------------------------------

TEST_CASE("elements arrive as lvalues that the function may change",
          "[map_batch]") {
  thread_crew crew{2};
  auto all = get(crew.start(
      make_map_batch(std::vector<std::string>{"a", "b"},
                     [](std::string& x) { return std::move(x += "!"); })));
  CHECK(all == std::vector<std::string>{"a!", "b!"});
}

TEST_CASE("elements arrive as rvalues if the function takes only that",
          "[map_batch]") {
  thread_crew crew{2};
  std::vector<std::unique_ptr<int>> boxes;
  boxes.push_back(std::make_unique<int>(7));
  auto all = get(
      crew.start(make_map_batch(std::move(boxes), [](std::unique_ptr<int>&& x) {
        return std::move(x);
      })));
  CHECK(*all.at(0) == 7);
  auto by_value = get(crew.start(make_map_batch(
      std::move(all), [](std::unique_ptr<int> x) { return *x; })));
  CHECK(by_value == std::vector{7});
}

TEST_CASE("a range that the caller keeps is copied", "[map_batch]") {
  thread_crew crew{1};
  std::vector<std::string> words{"a", "b"};
  auto made = make_map_batch(words, [](const std::string& x) { return x; });
  words[0] = "changed";
  CHECK(get(crew.start(made)) == std::vector<std::string>{"a", "b"});
}

TEST_CASE("a view is referred to, not copied", "[map_batch]") {
  thread_crew crew{2};
  std::vector<int> here{1, 2, 3};
  SECTION("a span") {
    auto made = make_map_batch(std::span{here}, [](int& x) { return ++x; });
    here[0] = 10;
    CHECK(get(crew.start(made)) == std::vector{11, 3, 4});
    CHECK(here == std::vector{11, 3, 4});
  }
  SECTION("a view with a function of its own") {
    auto squares = here | std::views::transform([](int x) { return x * x; });
    auto made = make_map_batch(squares, [](int x) { return x + 1; });
    here[2] = 5;
    CHECK(get(crew.start(made)) == std::vector{2, 5, 26});
  }
}

TEST_CASE("ranges without random access are collected first", "[map_batch]") {
  thread_crew crew{2};
  auto twice = [](int x) { return 2 * x; };
  SECTION("a list") {
    std::list<int> some{1, 2, 3};
    CHECK(get(crew.start(make_map_batch(some, twice))) == std::vector{2, 4, 6});
    CHECK(some.size() == 3);
  }
  SECTION("an input range") {
    std::istringstream text{"1 2 3"};
    CHECK(get(crew.start(make_map_batch(std::views::istream<int>(text), twice)))
          == std::vector{2, 4, 6});
  }
  SECTION("a filtered view") {
    std::vector<int> some{1, 2, 3};
    auto odd = some | std::views::filter([](int x) { return x % 2 == 1; });
    CHECK(get(crew.start(make_map_batch(odd, twice))) == std::vector{2, 6});
  }
  SECTION("an array") {
    int some[] = {1, 2, 3};
    CHECK(get(crew.start(make_map_batch(some, twice))) == std::vector{2, 4, 6});
  }
}

TEST_CASE("elements of a list that is handed over are moved, not copied",
          "[map_batch]") {
  thread_crew crew{1};
  std::list<std::unique_ptr<int>> boxes;
  boxes.push_back(std::make_unique<int>(7));
  CHECK(get(crew.start(make_map_batch(
            std::move(boxes), [](std::unique_ptr<int>& x) { return *x; })))
        == std::vector{7});
}

TEST_CASE("elements of a list that only a view refers to stay where they are",
          "[map_batch]") {
  thread_crew crew{1};
  std::forward_list<std::string> words{"a", "b"};
  auto all = get(crew.start(make_map_batch(
      std::views::all(words), [](const std::string& x) { return x; })));
  CHECK(all == std::vector<std::string>{"a", "b"});
  CHECK(words.front() == "a");
}

TEST_CASE("a mapped function that asks for a context gets one", "[map_batch]") {
  thread_crew crew{1};
  CHECK(get(crew.start(make_map_batch(
            std::vector{6},
            [](troupe::context& ctx, int x) { return x + ctx.worker(); })))
        == std::vector{7});
}

TEST_CASE("function and elements are gone when the results are there",
          "[map_batch]") {
  thread_crew crew{2};
  std::atomic<int> alive{0};
  std::vector<counted> elements(200, counted{alive});
  auto before = alive.load();
  auto fail = GENERATE(false, true);
  auto made =
      crew.start(make_map_batch(elements, [x = counted{alive}, fail](counted&) {
        if (fail)
          throw 1;
      }));
  batch_of(made).wait();
  CHECK(alive == before);
  if (fail)
    CHECK_THROWS_AS(made.result(), int);
}

// -- exactly one outcome ------------------------------------------------------

// Claims, steals, yields and cancels all race: a map is cancelled at some point
// in the middle, singles call workers away from it, and idle workers steal.
TEST_CASE("each request has exactly one outcome, whatever races",
          "[map_batch]") {
  constexpr auto size = 3'000u;
  constexpr auto rounds = 60u;
  thread_crew crew{4};
  for (auto round = 0u; round < rounds; ++round) {
    std::vector<std::atomic<std::uint8_t>> runs(size);
    std::atomic<unsigned> started{0};
    auto made = make_map_batch(numbers(size), [&](unsigned i) {
      ++runs[i];
      // Some are slow, so that thieves find something.
      if (i % 97 == 0)
        std::this_thread::yield();
      ++started;
    });
    auto sink = troupe::make_ref<told>();
    batch_of(made).set_notify(sink);
    std::stop_source source;
    batch_of(made).set_stop_token(source.get_token());
    // The later ones are never cancelled.
    auto cancel_after = round * size / (rounds / 2);
    std::thread canceller{[&] {
      while (started < cancel_after && !batch_of(made).done())
        std::this_thread::yield();
      if (cancel_after < size)
        source.request_stop();
    }};
    crew.start(made);
    std::atomic<unsigned> singles{0};
    std::thread interrupter{[&] {
      for (int i = 0; i < 20; ++i)
        crew.start(troupe::make_batch([&] { ++singles; }));
    }};
    sink->told_.wait_for_arrivals();
    canceller.join();
    interrupter.join();
    auto what = batch_of(made).summary();
    auto ran = 0u;
    auto twice = 0u;
    for (auto& x : runs) {
      ran += x;
      twice += x > 1;
    }
    REQUIRE(twice == 0);
    REQUIRE(what.succeeded == ran);
    REQUIRE(ran + what.cancelled == size);
    REQUIRE(what.failed == 0);
    auto err = failure_in([&] { get(made); });
    REQUIRE(static_cast<bool>(err) == (what.cancelled > 0));
    crew.wait_until_idle();
    REQUIRE(sink->told_.arrivals() == 1);
    REQUIRE(singles == 20);
  }
  CHECK(crew.home().outstanding() == 0);
}

TEST_CASE("each request has exactly one outcome, whichever fail",
          "[map_batch]") {
  constexpr auto size = 2'000u;
  thread_crew crew{4};
  for (auto round = 0u; round < 50; ++round) {
    std::vector<std::atomic<std::uint8_t>> runs(size);
    auto made = crew.start(make_map_batch(numbers(size), [&](unsigned i) {
      ++runs[i];
      if (i % 400 == round * 8 % 400)
        throw i;
    }));
    CHECK_THROWS_AS(get(made), unsigned);
    auto what = batch_of(made).summary();
    auto ran = 0u;
    for (auto& x : runs) {
      REQUIRE(x <= 1);
      ran += x;
    }
    REQUIRE(what.failed >= 1);
    REQUIRE(what.succeeded + what.failed == ran);
    REQUIRE(ran + what.cancelled == size);
  }
}

// -- slow requests ------------------------------------------------------------

TEST_CASE("a slow request never holds up the ones behind it", "[map_batch]") {
  constexpr auto size = 20'000u;
  auto slow = GENERATE(0u, 1u, 100u, 9'999u, 19'999u);
  test::gate shut;
  test::gate others;
  thread_crew crew{2};
  test::open_at_exit release{shut};
  auto made = crew.start(make_map_batch(numbers(size), [&](unsigned i) {
    if (i == slow)
      shut.pass();
    else
      others.touch();
  }));
  // Failure here is a hang: some request waits behind the slow one.
  others.wait_for_arrivals(size - 1);
  shut.wait_for_arrivals();
  CHECK_FALSE(batch_of(made).done());
  shut.open();
  get(made);
}

TEST_CASE("two slow requests hold up nobody among three workers",
          "[map_batch]") {
  constexpr auto size = 20'000u;
  test::gate shut;
  test::gate others;
  thread_crew crew{3};
  test::open_at_exit release{shut};
  auto made = crew.start(make_map_batch(numbers(size), [&](unsigned i) {
    if (i == 5'000 || i == 5'001)
      shut.pass();
    else
      others.touch();
  }));
  others.wait_for_arrivals(size - 2);
  CHECK_FALSE(batch_of(made).done());
  shut.open();
  get(made);
}

TEST_CASE("with one worker everybody waits behind a slow request",
          "[map_batch]") {
  test::gate shut;
  thread_crew crew{1};
  test::open_at_exit release{shut};
  std::atomic<unsigned> others{0};
  auto made = crew.start(make_map_batch(numbers(1'000), [&](unsigned i) {
    if (i == 10)
      shut.pass();
    else
      ++others;
  }));
  shut.wait_for_arrivals();
  CHECK(others == 10);
  shut.open();
  get(made);
  CHECK(others == 999);
}

// -- failures -----------------------------------------------------------------

TEST_CASE(
    "the first failure drops what has not started and waits for what runs",
    "[map_batch]") {
  test::gate running;
  test::gate asked;
  thread_crew crew{2};
  test::open_at_exit release{running};
  std::atomic<unsigned> returned{0};
  auto made = crew.start(
      make_map_batch(numbers(1'000), [&](troupe::context& ctx, unsigned i) {
        if (i == 0) {
          auto hook = ctx.on_cancel([&] { asked.touch(); });
          running.pass();
        } else if (i == 1) {
          running.wait_for_arrivals();
          throw std::runtime_error{"disk on fire"};
        }
        ++returned;
      }));
  asked.wait_for_arrivals();
  CHECK_FALSE(batch_of(made).done());
  running.open();
  CHECK_THROWS_WITH(get(made), "disk on fire");
  CHECK(returned == 1);
  auto what = batch_of(made).summary();
  CHECK(what.requests == 1'000);
  CHECK(what.succeeded == 1);
  CHECK(what.failed == 1);
  CHECK(what.cancelled == 998);
}

TEST_CASE("the failure that came first is the one that is delivered",
          "[map_batch]") {
  test::gate first;
  test::gate asked;
  thread_crew crew{2};
  test::open_at_exit release{first};
  auto made = crew.start(
      make_map_batch(numbers(2), [&](troupe::context& ctx, unsigned i) {
        if (i == 0) {
          auto hook = ctx.on_cancel([&] { asked.touch(); });
          first.pass();
          throw std::runtime_error{"first by order"};
        }
        first.wait_for_arrivals();
        throw std::runtime_error{"first by arrival"};
      }));
  asked.wait_for_arrivals();
  first.open();
  CHECK_THROWS_WITH(get(made), "first by arrival");
  CHECK(batch_of(made).summary().failed == 2);
}

// -- cancel -------------------------------------------------------------------

TEST_CASE("a map cancelled before its start runs nothing", "[map_batch]") {
  thread_crew crew{2};
  std::atomic<int> ran{0};
  auto made = make_map_batch(numbers(100), [&](unsigned) { ++ran; });
  batch_of(made).set_home(troupe::ref_ptr{&crew.home()});
  batch_of(made).cancel(ec::cancelled);
  batch_of(made).start();
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::cancelled);
  CHECK_FALSE(err->started());
  CHECK(ran == 0);
  CHECK(batch_of(made).summary().cancelled == 100);
}

TEST_CASE("a map cancelled in the queue runs nothing", "[map_batch]") {
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  crew.start(troupe::make_batch([&] { busy.pass(); }));
  busy.wait_for_arrivals();
  std::atomic<int> ran{0};
  auto made =
      crew.start(make_map_batch(numbers(100), [&](unsigned) { ++ran; }));
  batch_of(made).cancel(ec::cancelled);
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::cancelled);
  CHECK(batch_of(made).summary().cancelled == 100);
  CHECK(crew.stats().queued == 0);
  busy.open();
  get(crew.start(troupe::make_batch([] {})));
  CHECK(ran == 0);
}

TEST_CASE("a map cancelled while it runs drops exactly what has not started",
          "[map_batch]") {
  // Below and above the size at which requests are claimed several at a time.
  auto size = GENERATE(20u, 10'000u);
  test::gate busy;
  thread_crew crew{1};
  test::open_at_exit release{busy};
  std::atomic<unsigned> ran{0};
  auto made = crew.start(make_map_batch(numbers(size), [&](unsigned i) {
    ++ran;
    if (i == size / 2)
      busy.pass();
  }));
  busy.wait_for_arrivals();
  batch_of(made).cancel(ec::cancelled);
  CHECK_FALSE(batch_of(made).done());
  busy.open();
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::cancelled);
  CHECK(ran == size / 2 + 1);
  auto what = batch_of(made).summary();
  CHECK(what.succeeded == size / 2 + 1);
  CHECK(what.cancelled == size - size / 2 - 1);
}

TEST_CASE("a map cancelled when all have started gives its results",
          "[map_batch]") {
  test::gate busy;
  thread_crew crew{2};
  test::open_at_exit release{busy};
  auto made = crew.start(make_map_batch(numbers(2), [&](unsigned i) {
    busy.pass();
    return i;
  }));
  busy.wait_for_arrivals(2);
  batch_of(made).cancel(ec::cancelled);
  busy.open();
  CHECK(get(made) == std::vector{0u, 1u});
}
