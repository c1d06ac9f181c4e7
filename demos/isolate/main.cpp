// A library that crashes on one input of a thousand, called in worker
// processes: 999 results, and one failure that names the record and the signal.
// With
// --threads the same calls are made in this process, which does not survive.
//
//   $ isolate
//   999 results, sum 498883
//   1 failure:
//     record 617: SIGSEGV (worker_lost)
//   the pool goes on: name=42 is 42

#include "fragile.h"

#include "parts/standard_files.hpp"

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "troupe/troupe.hpp"

namespace {

constexpr troupe::procedure<"value_of", long(std::string record)> value_of;

struct options : caf::actor_system_config {
  bool threads = false;

  options() {
    opt_group{custom_options_, "?isolate"}.add(
        threads, "threads", "make the calls in this process, and see it end");
  }
};

/// "r0=0", "r1=1", and so on; but for one, in which the '=' is missing.
std::vector<std::string> make_records() {
  std::vector<std::string> result;
  for (int i = 0; i < 1000; ++i)
    result.push_back(fmt::format("r{}{}{}", i, i == 617 ? ' ' : '=', i));
  return result;
}

/// Returns the word of a failure that names the signal.
std::string signal_in(std::string_view text) {
  auto at = text.find("SIG");
  auto word = at == text.npos ? std::string_view{"no signal"} : text.substr(at);
  return std::string{word.substr(0, word.find_first_of(" ,;)"))};
}

int call_all(const troupe::pool& pool) {
  std::vector<troupe::operation<long>> calls;
  for (auto& record : make_records())
    calls.push_back(pool.call(value_of, record)
                        .label(fmt::format("record {}", calls.size())));
  auto outcomes = troupe::gather_settled(std::move(calls)).get();
  long sum = 0;
  for (const auto& outcome : outcomes)
    sum += outcome ? outcome.value() : 0;
  auto results =
      std::count_if(outcomes.begin(), outcomes.end(),
                    [](const auto& x) { return static_cast<bool>(x); });
  std::cout << results << " results, sum " << sum << '\n'
            << outcomes.size() - static_cast<std::size_t>(results)
            << " failure:\n";
  for (const auto& outcome : outcomes)
    if (!outcome)
      std::cout << "  " << outcome.label() << ": " << signal_in(outcome.what())
                << " (" << troupe::to_string(outcome.code()) << ")\n";
  std::cout << "the pool goes on: name=42 is "
            << pool.call(value_of, "name=42").get() << '\n';
  if (std::cout.flush())
    return 0;
  std::cerr << "isolate: cannot write to standard output\n";
  return 1;
}

} // namespace

int main(int argc, char** argv) {
  parts::fill_standard_files();
  troupe::procedures known;
  known.add(value_of, [](const std::string& record) {
    return fragile_value(record.c_str());
  });
  if (auto status = troupe::run_if_worker(argc, argv, known))
    return *status;
  troupe::with_options<options> cfg;
  cfg.describe_arguments("", "");
  if (auto status = cfg.parse_command_line(argc, argv))
    return *status;
  if (auto more = cfg.arguments(); !more.empty()) {
    std::cerr << "isolate: unknown argument '" << more.front()
              << "' (accepted: see --help)\n";
    return 2;
  }
  caf::actor_system sys{cfg};
  try {
    if (cfg.threads)
      return call_all(troupe::pool{sys, {.procedures = known}});
    return call_all(troupe::process_pool{sys, known, {.name = "isolate"}});
  } catch (const troupe::failure& why) {
    std::cerr << "isolate: " << why.what() << '\n';
    return why.code() == troupe::ec::invalid_option ? 2 : 1;
  }
}
