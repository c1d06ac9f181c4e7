// The program of the article, asyncio's way of making blocking calls, with
// actors. Prints "main is not blocked" while both files are being read, then
// the number of bytes of each, in the order asked for, and "all done" when the
// event is set.

#include <fstream>
#include <iostream>
#include <iterator>

#include "troupe/troupe.hpp"

// README: begin
std::string blocking_read(const std::string& path) { // def blocking_io():
  std::ifstream file{path, std::ios::binary};
  if (!file)
    throw std::runtime_error{"cannot open " + path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

troupe::task<std::size_t> size_of(caf::event_based_actor*, troupe::pool io,
                                  std::string path) { // async def size_of():
  auto text =
      co_await io.run(blocking_read, path); //   await loop.run_in_executor(...)
  co_return text.size();
}

troupe::task<void> async_main(caf::event_based_actor* self, troupe::pool io,
                              troupe::event done) { // async def main():
  auto sizes = troupe::gather(size_of(self, io, "/etc/hostname"),
                              size_of(self, io, "/etc/passwd"));
  auto [a, b] =
      co_await std::move(sizes).notify(done); //   await asyncio.gather(...)
  co_await done.wait();                       //   await event.wait()
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
}
// README: end
