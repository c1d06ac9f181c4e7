// A program in which the system refuses threads, for tests of what pools make
// of that: it takes the right to start any from itself, which cannot be undone
// in the process of a test. Prints "ok" if all is as it should be, to its last
// line: also the actor system ends.

#include "gate.hpp"

#include "troupe/log.hpp"
#include "troupe/troupe.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;

void require(bool holds, const char* what) {
  if (holds)
    return;
  std::printf("not so: %s\n", what);
  std::fflush(stdout);
  std::_Exit(1);
}

/// Root may start threads beyond any limit.
void become_nobody() {
  // A number that nobody else has, so that only these threads count.
  if (::geteuid() == 0)
    require(::setresuid(64'123, 64'123, 64'123) == 0, "another user");
}

void limit_threads(bool yes) {
  rlimit limit;
  require(::getrlimit(RLIMIT_NPROC, &limit) == 0, "getrlimit");
  limit.rlim_cur = yes ? 1 : limit.rlim_max;
  require(::setrlimit(RLIMIT_NPROC, &limit) == 0, "setrlimit");
}

struct log_lines {
  std::mutex mutex;
  std::vector<std::string> lines;

  std::size_t about(const std::string& what) {
    std::lock_guard guard{mutex};
    std::size_t result = 0;
    for (auto& line : lines)
      result += line.find(what) != std::string::npos;
    return result;
  }
};

} // namespace

int main() {
  become_nobody();
  log_lines log;
  troupe::set_log_sink([&log](const troupe::log_entry& entry) {
    std::lock_guard guard{log.mutex};
    log.lines.push_back(entry.text);
  });
  {
    troupe::config cfg;
    caf::actor_system sys{cfg};
    troupe::pool pool{sys, troupe::pool_options{.name = "io", .workers = 8}};
    pool.run([] {}).get();
    limit_threads(true);
    // All there is to do is done by the one worker.
    auto squares =
        pool.map(std::vector<int>(1'000, 3), [](int x) { return x * x; }).get();
    require(squares == std::vector<int>(1'000, 9), "results with one worker");
    test::gate door;
    auto all =
        pool.map(std::vector<int>(4, 0), [&](int) { door.pass(); }).start();
    door.wait_for_arrivals(1);
    // Counted as there for the moment in which it is tried to start them.
    auto now = pool.stats();
    while (now.threads_refused < 3 || now.workers > 1) {
      std::this_thread::yield();
      now = pool.stats();
    }
    require(now.missing > 0, "missing workers");
    require(log.about("the system refuses the thread") == 1, "said once");
    require(log.about("worker io-") == 1, "said of whom");
    auto refused = false;
    try {
      troupe::pool other{sys, troupe::pool_options{.name = "db"}};
    } catch (const troupe::failure& err) {
      refused =
          err.code() == troupe::ec::resource_unavailable
          && std::string{err.what()}.find("the pool 'db'") != std::string::npos;
    }
    require(refused, "no pool without a thread");
    limit_threads(false);
    // The pool tries again by itself, and is whole then.
    door.wait_for_arrivals(4);
    door.open();
    all.get();
    require(pool.stats().missing == 0, "nobody missing");
    require(pool.shutdown().get().still_running.empty(), "receipt");
    // A shutdown that has to cancel, without a thread to do so.
    troupe::pool last{sys, troupe::pool_options{.name = "last", .workers = 1}};
    test::gate shut;
    auto busy = last.run([&](troupe::context& ctx) {
                      auto hook = ctx.on_cancel([&] { shut.open(); });
                      shut.pass();
                    })
                    .start();
    shut.wait_for_arrivals();
    limit_threads(true);
    last.shutdown(0s).get();
    busy.get();
  }
  std::puts("ok");
}
