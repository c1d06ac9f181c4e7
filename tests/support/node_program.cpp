// A program that serves as its own node and knows other things than the tests.

#include "other_point.hpp"

#include "troupe/run_if_node.hpp"

#include <cstdio>

int main(int argc, char** argv) {
  static constexpr troupe::procedure<"echo", int(int)> other_echo;
  static constexpr troupe::procedure<"move",
                                     other::point(const other::point&, int)>
      other_move;
  troupe::procedures known;
  known.add(other_echo, [](int x) { return x; })
      .add(other_move, [](const other::point& from, int) { return from; })
      .add(test::process_id, &::getpid);
  if (auto status = troupe::run_if_node(argc, argv, known))
    return *status;
  std::puts("not a node");
  return 3;
}
