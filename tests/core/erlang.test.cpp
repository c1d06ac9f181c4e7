// Queueing formulas, against published tables and against a simulation of the
// queue.

#include "troupe/erlang.hpp"

#include "queue_simulation.hpp"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

namespace erlang = troupe::erlang;

TEST_CASE("the share turned away is that of Erlang's tables", "[erlang]") {
  // Traffic tables give the load at which one, two and five in a hundred are
  // turned away.
  struct row {
    std::size_t workers;
    double share;
    double load;
  };
  for (auto [workers, share, load] :
       {row{1, 0.01, 0.0101}, row{2, 0.01, 0.153}, row{5, 0.01, 1.36},
        row{10, 0.01, 4.46}, row{20, 0.01, 12.0}, row{50, 0.01, 37.9},
        row{100, 0.01, 84.1}, row{10, 0.02, 5.08}, row{20, 0.02, 13.2},
        row{10, 0.05, 6.22}, row{20, 0.05, 15.2}, row{100, 0.05, 95.2}}) {
    INFO(workers << " workers at " << load);
    // The tables give three digits of the load.
    CHECK(erlang::blocked(workers, load) == Approx(share).epsilon(0.025));
  }
}

TEST_CASE("the share that waits is that of M/M/c", "[erlang]") {
  // One worker: as often as it is busy.
  CHECK(erlang::waiting(1, 0.3) == Approx(0.3));
  // Two: 2 r^2 / (1 + r).
  CHECK(erlang::waiting(2, 1.0) == Approx(1.0 / 3));
  CHECK(erlang::waiting(2, 1.8) == Approx(2 * 0.81 / 1.9));
  // Three at two thirds: four ninths.
  CHECK(erlang::waiting(3, 2.0) == Approx(4.0 / 9));
  // Ten at 0.8, from the tables of M/M/c.
  CHECK(erlang::waiting(10, 8.0) == Approx(0.4092).epsilon(0.001));
  CHECK(erlang::waiting(4, 3.0) == Approx(0.5094).epsilon(0.001));
}

TEST_CASE("the mean wait is that of M/M/c", "[erlang]") {
  // One worker: r / (1 - r) of the service time.
  CHECK(erlang::mean_wait(1, {0.5, 1}) == Approx(1));
  CHECK(erlang::mean_wait(1, {90, 0.01}) == Approx(0.09));
  // Two at one half each: a third of the service time.
  CHECK(erlang::mean_wait(2, {1, 1}) == Approx(1.0 / 3));
  CHECK(erlang::mean_wait(3, {2, 1}) == Approx(4.0 / 9));
}

TEST_CASE("requests that all take the same time wait half as long",
          "[erlang]") {
  CHECK(erlang::mean_wait(1, {0.8, 1, 0})
        == Approx(erlang::mean_wait(1, {0.8, 1, 1}) / 2));
}

TEST_CASE("a load that the workers cannot carry waits for ever", "[erlang]") {
  CHECK(erlang::waiting(2, 2.0) == 1);
  CHECK(erlang::waiting(0, 0.1) == 1);
  CHECK(std::isinf(erlang::mean_wait(2, {2, 1})));
  CHECK(std::isinf(erlang::mean_wait(2, {5, 1, 0})));
  CHECK(std::isinf(erlang::wait_quantile(2, {3, 1}, 0.5)));
}

TEST_CASE("without load nobody waits", "[erlang]") {
  CHECK(erlang::load({0, 5}) == 0);
  CHECK(erlang::waiting(1, 0) == 0);
  CHECK(erlang::mean_wait(1, {0, 5}) == 0);
  CHECK(erlang::wait_quantile(1, {0, 5}, 0.99) == 0);
  CHECK(erlang::workers_for({0, 5}, 0.99, 0, 10) == 1);
}

TEST_CASE("thousands of workers neither overflow nor lose digits", "[erlang]") {
  auto waits = erlang::waiting(10'000, 9'900);
  CHECK(waits > 0.2);
  CHECK(waits < 0.4);
  CHECK(erlang::waiting(65'536, 1) < 1e-100);
  // More workers, fewer that wait.
  for (std::size_t c = 1'000; c < 1'100; ++c)
    CHECK(erlang::waiting(c + 1, 990) < erlang::waiting(c, 990));
}

TEST_CASE("formulas agree with the simulated queue", "[erlang]") {
  struct queue {
    std::size_t workers;
    double rate;
    unsigned seed;
  };
  for (auto [workers, rate, seed] : {queue{1, 0.6, 1}, queue{2, 1.5, 2},
                                     queue{8, 6.0, 3}, queue{32, 29.0, 4}}) {
    auto seen = test::simulate_queue(workers, test::exponential(1 / rate),
                                     test::exponential(1), 1'000'000, seed);
    erlang::traffic of{rate, 1};
    INFO(workers << " workers, " << rate << " requests a service time");
    CHECK(seen.waited()
          == Approx(erlang::waiting(workers, rate)).epsilon(0.05));
    CHECK(seen.mean() == Approx(erlang::mean_wait(workers, of)).epsilon(0.1));
    for (auto q : {0.5, 0.9, 0.99})
      CHECK(seen.quantile(q)
            == Approx(erlang::wait_quantile(workers, of, q))
                   .epsilon(0.1)
                   .margin(0.02));
  }
}

TEST_CASE("requests of equal length agree with the simulated queue",
          "[erlang]") {
  auto seen = test::simulate_queue(4, test::exponential(1 / 3.2),
                                   test::always(1), 1'000'000, 5);
  // The approximation is for the mean; it says nothing better of the tail.
  CHECK(seen.mean() == Approx(erlang::mean_wait(4, {3.2, 1, 0})).epsilon(0.1));
}

TEST_CASE("the number of workers is the least that reaches the goal",
          "[erlang]") {
  for (auto rate : {0.5, 3.0, 17.0, 240.0})
    for (auto goal : {0.01, 0.1, 1.0}) {
      erlang::traffic of{rate, 1};
      auto workers = erlang::workers_for(of, 0.9, goal, 1'000);
      INFO(workers << " workers for " << rate << ", " << goal);
      CHECK(erlang::wait_quantile(workers, of, 0.9) <= goal);
      CHECK(static_cast<double>(workers) > rate);
      if (workers > 1)
        CHECK(erlang::wait_quantile(workers - 1, of, 0.9) > goal);
    }
}

TEST_CASE("the number of workers reaches the goal in the simulated queue, and "
          "one less does not",
          "[erlang]") {
  erlang::traffic of{20, 1};
  auto workers = erlang::workers_for(of, 0.9, 0.2, 100);
  auto seen = [&](std::size_t n) {
    return test::simulate_queue(n, test::exponential(1 / of.rate),
                                test::exponential(1), 1'000'000, 6)
        .quantile(0.9);
  };
  CHECK(seen(workers) <= 0.2);
  CHECK(seen(workers - 1) > 0.2);
}

TEST_CASE("where no number of workers is enough, it is the greatest",
          "[erlang]") {
  CHECK(erlang::workers_for({100, 1}, 0.9, 0.1, 16) == 16);
  CHECK(erlang::workers_for({100, 1}, 0.9, 0.1, 0) == 1);
}
