// Runs fanout as built; see child.hpp.
#include "child.hpp"

#include <utility>

namespace test {

std::vector<std::string> fanout_command(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), FANOUT_BINARY);
  return arguments;
}

exited fanout(std::vector<std::string> arguments, child::settings how) {
  return run(fanout_command(std::move(arguments)), std::move(how));
}

} // namespace test
