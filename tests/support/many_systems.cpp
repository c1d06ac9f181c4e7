// A program that starts and ends actor systems with pools in them, one after
// another, and prints what is left of them: threads, descriptors, memory.
// Usage: troupe_many_systems ROUNDS POOLS

#include "troupe/troupe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "proc_self.hpp"

namespace {

/// Uses what a program uses: requests, an event, an actor, a task, a shutdown.
int use(caf::actor_system& sys, int pools, std::size_t& most_threads) {
  std::vector<troupe::pool> all;
  for (int i = 0; i < pools; ++i)
    all.emplace_back(
        sys, troupe::pool_options{.name = fmt::format("p{}", i), .workers = 2});
  auto sum = 0;
  troupe::event over{sys};
  for (auto& io : all) {
    sum += io.run([] { return 1; }).get();
    for (auto x : io.map(std::vector<int>(8, 1), [](int n) { return n; }).get())
      sum += x;
    io.run([] {}).notify(over).get();
  }
  over.wait().get();
  auto body = [io = all.front()](caf::event_based_actor*) -> troupe::task<int> {
    auto op = io.run([] { return 1; });
    co_return co_await std::move(op);
  };
  sum += troupe::run(sys, body);
  most_threads = std::max(most_threads, test::proc_status("Threads"));
  // Half of them end by themselves.
  for (std::size_t i = 0; i < all.size(); i += 2)
    all[i].shutdown().get();
  return sum;
}

/// Returns how many threads there are when those that are about to end have
/// ended, so that there have not been fewer of them for a while: CAF does not
/// wait for its detached ones to the very end.
std::size_t settled_threads() {
  auto least = test::proc_status("Threads");
  for (int same = 0; same < 200; ++same) {
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
    if (auto now = test::proc_status("Threads"); now < least) {
      least = now;
      same = 0;
    }
  }
  return least;
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 3)
    return 2;
  auto rounds = std::atoi(argv[1]);
  auto pools = std::atoi(argv[2]);
  auto wrong = 0;
  auto most_threads = std::size_t{0};
  auto round = [&] {
    troupe::config cfg;
    caf::actor_system sys{cfg};
    wrong += use(sys, pools, most_threads) != pools * 9 + 1;
  };
  // What is allocated once is there before anything is measured.
  for (int i = 0; i < rounds / 10 + 1; ++i)
    round();
  auto threads = settled_threads();
  auto descriptors = test::open_descriptors();
  auto memory = test::proc_status("VmRSS");
  for (int i = 0; i < rounds; ++i)
    round();
  auto now = test::proc_status("VmRSS");
  fmt::print("wrong {}\nmost {}\nthreads {}\ndescriptors {}\ngrown {}\n", wrong,
             most_threads, settled_threads() - threads,
             test::open_descriptors() - descriptors,
             now > memory ? now - memory : 0);
}
