// A program whose last request does not return, for tests of what the end of
// its actor system does about that. Its argument is what troupe.on-stuck says.
// "later" as a second argument: the pool is shut down before.

#include "gate.hpp"

#include "troupe/troupe.hpp"

#include <cstdio>
#include <cstdlib>
#include <string_view>

using namespace std::chrono_literals;

int main(int argc, char** argv) {
  // Outlives the request, which outlives everything else.
  static test::gate shut;
  std::string_view how = argc > 1 ? argv[1] : "";
  auto shut_down = argc > 2;
  auto opens = how == "wait";
  std::at_quick_exit([] {
    std::puts("quick exit");
    std::fflush(stdout);
  });
  {
    troupe::config cfg;
    caf::actor_system sys{cfg};
    troupe::pool pool{
        sys,
        troupe::pool_options{.name = "io",
                             .drain_timeout = 10ms,
                             .max_run_time = 10ms,
                             .on_stuck = opens ? troupe::on_stuck::wait
                                               : troupe::on_stuck::quick_exit}};
    auto stuck = pool.run([] { shut.pass(); }).label("mount").start();
    shut.wait_for_arrivals();
    if (shut_down && pool.shutdown().get().still_running.size() != 1)
      return 2;
    // As long as another actor runs, nobody leaves.
    auto bystander = sys.spawn([](caf::event_based_actor* self) {
      return caf::behavior{[self](int) { self->quit(); }};
    });
    static_cast<void>(pool.run([] {}).start());
    if (opens)
      shut.open();
    troupe::compat::tell(bystander, 1);
  }
  std::puts("ended");
}
