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

#include <cstdio>
#include <string_view>

namespace {

int refuse(const char* why) {
  std::fprintf(stderr, "troupe-worker: %s\n", why);
  return 2;
}

} // namespace

int main(int argc, char** argv) {
  // Behind the argument by which a pool makes it a worker.
  if (argc != 4 || std::string_view{argv[2]} != "--load")
    return refuse("started without a library: a troupe::process_pool starts "
                  "it, with the arguments --load LIBRARY");
  try {
    auto known = load_procedures(argv[3]);
    if (auto status = troupe::run_if_worker(argc, argv, known))
      return *status;
  } catch (const std::exception& why) {
    return refuse(why.what());
  }
  return refuse("not started by a troupe::process_pool");
}
