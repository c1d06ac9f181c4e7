// The row about memory: what a queued request takes while all workers are busy,
// at the peak, its 8-byte result included and its input not.

#include <optional>

#include <fmt/format.h>

#include "memory_use.hpp"
#include "rows.hpp"

namespace bench {

namespace {

contestant memory_contestant(const contender& who, std::size_t count) {
  return {who.name, who.role, count, [who, count] {
            const work what = gated{};
            auto inputs = counting(count);
            auto group = who.make({.what = what, .workers = 8});
            reset_peak();
            auto before = status_bytes("VmRSS");
            group->start(inputs);
            gated::open();
            auto results = group->finish();
            auto peak = status_bytes("VmHWM");
            group->check(results, what, inputs);
            return sample{
                {{"bytes", (peak - before) / static_cast<double>(count)}}, {}};
          }};
}

std::optional<verdict> judge_bytes(const row_result& in) {
  const auto* troupe = in.find("troupe");
  auto bytes = troupe ? troupe->median("bytes") : std::nullopt;
  if (!bytes)
    return std::nullopt;
  return verdict{*bytes, 24, *bytes <= 24, ""};
}

row build_memory(const row_options& options) {
  const std::size_t count = options.quick ? 200'000 : 1'000'000;
  const std::size_t python_count = count / 10;
  row result;
  result.title = fmt::format("{} queued requests by map, 8 blocked workers",
                             grouped(count));
  result.columns = {{"bytes", "peak bytes/request"}};
  for (const auto& who : field(make_floor))
    result.contestants.push_back(memory_contestant(who, count));
  result.contestants.push_back(
      python(python_count, {"memory", std::to_string(python_count), "8"}));
  result.targets = {{"at most 24 bytes per request", judge_bytes}};
  return result;
}

} // namespace

std::vector<row_spec> memory_rows() {
  return {{"memory", "peak memory of queued requests", build_memory}};
}

} // namespace bench
