// How batches share a pool: those of one priority in turn, higher ones before
// lower ones without starving them, and one key handed on between all who want
// it, however large the batches are.

#include "troupe/troupe.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using troupe::pool_options;
using troupe::priority;

namespace {

void outlast_a_turn() {
  auto until = std::chrono::steady_clock::now() + 300us;
  while (std::chrono::steady_clock::now() < until)
    continue;
}

/// A pool whose only worker is held until all batches are queued, and in what
/// order it runs their requests then. Each of them takes longer than a turn.
class queue_of_batches {
public:
  queue_of_batches() { door_.wait_for_arrivals(); }

  /// Queues a map of `n` requests, which are noted as `name`.
  void add(char name, int n, priority of = priority::normal,
           const std::string& key = {}) {
    auto op = io_.map(std::vector<char>(n, name), [this](char x) { note(x); })
                  .priority(of);
    if (!key.empty())
      op.key(key, 1);
    all_.push_back(std::move(op).start());
  }

  /// Lets the worker go, and returns the order.
  std::string run() {
    door_.open();
    held_.get();
    for (auto& op : all_)
      op.get();
    return order_;
  }

private:
  void note(char name) {
    outlast_a_turn();
    std::lock_guard guard{mutex_};
    order_ += name;
  }

  test::gate door_;
  test::actor_world world_;
  test::open_at_exit opener_{door_};
  troupe::pool io_{world_.sys, pool_options{.workers = 1}};
  troupe::operation<void> held_ = io_.run([this] { door_.pass(); }).start();
  std::vector<troupe::operation<void>> all_;
  std::mutex mutex_;
  std::string order_;
};

/// Returns how many of one name stand together at most, before the last of the
/// other name.
std::size_t longest_run(const std::string& order, char of, char other) {
  std::size_t longest = 0;
  std::size_t now = 0;
  for (auto x : order.substr(0, order.rfind(other))) {
    now = x == of ? now + 1 : 0;
    longest = std::max(longest, now);
  }
  return longest;
}

} // namespace

TEST_CASE("batches of one priority are served in turn", "[turns]") {
  queue_of_batches queue;
  for (auto name : {'a', 'b', 'c'})
    queue.add(name, 20);
  std::string expected;
  for (int i = 0; i < 20; ++i)
    expected += "abc";
  CHECK(queue.run() == expected);
}

TEST_CASE("a batch of low priority has turns, and a higher one all others",
          "[turns]") {
  auto low_first = GENERATE(false, true);
  CAPTURE(low_first);
  queue_of_batches queue;
  if (low_first)
    queue.add('l', 50, priority::low);
  queue.add('h', 50, priority::high);
  if (!low_first)
    queue.add('l', 50, priority::low);
  auto order = queue.run();
  CAPTURE(order);
  CHECK(order.size() == 100);
  CHECK(longest_run(order, 'l', 'h') == 1);
  // It is passed over eight times, and may have been once before it was queued.
  CHECK(longest_run(order, 'h', 'l') <= 9);
}

TEST_CASE("a key is handed on between the requests of a batch", "[turns]") {
  auto of = GENERATE(priority::high, priority::normal, priority::low);
  CAPTURE(static_cast<int>(of));
  queue_of_batches queue;
  queue.add('m', 50, priority::normal, "key");
  queue.add('x', 1, of, "key");
  auto order = queue.run();
  CHECK(order.size() == 51);
  CHECK(order.find('x') <= 9);
}

TEST_CASE("batches with keys of their own are served in turn", "[turns]") {
  queue_of_batches queue;
  queue.add('a', 20, priority::normal, "key");
  queue.add('b', 20, priority::normal, "other");
  std::string expected;
  for (int i = 0; i < 20; ++i)
    expected += "ab";
  CHECK(queue.run() == expected);
}

TEST_CASE("an old batch ends although new ones keep coming", "[turns]") {
  test::actor_world world;
  troupe::pool io{world.sys, pool_options{.workers = 1}};
  auto takes_a_turn = [](int) { outlast_a_turn(); };
  auto old = io.map(std::vector<int>(100, 0), takes_a_turn);
  test::gate over;
  auto waiting = std::move(old).start();
  std::jthread waiter{[&] {
    waiting.get();
    over.touch();
  }};
  // Failure is a hang: there is always one that came later.
  auto next = io.map(std::vector<int>(4, 0), takes_a_turn).start();
  while (over.arrivals() == 0) {
    auto later = io.map(std::vector<int>(4, 0), takes_a_turn).start();
    next.get();
    next = std::move(later);
  }
  next.get();
}
