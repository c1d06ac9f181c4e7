// Rows about latency: one request at a time, each after the answer to the one
// before, for every kind of caller.

#include <fmt/format.h>

#include "rows.hpp"
#include "timing.hpp"

namespace bench {

namespace {

/// How a row runs its round trips.
struct setting {
  bool two_cpus = false;
  std::chrono::microseconds spin{0};
  std::string policy = "sharing";
  std::size_t count = 0;
};

contestant round_trip_contestant(const contender& who, const setting& how) {
  return {
      who.name, who.role, how.count, [who, how] {
        // The threads of the team stay where they start. Left to itself, the
        // kernel puts caller and worker on one CPU or on two as it likes, which
        // makes a difference of five times to all who sleep.
        use_cpu(how.two_cpus ? 1 : 0);
        auto group = who.make({.what = noop{},
                               .workers = 1,
                               .spin = how.spin,
                               .policy = how.policy});
        use_cpu(0);
        auto succ = [](std::uint64_t i) { return i + 1; };
        check_results(group->round_trips(how.count / 10), how.count / 10, succ);
        stopwatch watch;
        auto results = group->round_trips(how.count);
        auto took = watch.read();
        check_results(results, how.count, succ);
        auto n = static_cast<double>(how.count);
        return sample{
            {{"us", took.wall / n * 1e6}, {"cpu_us", took.cpu / n * 1e6}}, {}};
      }};
}

void add(row& to, const contender& who, const setting& how) {
  to.contestants.push_back(round_trip_contestant(who, how));
}

void add_asio(row& to, const setting& how) {
#ifdef TROUPE_BENCH_HAS_ASIO
  add(to, {"Asio", role::peer, make_asio}, how);
#else
  (void) to;
  (void) how;
#endif
}

row start_row(const std::string& title) {
  row result;
  result.title = title;
  result.columns = {{"us", "us/round trip", 2}, {"cpu_us", "CPU us", 2}};
  return result;
}

row build_pinned(const row_options& options) {
  setting how{.count = options.quick ? 5'000u : 50'000u};
  auto result =
      start_row("one request at a time, a blocking caller, one CPU, spin = 0");
  add(result, {"floor", role::floor, make_floor}, how);
  add(result, {"troupe", role::troupe, make_troupe}, how);
  add_asio(result, how);
#ifdef TROUPE_BENCH_HAS_ASIO
  add(result, {"Asio, future", role::extra, make_asio_future}, how);
#endif
  for (const auto& who : peers())
    if (who.name != "Asio" && who.name != "oneTBB")
      add(result, who, how);
  result.contestants.push_back(
      python(how.count, {"round_trips", std::to_string(how.count), "1"}));
  result.targets = {
      at_most("at most 1.5 × Asio", "troupe", "us", 1.5, named("Asio"))};
  return result;
}

row build_actor(const row_options& options) {
  setting sharing{.count = options.quick ? 2'000u : 20'000u};
  auto stealing = sharing;
  stealing.policy = "stealing";
  auto result = start_row(
      "one request at a time, an event-based actor or a task, one CPU");
  add_asio(result, sharing);
  for (const auto& how : {sharing, stealing}) {
    auto policy = how.policy;
    add(result, {"troupe then, " + policy, role::troupe, make_troupe_then},
        how);
    add(result, {"troupe task, " + policy, role::troupe, make_troupe_task},
        how);
    add(result, {"plain CAF, " + policy, role::peer, make_plain_caf_actor},
        how);
  }
  result.targets = {
      at_most("then: at most 2 × Asio's blocking caller",
              "troupe then, sharing", "us", 2, named("Asio")),
      at_most("task: at most 2 × Asio's blocking caller",
              "troupe task, sharing", "us", 2, named("Asio")),
  };
  return result;
}

row build_spin(const row_options& options) {
  setting how{.two_cpus = true,
              .spin = std::chrono::microseconds{50},
              .count = options.quick ? 5'000u : 50'000u};
  auto result =
      start_row("one request at a time, caller and pool on a CPU each, "
                "spin = 50us");
  add(result, {"troupe", role::troupe, make_troupe}, how);
  add_asio(result, how);
#ifdef TROUPE_BENCH_HAS_ASIO
  add(result, {"Asio, future", role::extra, make_asio_future}, how);
#endif
  add(result, {"mutex pool", role::peer, make_mutex_pool}, how);
  result.targets = {
      at_most("at most 1/5 of Asio", "troupe", "us", 0.2, named("Asio"))};
  return result;
}

} // namespace

std::vector<row_spec> round_trip_rows() {
  return {
      {"roundtrip_pinned", "round trip of a blocking caller, one CPU",
       build_pinned},
      {"roundtrip_actor", "round trip of an actor and of a task, one CPU",
       build_actor},
      {"roundtrip_spin", "round trip with spin = 50us, two CPUs", build_spin},
  };
}

} // namespace bench
