// The options of mirror; see the header.
#include "options.hpp"

#include "troupe/options.hpp"

#include <chrono>
#include <stdexcept>

namespace mirror {

namespace {

// A guess; whoever needs more has a typing error.
constexpr std::size_t most = 10'000;

std::optional<std::chrono::nanoseconds>
duration(const char* key, const std::optional<std::string>& text,
         const char* none) {
  if (!text)
    return std::nullopt;
  auto value = troupe::parse_duration(key, *text);
  if (value.count() == 0)
    throw std::runtime_error{std::string{key} + " = '" + *text + "': " + none
                             + " (accepted: a duration above 0, such as 500ms "
                               "or 10s)"};
  return value;
}

} // namespace

options::options() {
  describe_arguments("[URL ...]",
                     "A URL is http://... or https://...; those of --list come "
                     "after them.");
  opt_group{custom_options_, "global"}
      .add(list_, "list",
           "read URLs from this file, one a line; - is standard input")
      .add(into_, "into", "the folder for the files; made if it is not there")
      .add(per_host_, "per-host",
           "how many files are fetched from one host at once (default: 4)")
      .add(attempts_, "attempts",
           "how often each is tried, if its failure may pass (default: 3)")
      .add(hedge_after_, "hedge-after",
           "ask a second time for what takes longer than this (default: off)")
      .add(deadline_, "deadline",
           "stop when all of it takes longer than this (default: off)");
}

void options::check() {
  if (into_.empty())
    throw std::runtime_error{"--into is missing (accepted: --into=DIR, the "
                             "folder for the files)"};
  if (arguments().empty() && !list())
    throw std::runtime_error{"nothing to fetch (accepted: URLs as arguments, "
                             "--list=FILE with one a line)"};
  how_.per_host = static_cast<std::uint32_t>(
      troupe::parse_count("per-host", per_host_, 1, most));
  how_.attempts = static_cast<unsigned>(
      troupe::parse_count("attempts", attempts_, 1, most));
  how_.hedge_after = duration("hedge-after", given("hedge-after", hedge_after_),
                              "every file would be fetched twice");
  how_.deadline = duration("deadline", given("deadline", deadline_),
                           "nothing would be fetched");
}

std::optional<std::string> options::list() const {
  return given("list", list_);
}

std::optional<std::string> options::given(const char* key,
                                          const std::string& value) const {
  // An empty value was given, too: a script whose variable is empty by mistake
  // did not ask for a run without.
  if (caf::get_if(&content, key) == nullptr)
    return std::nullopt;
  return value;
}

} // namespace mirror
