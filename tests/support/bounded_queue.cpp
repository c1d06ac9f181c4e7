// A program that submits far more than a pool can do, in one of several ways,
// and prints by how much its memory grew and what became of the submissions.
// Usage: troupe_bounded_queue threads|tasks|reject|actor SUBMISSIONS

#include "troupe/troupe.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <caf/all.hpp>

#include "gate.hpp"
#include "proc_self.hpp"

namespace {

constexpr std::size_t max_queued = 10'000;

std::atomic<std::uint64_t> ran{0};
std::atomic<std::uint64_t> refused{0};

/// What each submission asks for: slower than any submitter.
void work() {
  for (int i = 0; i < 200; ++i)
    troupe::pause();
  ran.fetch_add(1, std::memory_order_relaxed);
}

void submit_from_threads(troupe::pool io, std::uint64_t n) {
  std::vector<std::jthread> threads;
  for (std::uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([io, n] {
      for (std::uint64_t i = 0; i < n / 4; ++i)
        auto started = io.run(work).start();
    });
}

troupe::task<void> submit_some(caf::event_based_actor*, troupe::pool io,
                               std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) {
    auto op = io.run(work).admit();
    auto started = co_await std::move(op);
  }
}

troupe::task<void> submit_from_tasks(caf::event_based_actor* self,
                                     troupe::pool io, std::uint64_t n) {
  std::vector<troupe::operation<void>> all;
  for (int t = 0; t < 100; ++t)
    all.push_back(submit_some(self, io, n / 100));
  auto both = troupe::gather(std::move(all));
  co_await std::move(both);
}

/// Submits all in one handler; then prints what those take that still wait.
void submit_from_actor(caf::actor_system& sys, troupe::pool io,
                       std::uint64_t n) {
  // Nothing is over before all are submitted.
  test::gate busy;
  for (int i = 0; i < 2; ++i)
    auto held = io.run([&busy] { busy.pass(); }).start();
  busy.wait_for_arrivals(2);
  std::atomic<std::uint64_t> answers{0};
  auto before = test::proc_status("VmRSS");
  auto answered = sys.spawn([&](caf::event_based_actor* self) {
    for (std::uint64_t i = 0; i < n; ++i)
      io.run(work).then(self, [&answers] { ++answers; });
    fmt::print("bytes {}\n", (test::proc_status("VmRSS") - before) * 1024 / n);
    busy.open();
  });
  caf::scoped_actor here{sys};
  here->wait_for(answered);
  fmt::print("answers {}\n", answers.load());
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 3)
    return 2;
  std::string how = argv[1];
  auto n = std::strtoull(argv[2], nullptr, 10);
  troupe::set_unobserved_sink([](const troupe::unobserved_failure& what) {
    if (what.failure->code == troupe::ec::queue_full)
      ++refused;
  });
  troupe::config cfg;
  caf::actor_system sys{cfg};
  troupe::pool_options options;
  options.workers = options.min_workers = 2;
  options.max_queued = max_queued;
  options.on_full =
      how == "reject" ? troupe::on_full::reject : troupe::on_full::wait;
  troupe::pool io{sys, options};
  // What is allocated once is there before anything is measured.
  io.map(std::vector<int>(100, 1), [](int x) { return x; }).get();
  ran = 0;
  test::reset_peak();
  auto before = test::proc_status("VmRSS");
  if (how == "threads" || how == "reject")
    submit_from_threads(io, n);
  else if (how == "tasks")
    troupe::run(sys, submit_from_tasks, io, n);
  else if (how == "actor")
    submit_from_actor(sys, io, n);
  else
    return 2;
  // Control is never behind the bound.
  auto waiting = io.stats().queued + io.stats().waiting;
  auto receipt = io.shutdown(std::chrono::minutes{5}).get();
  fmt::print("grown {}\nran {}\nrefused {}\nwaiting {}\nrunning {}\n",
             test::proc_status("VmHWM") - before, ran.load(), refused.load(),
             waiting, receipt.still_running.size());
}
