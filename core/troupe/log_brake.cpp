#include "troupe/log_brake.hpp"

#include <utility>

namespace troupe {

log_brake::decision log_brake::add(std::string_view source,
                                   std::string_view text, time_point now) {
  decision result;
  auto found = sources_.find(source);
  if (found != sources_.end() && now >= found->second.until)
    result.before = forget(source);
  else if (found != sources_.end()) {
    auto& of = found->second;
    if (of.written < burst) {
      ++of.written;
      result.write = true;
      return result;
    }
    if (of.held.lines++ == 0)
      result.look_at = of.until;
    of.held.last = text;
    return result;
  }
  sources_.emplace(source, state{now + window, 1});
  result.write = true;
  return result;
}

std::optional<log_brake::remainder> log_brake::look(std::string_view source,
                                                    time_point now) {
  auto found = sources_.find(source);
  if (found == sources_.end() || now < found->second.until)
    return std::nullopt;
  return forget(source);
}

std::optional<log_brake::remainder> log_brake::forget(std::string_view source) {
  auto found = sources_.find(source);
  if (found == sources_.end())
    return std::nullopt;
  auto held = std::move(found->second.held);
  sources_.erase(found);
  return held.lines > 0 ? std::optional{std::move(held)} : std::nullopt;
}

} // namespace troupe
