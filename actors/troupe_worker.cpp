// troupe-worker: worker processes for programs that are not their own. The
// functions come from a shared library, which need not link troupe: it finds
// here what it uses of it.
//
//   process_options{.program = "troupe-worker", .arguments = {"--load",
//   LIBRARY}}
//
// The library defines `extern "C" void troupe_procedures(troupe::procedures&)`,
// which adds its functions. What goes wrong is one line on standard error, and
// exit status 2.

#include "procedures_library.hpp"

#include "troupe/run_if_worker.hpp"
#include "troupe/worker_process.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace {

constexpr auto by_hand =
    "it is started by a troupe::process_pool, not by hand, with "
    "process_options{.program = \"troupe-worker\", .arguments = {\"--load\", "
    "LIBRARY}}; see --help";

constexpr auto help_text =
    "Makes the calls of a library in worker processes, for programs that are\n"
    "not their own. A troupe::process_pool starts it, with\n"
    "process_options{.program = \"troupe-worker\", .arguments = {...}}:\n"
    "  --load LIBRARY        the procedures: a library with "
    "troupe_procedures()\n";

int refuse(const char* why) {
  std::fprintf(stderr, "troupe-worker: %s\n", why);
  return 2;
}

} // namespace

int main(int argc, char** argv) {
  std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--help") {
    if (std::fputs(help_text, stdout) >= 0 && std::fflush(stdout) == 0)
      return 0;
    std::fprintf(stderr, "troupe-worker: cannot write to standard output: %s\n",
                 std::strerror(errno));
    return 1;
  }
  if (!first.starts_with(troupe::worker_argument))
    return refuse(by_hand);
  if (argc != 4 || std::string_view{argv[2]} != "--load")
    return refuse("started without a library (accepted: process_options"
                  "{.arguments = {\"--load\", LIBRARY}})");
  try {
    auto known = load_procedures(argv[3]);
    return troupe::run_if_worker(argc, argv, known).value();
  } catch (const std::exception& why) {
    return refuse(why.what());
  }
}
