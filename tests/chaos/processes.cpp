#include "processes.hpp"

#include "far_calls.hpp"

#include "troupe/process_pool.hpp"
#include "troupe/troupe.hpp"

#include <chrono>
#include <csignal>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace chaos {

namespace {

// Kills processes while others use them. Not the next one before something has
// come of the last: on a busy machine none would live for long enough to begin.
void disturb(const troupe::process_pool& pool, const ledger& book, dice random,
             bool resizes, const std::stop_token& stop) {
  auto heard = book.heard();
  while (!stop.stop_requested()) {
    std::this_thread::sleep_for(
        std::chrono::microseconds{random.below(20'000)});
    switch (random.below(4)) {
    case 0:
      if (resizes)
        pool.resize(1 + random.below(4));
      break;
    case 1:
      static_cast<void>(pool.stats());
      break;
    default:
      if (book.heard() == heard)
        break;
      heard = book.heard();
      if (auto alive = pool.processes().processes; !alive.empty())
        ::kill(alive[random.below(alive.size())].pid, SIGKILL);
    }
  }
}

troupe::process_options options_by(dice& random) {
  static constexpr std::uint32_t together[] = {1, 3, 1024};
  troupe::process_options how{.name = "far",
                              .processes = 1 + random.below(3),
                              .kill_grace = 5ms,
                              .max_together = together[random.below(3)]};
  if (random.one_in(3))
    how.max_requests_per_worker = 1 + random.below(200);
  if (random.one_in(3))
    how.max_run_time = 10ms;
  return how;
}

} // namespace

void play_process_round(caf::actor_system& sys, ledger& book, dice random,
                        const std::function<void(std::string)>& say_where) {
  troupe::process_pool pool{sys, known_procedures(), options_by(random)};
  far_arena in{book, pool, random};
  {
    std::vector<std::jthread> threads;
    for (auto n = 1 + random.below(3); n > 0; --n)
      threads.emplace_back([&in, seed = random.fork()] { in.drive(seed, 15); });
    std::jthread trouble{[&, seed = random.fork(), resizes = random.one_in(3)](
                             const std::stop_token& stop) {
      disturb(pool, book, dice{seed}, resizes, stop);
    }};
    std::optional<troupe::operation<troupe::receipt>> down;
    if (random.one_in(4)) {
      std::this_thread::sleep_for(
          std::chrono::microseconds{random.below(30'000)});
      down =
          pool.shutdown(std::chrono::microseconds{random.below(9'000)}).start();
    }
    say_where("while threads wait for calls in processes");
    threads.clear();
    trouble.request_stop();
    say_where("while a process pool shuts down");
    if (down)
      down->get();
    else
      pool.shutdown(10s).get();
  }
  say_where("while worker processes end");
  while (!pool.processes().processes.empty())
    std::this_thread::sleep_for(100us);
  in.close();
}

} // namespace chaos
