// Reads the command line of options.hpp.

#include "options.hpp"

#include <charconv>
#include <string_view>

#include <fmt/format.h>

namespace bench {

namespace {

int refuse(const std::string& problem) {
  fmt::print(stderr, "offload_bench: {}; see --help\n", problem);
  return 2;
}

std::optional<int> to_rounds(std::string_view text) {
  int rounds = 0;
  auto [end, problem] =
      std::from_chars(text.data(), text.data() + text.size(), rounds);
  if (problem != std::errc{} || end != text.data() + text.size() || rounds < 1
      || rounds > 1000)
    return std::nullopt;
  return rounds;
}

} // namespace

std::string usage() {
  return R"(usage: offload_bench [options]

Measures troupe against its peers, side by side, and checks every result.

  --row NAME     measure this row only; may be repeated
  --only NAME    measure this contestant only; may be repeated
  --rounds N     rounds to take the median of, 1 to 1000; default 5
  --quick        smaller sizes
  --json         print one JSON document instead of tables
  --list         print the names of the rows and leave
  --help         print this text and leave

Exit status: 0 all results were right, 1 a contestant failed or gave a wrong
result, 2 bad usage, 130 interrupted. A target that is missed fails nothing.
)";
}

std::variant<options, int> parse_options(int argc, char** argv) {
  options result;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    auto name = arguments[i];
    std::optional<std::string> value;
    if (auto equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    auto takes_value =
        name == "--row" || name == "--only" || name == "--rounds";
    if (takes_value && !value && i + 1 < arguments.size())
      value = arguments[++i];
    if (takes_value && !value)
      return refuse(name + " needs a value");
    if (!takes_value && value)
      return refuse(fmt::format("unknown option '{}'", arguments[i]));
    if (name == "--row") {
      result.rows.push_back(*value);
    } else if (name == "--only") {
      result.contestants.push_back(*value);
    } else if (name == "--rounds") {
      auto rounds = to_rounds(*value);
      if (!rounds)
        return refuse(fmt::format("--rounds takes a number from 1 to 1000, "
                                  "not '{}'",
                                  *value));
      result.rounds = *rounds;
    } else if (name == "--quick") {
      result.quick = true;
    } else if (name == "--json") {
      result.json = true;
    } else if (name == "--list") {
      result.list = true;
    } else if (name == "--help" || name == "-h") {
      fmt::print("{}", usage());
      return 0;
    } else {
      return refuse(fmt::format("unknown option '{}'", arguments[i]));
    }
  }
  return result;
}

} // namespace bench
