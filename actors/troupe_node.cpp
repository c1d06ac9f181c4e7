// troupe-node: offers worker processes of this machine to a pool of nodes on
// another one. Its own worker processes are this program, too.
//
//   troupe-node --connect HOST:PORT --load LIBRARY [--processes N]
//
// The library defines `extern "C" void troupe_procedures(troupe::procedures&)`,
// which adds its functions. What goes wrong before it starts is one line on
// standard error, and exit status 2. SIGTERM lets the calls that run return.

#include "procedures_library.hpp"

#include "troupe/run_if_node.hpp"
#include "troupe/run_if_worker.hpp"

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

// Takes `--load LIBRARY` out of the arguments.
std::optional<std::string> take_library(std::vector<std::string>& args) {
  constexpr std::string_view name = "--load";
  for (auto at = args.begin(); at != args.end(); ++at) {
    if (at->starts_with("--load=")) {
      auto library = at->substr(name.size() + 1);
      args.erase(at);
      return library;
    }
    if (*at == name && at + 1 != args.end()) {
      auto library = *(at + 1);
      args.erase(at, at + 2);
      return library;
    }
  }
  return {};
}

} // namespace

int main(int argc, char** argv) {
  std::vector<std::string> args{argv + 1, argv + argc};
  auto library = take_library(args);
  try {
    troupe::procedures known;
    if (library)
      known = load_procedures(*library);
    if (auto status = troupe::run_if_worker(argc, argv, known))
      return *status;
    auto help = !args.empty() && args.front() == "--help";
    if (help)
      std::puts("Offers worker processes of this machine to a pool of nodes.\n"
                "  --load LIBRARY        the procedures: a library with "
                "troupe_procedures()");
    if (!library && !help)
      throw std::runtime_error{"--load: missing (accepted: a library that "
                               "defines troupe_procedures)"};
    std::vector<std::string> for_workers;
    if (library)
      for_workers = {"--load", *library};
    return troupe::run_node("troupe-node", args, known, for_workers);
  } catch (const std::exception& why) {
    std::fprintf(stderr, "troupe-node: %s\n", why.what());
    return 2;
  }
}
