// The options of fanout; see the header.
#include "options.hpp"

#include "targets/target_source.hpp"

namespace fanout {

options::options() {
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
  if (list_.empty())
    return std::nullopt;
  return list_;
}

std::optional<std::string> options::trace() const {
  if (trace_.empty())
    return std::nullopt;
  return trace_;
}

} // namespace fanout
