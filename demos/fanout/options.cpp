// The options of fanout; see the header.
#include "options.hpp"

#include "targets/target_source.hpp"

namespace fanout {

options::options() {
  describe_arguments(
      "[TARGET ...]",
      targets::in_words("without any, fanout asks a small world of its own"));
  opt_group{custom_options_, "global"}
      .add(list_, "list",
           "read targets from this file, one a line; - is standard input")
      .add(output_, "output",
           "text (default): sha256sum lines; json: one object per result")
      .add(follow_, "follow", "follow symbolic links inside folders")
      .add(compare_, "compare",
           "run the same on 1, 2, 4 ... workers and compare the times")
      .add(trace_, "trace",
           "write who ran what when to this file; short for --troupe.trace");
}

std::optional<std::string> options::check() const {
  if (output_ != "text" && output_ != "json")
    return "output = '" + output_ + "': not a format (accepted: text, json)";
  return targets::why_not_readable(arguments(), list());
}

std::optional<std::string> options::list() const {
  return given("list", list_);
}

std::optional<std::string> options::trace() const {
  return given("trace", trace_);
}

std::optional<std::string> options::given(const char* key,
                                          const std::string& value) const {
  // An empty value was given, too: a script whose variable is empty by mistake
  // did not ask for a run without.
  if (caf::get_if(&content, key) == nullptr)
    return std::nullopt;
  return value;
}

} // namespace fanout
