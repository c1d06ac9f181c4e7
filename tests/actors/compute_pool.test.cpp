// A pool that computes on CAF's own threads: as many at once as there are
// cores, beside actors that go on living.

#include "troupe/troupe.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

using test::actor_world;
using test::hear;
using test::way;
using troupe::compute_pool;
using troupe::ec;
using troupe::pool;

TEST_CASE("a compute pool runs its functions on the scheduler's threads",
          "[compute_pool]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  compute_pool cpu{world.sys};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return cpu.run([] { return troupe::compat::on_scheduler_thread(); });
  });
  CHECK(heard.value == true);
  pool io{world.sys};
  CHECK(io.run([] { return troupe::compat::on_scheduler_thread(); }).get()
        == false);
}

TEST_CASE("a compute pool runs as many functions at once as there are cores",
          "[compute_pool]") {
  actor_world world;
  compute_pool cpu{world.sys};
  CHECK(cpu.options().workers
        == std::max(std::thread::hardware_concurrency(), 1u));
  std::atomic<std::size_t> inside{0};
  std::atomic<std::size_t> most{0};
  auto squares =
      cpu.map(std::vector<int>(5'000, 3),
              [&](int x) {
                auto now = ++inside;
                auto seen = most.load();
                while (seen < now && !most.compare_exchange_weak(seen, now)) {
                }
                --inside;
                return x * x;
              })
          .get();
  CHECK(squares == std::vector<int>(5'000, 9));
  CHECK(most <= cpu.options().workers);
}

TEST_CASE("computing and blocking calls go into one gather", "[compute_pool]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  compute_pool cpu{world.sys};
  pool io{world.sys};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return troupe::gather(cpu.run([] { return 1; }), io.run([] { return 2; }),
                          cpu.map(std::vector{3, 4}, [](int x) { return x; }));
  });
  CHECK(heard.value == std::tuple{1, 2, std::vector{3, 4}});
}

TEST_CASE("a function that throws is a failure like any other",
          "[compute_pool]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  actor_world world;
  compute_pool cpu{world.sys};
  auto heard = hear(how, world.sys, [&](caf::event_based_actor*) {
    return cpu.run([]() -> int { throw std::domain_error{"negative"}; });
  });
  CHECK_THROWS_AS(std::rethrow_exception(heard.exception()), std::domain_error);
  CHECK(cpu.run([] { return 1; }).get() == 1);
}

// The computing takes all threads of the scheduler, and would go on until the
// actor has had its turn: failure here is a hang.
TEST_CASE("actors have their turns while a compute pool has endless work",
          "[compute_pool]") {
  actor_world world;
  compute_pool cpu{world.sys};
  std::atomic<bool> answered{false};
  std::vector<int> endless(200'000'000 / 1'000);
  auto work = cpu.map(endless,
                      [&](int&) {
                        // About a microsecond each.
                        for (volatile int i = 0; i < 300 && !answered;)
                          i = i + 1;
                      })
                  .start();
  auto echo = world.sys.spawn([](caf::event_based_actor*) -> caf::behavior {
    return {[](int x) { return x; }};
  });
  caf::scoped_actor self{world.sys};
  troupe::compat::ask(self, echo, troupe::compat::forever, 5)
      .receive([&](int x) { answered = x == 5; },
               [&](const caf::error&) { answered = true; });
  work.get();
  CHECK(answered);
}

TEST_CASE("a compute pool whose last handle goes ends, and the system with it",
          "[compute_pool]") {
  actor_world world;
  std::vector<int> results;
  {
    compute_pool cpu{world.sys};
    results = cpu.map(std::vector{1, 2, 3}, [](int x) { return x; }).get();
  }
  CHECK(results.size() == 3);
}

TEST_CASE("nested calls of a compute pool run where they wait",
          "[compute_pool]") {
  actor_world world;
  compute_pool cpu{world.sys};
  CHECK(cpu.run([cpu] {
             return cpu.run([cpu] { return cpu.run([] { return 3; }).get(); })
                 .get();
           })
            .get()
        == 3);
}

TEST_CASE("a compute pool cannot be given more workers than there are cores",
          "[compute_pool]") {
  actor_world world;
  compute_pool cpu{world.sys};
  auto cores = cpu.options().workers;
  CHECK(test::failure_code([&] { cpu.resize(cores + 1); })
        == ec::invalid_option);
  cpu.resize(1);
  cpu.resize(cores);
  CHECK(cpu.options().workers == cores);
}
