// The row about doing nothing: the CPU time that a pool takes while it has no
// work, on top of what an actor system of the same configuration takes.

#include <thread>

#include <fmt/format.h>

#include "rows.hpp"
#include "timing.hpp"

namespace bench {

namespace {

constexpr std::size_t workers = 8;

contestant idle_contestant(
    const std::string& name, enum role role, std::chrono::seconds length,
    const std::function<std::shared_ptr<void>(const team_options&)>& make) {
  return {name, role, 0, [=] {
            auto idle = make({.what = noop{}, .workers = workers});
            // What still settles after the start is not idling.
            std::this_thread::sleep_for(std::chrono::milliseconds{500});
            stopwatch watch;
            std::this_thread::sleep_for(length);
            auto took = watch.read();
            return sample{{{"ms", took.cpu / took.wall * 1e3}}, {}};
          }};
}

/// Has run one batch, so that all threads are there.
std::shared_ptr<void> rested(const contender& who,
                             const team_options& options) {
  auto group = who.make(options);
  auto inputs = counting(1'000);
  group->start(inputs);
  group->check(group->finish(), options.what, inputs);
  return std::shared_ptr<team>{std::move(group)};
}

std::optional<verdict> judge_idle(const row_result& in) {
  const auto* pool = in.find("troupe");
  const auto* system = in.find("idle actor_system");
  auto mine = pool ? pool->median("ms") : std::nullopt;
  auto base = system ? system->median("ms") : std::nullopt;
  if (!mine || !base)
    return std::nullopt;
  auto above = *mine - *base;
  return verdict{above, 1, above <= 1, "idle actor_system"};
}

row build_idle(const row_options& options) {
  const std::chrono::seconds length{options.quick ? 2 : 10};
  row result;
  result.title =
      fmt::format("an idle pool of {} workers, {} s", workers, length.count());
  result.columns = {{"ms", "CPU ms per s", 3}};
  result.side_by_side = true;
  result.contestants.push_back(idle_contestant("idle actor_system", role::floor,
                                               length, make_idle_system));
  std::vector<contender> pools{{"troupe", role::troupe, make_troupe}};
  for (auto& one : peers())
    pools.push_back(std::move(one));
  for (const auto& who : pools)
    result.contestants.push_back(idle_contestant(
        who.name, who.role, length,
        [who](const team_options& how) { return rested(who, how); }));
  result.targets = {
      {"at most 1 ms a second above an idle actor_system", judge_idle}};
  return result;
}

} // namespace

std::vector<row_spec> idle_rows() {
  return {{"idle", "CPU time of an idle pool", build_idle}};
}

} // namespace bench
