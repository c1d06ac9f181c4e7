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

#include "troupe/run_if_worker.hpp"

#include <dlfcn.h>

#include <cstdio>
#include <string_view>

namespace {

int refuse(const char* what, const char* why) {
  std::fprintf(stderr, "troupe-worker: %s: %s\n", what, why);
  return 2;
}

} // namespace

int main(int argc, char** argv) {
  // Behind the argument by which a pool makes it a worker.
  if (argc != 4 || std::string_view{argv[2]} != "--load")
    return refuse("started without a library",
                  "a troupe::process_pool starts it, with the arguments "
                  "--load LIBRARY");
  auto library = ::dlopen(argv[3], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    return refuse("cannot load the library", ::dlerror());
  auto add = reinterpret_cast<void (*)(troupe::procedures&)>(
      ::dlsym(library, "troupe_procedures"));
  if (add == nullptr)
    return refuse("not a library of procedures", ::dlerror());
  troupe::procedures known;
  try {
    add(known);
  } catch (const std::exception& why) {
    return refuse("cannot add the procedures", why.what());
  }
  if (auto status = troupe::run_if_worker(argc, argv, known))
    return *status;
  return refuse("not started by a troupe::process_pool", argv[1]);
}
