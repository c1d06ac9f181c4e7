// A program that is its own worker processes: prints the number of each, keeps
// all but one of them busy for ever, and waits to be killed.

#include "test_procedures.hpp"

#include "troupe/config.hpp"
#include "troupe/process_pool.hpp"
#include "troupe/run_if_worker.hpp"

#include <atomic>

namespace {

constexpr troupe::procedure<"busy", void(std::string)> busy;

void keep_busy(const std::string& fifo) {
  // Deaf, and really busy.
  std::signal(SIGTERM, SIG_IGN);
  std::ofstream{fifo} << ::getpid() << '\n' << std::flush;
  std::atomic<unsigned> turns{0};
  for (;;)
    turns.fetch_add(1, std::memory_order_relaxed);
}

} // namespace

int main(int argc, char** argv) {
  troupe::procedures known;
  known.add(busy, &keep_busy).add(test::process_id, &::getpid);
  if (auto status = troupe::run_if_worker(argc, argv, known))
    return *status;
  if (argc < 2)
    return 2;
  troupe::config cfg;
  caf::actor_system sys{cfg};
  troupe::process_pool pool{sys, known, {.processes = 3}};
  auto first = pool.call(busy, argv[1]).start();
  auto second = pool.call(busy, argv[1]).start();
  // The third one is idle when it has answered.
  std::ofstream{argv[1]} << pool.call(test::process_id).get() << '\n'
                         << std::flush;
  first.get();
}
