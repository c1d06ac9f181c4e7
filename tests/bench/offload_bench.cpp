// offload_bench: troupe against its peers, each row of the design's table in
// one run. Starts no thread itself, so that it may fork its contestants.

#include <algorithm>
#include <exception>

#include <fmt/format.h>

#include "options.hpp"
#include "report.hpp"
#include "rows.hpp"

namespace {

using namespace bench;

/// Returns the wanted rows in the order of the table; nothing, after a line on
/// stderr, if one of the names is unknown.
std::optional<std::vector<row_spec>>
choose_rows(const std::vector<std::string>& names) {
  auto all = all_rows();
  if (names.empty())
    return all;
  std::string known;
  for (const auto& one : all)
    known += (known.empty() ? "" : ", ") + one.name;
  std::vector<row_spec> chosen;
  for (const auto& name : names) {
    auto found = std::find_if(all.begin(), all.end(), [&](const row_spec& one) {
      return one.name == name;
    });
    if (found == all.end()) {
      fmt::print(stderr, "offload_bench: no row '{}'; there are {}\n", name,
                 known);
      return std::nullopt;
    }
    chosen.push_back(*found);
  }
  return chosen;
}

row build(const row_spec& spec, const options& how) {
  auto result = spec.build({.quick = how.quick});
  result.name = spec.name;
  if (!how.contestants.empty())
    std::erase_if(result.contestants, [&](const contestant& one) {
      return std::find(how.contestants.begin(), how.contestants.end(), one.name)
             == how.contestants.end();
    });
  return result;
}

bool any_failed(const std::vector<row_result>& results) {
  for (const auto& row : results)
    for (const auto& one : row.contestants)
      if (!one.error.empty())
        return true;
  return false;
}

int run(const options& how) {
  auto specs = choose_rows(how.rows);
  if (!specs)
    return 2;
  if (how.list) {
    for (const auto& one : *specs)
      fmt::print("{:<18} {}\n", one.name, one.title);
    return 0;
  }
  auto where = observe(how.quick, peers_not_built());
  if (!how.json)
    fmt::print("{}", heading(where));
  std::vector<row_result> results;
  for (const auto& spec : *specs) {
    results.push_back(measure(build(spec, how), how.rounds));
    if (!how.json)
      fmt::print("{}", table(results.back()));
    std::fflush(stdout);
  }
  fmt::print("{}", how.json ? json(where, results) : summary(results));
  return any_failed(results) ? 1 : 0;
}

} // namespace

int main(int argc, char** argv) {
  auto parsed = parse_options(argc, argv);
  if (auto* status = std::get_if<int>(&parsed))
    return *status;
  watch_for_interrupt();
  try {
    return run(std::get<options>(parsed));
  } catch (const interrupted&) {
    fmt::print(stderr, "offload_bench: interrupted\n");
    return 130;
  } catch (const std::exception& problem) {
    fmt::print(stderr, "offload_bench: {}\n", problem.what());
    return 1;
  }
}
