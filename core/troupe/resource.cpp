#include "troupe/resource.hpp"

#include <fmt/format.h>

#include "troupe/error.hpp"
#include "troupe/options.hpp"

namespace troupe {

namespace {

void check_duration(const char* name, std::chrono::nanoseconds value) {
  if (value < std::chrono::nanoseconds{0} || value > defaults::duration_limit)
    throw failure{ec::invalid_option,
                  fmt::format("cannot set {} of a resource to {} (accepted: a "
                              "duration from 0 to {})",
                              name, to_text(value),
                              to_text(defaults::duration_limit))};
}

} // namespace

void check_rules(const resource_rules& rules) {
  check_duration("check_after", rules.check_after);
  check_duration("recycle_every", rules.recycle_every);
  check_duration("backoff", rules.backoff);
  check_duration("longest_backoff", rules.longest_backoff);
  check_duration("give_up_after", rules.give_up_after);
  // Otherwise a worker would try without a break.
  if (rules.backoff <= std::chrono::nanoseconds{0}
      || rules.backoff > rules.longest_backoff)
    throw failure{ec::invalid_option,
                  fmt::format("cannot set backoff of a resource to {} with a "
                              "longest_backoff of {} (accepted: more than 0, "
                              "and no more than longest_backoff)",
                              to_text(rules.backoff),
                              to_text(rules.longest_backoff))};
}

} // namespace troupe
