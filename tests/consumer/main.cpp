// A stranger's first program: one request, one map, and what they print. Built
// against the installed package and as a subproject; its output is checked.
#include <troupe/build_info.hpp>
#include <troupe/troupe.hpp>

#include <fmt/core.h>

#include <string>
#include <vector>

int main(int argc, char** argv) {
  troupe::config cfg;
  if (auto status = cfg.parse_command_line(argc, argv))
    return *status;
  caf::actor_system sys{cfg};
  troupe::pool io{sys};
  std::vector<int> lengths =
      io.map(std::vector<std::string>{"one", "three", "eleven"},
             [](const std::string& text) {
               return static_cast<int>(text.size());
             })
          .get();
  int sum = io.run([](int a, int b) { return a + b; }, 20, 22).get();
  fmt::print("troupe {} says {} {} {} and {}\n", troupe::version, lengths[0],
             lengths[1], lengths[2], sum);
}
