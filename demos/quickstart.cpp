// The asyncio program that hands blocking calls to an executor, with actors.
// Reads two files on two workers, waits for both and for the event that says
// so, and prints their sizes in the order asked for: "267 and 1221 bytes". The
// README shows all of it; the comments are the lines of the Python program.

// README: begin
#include <fstream>
#include <iostream>
#include <iterator>

#include "troupe/troupe.hpp"

std::string blocking_read(const std::string& path) { // def blocking_read(path):
  std::ifstream file{path, std::ios::binary};
  if (!file)
    throw std::runtime_error{"cannot open " + path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

troupe::task<std::size_t> size_of(caf::event_based_actor*, troupe::pool io,
                                  std::string path) { // async def size_of():
  auto text = co_await io.run(blocking_read, path); // loop.run_in_executor(...)
  co_return text.size();
}

troupe::task<void> async_main(caf::event_based_actor* self, troupe::pool io,
                              troupe::event done) { // async def main():
  auto both = troupe::gather(size_of(self, io, "/etc/os-release"),
                             size_of(self, io, "/etc/passwd"));
  auto [a, b] = co_await std::move(both).notify(done); // asyncio.gather(...)
  co_await done.wait();                                // event.wait()
  std::cout << a << " and " << b << " bytes\n";
}

int main(int argc, char** argv) {
  troupe::config cfg;
  if (auto status = cfg.parse_command_line(argc, argv))
    return *status;
  caf::actor_system sys{cfg};
  troupe::pool io{sys};    // ThreadPoolExecutor(max_workers=--troupe.workers)
  troupe::event done{sys}; // asyncio.Event()
  troupe::run(sys, async_main, io, done); // asyncio.run(main())
  if (std::cout.flush())
    return 0;
  std::cerr << "quickstart: cannot write to standard output\n";
  return 1;
}
// README: end
