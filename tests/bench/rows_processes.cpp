// The row about worker processes: what a call over there costs when many travel
// together, against one call to a message. There is no peer for it here.

#include <fmt/format.h>

#include "rows.hpp"

namespace bench {

namespace {

row build_processes(const row_options& options) {
  const std::size_t count = options.quick ? 20'000 : 200'000;
  row result;
  result.title = fmt::format("map of {} no-op requests in worker processes",
                             grouped(count));
  result.columns = {{"ns", "ns/request"},
                    {"trip_us", "round trip us"},
                    {"mb_small", "1 KiB echo MB/s", 0, false},
                    {"mb_large", "1 MiB echo MB/s", 0, false},
                    {"start_ms", "start ms"},
                    {"outcome_ms", "crash: outcome ms"},
                    {"again_ms", "crash: next answer ms"}};
  for (auto n : {1, 2, 4}) {
    auto add = [&](const std::string& name, bench::role role,
                   const char* together) {
      result.contestants.push_back(
          program(name, role, count,
                  {TROUPE_BENCH_PROCESS_PROBE, std::to_string(n), together,
                   std::to_string(count)}));
    };
    auto ours = n == 1 ? std::string{"troupe"} : fmt::format("troupe × {}", n);
    auto single = fmt::format("one to a message × {}", n);
    add(ours, n == 1 ? role::troupe : role::extra, "1024");
    add(single, role::extra, "1");
    result.targets.push_back(
        at_most(fmt::format("{} processes: at most 1/8 of one to a message", n),
                ours, "ns", 0.125, named(single)));
  }
  return result;
}

} // namespace

std::vector<row_spec> process_rows() {
  return {{"processes", "requests that travel together to worker processes",
           build_processes}};
}

} // namespace bench
