// Rows about calls that block: how near a pool comes to the time that its
// number of workers allows, and what CPU time it takes while they wait.

#include <fmt/format.h>

#include "rows.hpp"
#include "timing.hpp"

namespace bench {

namespace {

/// Seconds that the batches of one sample take together, at least.
constexpr double budget = 0.5;

struct sizes {
  std::size_t count;
  std::chrono::milliseconds nap_length;
  std::size_t workers;
};

contestant nap_contestant(const contender& who, const sizes& size,
                          double ideal) {
  return {who.name, who.role, size.count, [who, size, ideal] {
            const work what = nap{size.nap_length};
            auto inputs = counting(size.count);
            auto group = who.make({.what = what, .workers = size.workers});
            auto run = [&](std::size_t count) {
              auto some = std::span{inputs}.first(count);
              stopwatch watch;
              group->start(some);
              auto results = group->finish();
              auto took = watch.read();
              group->check(results, what, some);
              return took;
            };
            run(size.workers * 2); // every thread has run once
            auto took = repeated(budget, [&] { return run(size.count); });
            auto n = static_cast<double>(size.count);
            return sample{{{"ideal", ideal / took.wall},
                           {"cpu_us", took.cpu / n * 1e6},
                           {"wall_ms", took.wall * 1e3}},
                          {}};
          }};
}

row build_naps(const sizes& size) {
  using seconds = std::chrono::duration<double>;
  auto ideal = static_cast<double>(size.count)
               * seconds{size.nap_length}.count()
               / static_cast<double>(size.workers);
  row result;
  result.title =
      fmt::format("{} calls that block {} ms on {} workers",
                  grouped(size.count), size.nap_length.count(), size.workers);
  result.columns = {{"ideal", "ideal/wall", 3, false},
                    {"cpu_us", "CPU us/request", 2},
                    {"wall_ms", "wall ms", 1}};
  for (const auto& who : field(make_floor))
    result.contestants.push_back(nap_contestant(who, size, ideal));
  result.contestants.push_back(
      python(size.count,
             {"nap", std::to_string(size.count), std::to_string(size.workers),
              std::to_string(size.nap_length.count())}));
  result.targets = {
      at_least("ideal/wall: at least 0.98 × the floor's", "troupe", "ideal",
               0.98, named("floor")),
      at_most("CPU per request: at most 1.3 × the floor's", "troupe", "cpu_us",
              1.3, named("floor")),
  };
  return result;
}

row build_sleep64(const row_options& options) {
  using namespace std::chrono_literals;
  return build_naps({options.quick ? 640u : 2'000u, 5ms, 64});
}

row build_sleep512(const row_options& options) {
  using namespace std::chrono_literals;
  return build_naps({options.quick ? 2'048u : 10'000u, 10ms, 512});
}

} // namespace

std::vector<row_spec> blocking_rows() {
  return {
      {"sleep64", "calls that block 5 ms on 64 workers", build_sleep64},
      {"sleep512", "calls that block 10 ms on 512 workers", build_sleep512},
  };
}

} // namespace bench
