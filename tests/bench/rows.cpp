// What the groups of rows share; see rows.hpp.

#include "rows.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <stdexcept>

#include <sched.h>

#include <fmt/format.h>

namespace bench {

namespace {

/// Quotes one argument for the shell.
std::string quoted(const std::string& text) {
  std::string result{'\''};
  for (auto c : text)
    if (c == '\'')
      result.append("'\\''");
    else
      result.push_back(c);
  result.push_back('\'');
  return result;
}

sample run_program(const std::string& name,
                   const std::vector<std::string>& arguments) {
  std::string command{"exec"};
  for (const auto& one : arguments)
    command.append(" ").append(quoted(one));
  command.append(" 2>&1");
  std::unique_ptr<FILE, int (*)(FILE*)> output{popen(command.c_str(), "r"),
                                               pclose};
  if (!output)
    throw std::runtime_error{fmt::format("cannot start {}", name)};
  sample result;
  std::string last;
  std::array<char, 4096> line;
  while (fgets(line.data(), line.size(), output.get())) {
    last = line.data();
    std::array<char, 64> key;
    double value = 0;
    if (std::sscanf(line.data(), "%63s %lf", key.data(), &value) == 2)
      result.values[key.data()] = value;
  }
  if (pclose(output.release()) != 0) {
    while (!last.empty() && last.back() == '\n')
      last.pop_back();
    return {{}, fmt::format("{} failed: {}", name, last)};
  }
  return result;
}

} // namespace

std::vector<row_spec> all_rows() {
  std::vector<row_spec> all;
  for (auto group : {map_rows, operation_rows, round_trip_rows, blocking_rows,
                     io_rows, memory_rows, idle_rows, process_rows, node_rows,
                     sizing_rows, advice_rows})
    for (auto& one : group())
      all.push_back(std::move(one));
  return all;
}

std::vector<std::uint64_t> counting(std::size_t count) {
  std::vector<std::uint64_t> result(count);
  std::iota(result.begin(), result.end(), std::uint64_t{0});
  return result;
}

std::vector<contender>
field(std::function<std::unique_ptr<team>(const team_options&)> floor_maker) {
  std::vector<contender> all{
      {"floor", role::floor, std::move(floor_maker)},
      {"troupe", role::troupe, make_troupe},
  };
  for (auto& one : peers())
    all.push_back(std::move(one));
  return all;
}

void use_cpu(int n) {
  // As it was before the first call: a later one may choose among all again.
  static const auto usable = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof(set), &set);
    return set;
  }();
  auto skip = n;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &usable) && skip-- == 0) {
      cpu_set_t chosen;
      CPU_ZERO(&chosen);
      CPU_SET(cpu, &chosen);
      sched_setaffinity(0, sizeof(chosen), &chosen);
      return;
    }
  throw std::runtime_error{
      fmt::format("this row needs {} CPUs; this process may use {}", n + 1,
                  CPU_COUNT(&usable))};
}

contestant python(std::size_t requests, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(),
                   {"python3", TROUPE_BENCH_SOURCE_DIR "/peer_asyncio.py"});
  return program("Python", role::extra, requests, std::move(arguments));
}

contestant program(std::string name, bench::role role, std::size_t requests,
                   std::vector<std::string> arguments) {
  return {name, role, requests, [name, arguments = std::move(arguments)] {
            return run_program(name, arguments);
          }};
}

std::string grouped(std::size_t count) {
  if (count < 1000)
    return std::to_string(count);
  return fmt::format("{},{:03}", grouped(count / 1000), count % 1000);
}

} // namespace bench
