// A program that serves as worker processes of tests. Its arguments, behind the
// one that makes it a worker, make it do that badly.

#include "other_point.hpp"

#include "troupe/run_if_worker.hpp"

#include <sys/socket.h>

#include <cstring>

int main(int argc, char** argv) {
  std::string_view how = argc > 2 ? argv[2] : "";
  if (how == "--exit")
    return 7;
  if (how == "--silent") {
    for (;;)
      ::pause();
  }
  if (how == "--garbage") {
    static_cast<void>(::send(3, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL));
    for (;;)
      ::pause();
  }
  auto known = test::all_procedures();
  if (how == "--other") {
    static constexpr troupe::procedure<"echo", int(int)> other_echo;
    static constexpr troupe::procedure<"move",
                                       other::point(const other::point&, int)>
        other_move;
    known = {};
    known.add(other_echo, [](int x) { return x; })
        .add(other_move, [](const other::point& from, int) { return from; });
  }
  if (auto status = troupe::run_if_worker(argc, argv, known))
    return *status;
  std::puts("not a worker");
  return 1;
}
