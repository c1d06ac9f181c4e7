// A program that serves as its own node and knows other things than the tests.

#include "test_procedures.hpp"

#include "troupe/run_if_node.hpp"

#include <cstdio>

namespace other {

/// As in worker_program.cpp: of the same name, and made of other things.
struct point {
  double x = 0;
};

template <class Inspector>
auto inspect(Inspector& f, point& value) {
#if TROUPE_CAF_1
  return f.object(value).fields(f.field("x", value.x));
#else
  return f(value.x);
#endif
}

} // namespace other

template <>
struct troupe::type_speller<other::point> {
  static std::string text() { return "test::point"; }
};

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
