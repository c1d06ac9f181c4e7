#include "troupe/operation.hpp"

#include <fmt/format.h>

#include "troupe/caf_compat.hpp"
#include "troupe/options.hpp"
#include "troupe/worker_cell.hpp"

namespace troupe {

namespace {

[[noreturn]] void refuse(const char* modifier, const std::string& value,
                         const char* accepted) {
  throw failure{ec::invalid_option, fmt::format("cannot set .{} with {} "
                                                "(accepted: {})",
                                                modifier, value, accepted)};
}

void check(const retry_policy& policy) {
  using std::chrono::nanoseconds;
  if (policy.attempts < 1)
    refuse("retry", "attempts = 0", "a count from 1, the first one included");
  if (policy.backoff < nanoseconds{0} || policy.max_backoff < nanoseconds{0})
    refuse("retry",
           fmt::format("backoff = {}, max_backoff = {}",
                       to_text(policy.backoff), to_text(policy.max_backoff)),
           "durations from 0");
  if (!(policy.factor >= 1))
    refuse("retry", fmt::format("factor = {}", policy.factor),
           "a number from 1");
  if (!(policy.jitter >= 0 && policy.jitter <= 1))
    refuse("retry", fmt::format("jitter = {}", policy.jitter),
           "a number from 0 to 1");
}

} // namespace

void refuse_to_block(const char* call, const op_state* what) {
  if (auto why = what ? what->refusal_to_wait() : nullptr)
    rethrow(*why);
  // A worker is there to block.
  if (worker_cell::current() != nullptr)
    return;
  auto in_callback = port::draining_here();
  if (!in_callback && !compat::on_scheduler_thread())
    return;
  throw failure{
      ec::would_deadlock,
      fmt::format(
          "{} would block an event-based actor: {}; use then(self, ...) "
          "or co_await",
          call,
          in_callback ? "this is a task or a callback of one"
                      : "this is a thread of CAF's scheduler")};
}

void apply_modifiers(op_state& state, const char* modifier,
                     const modifiers& mods) {
  if (mods.max_in_flight == 0u)
    refuse(modifier, "0", "a count from 1");
  if (mods.priority && static_cast<std::size_t>(*mods.priority) >= priorities)
    refuse(modifier,
           fmt::format("priority({})", static_cast<unsigned>(*mods.priority)),
           "high, normal or low");
  if (mods.key && mods.key->key.empty())
    refuse(modifier, "''", "a text that is not empty, and a limit from 1");
  if (mods.key && mods.key->limit == 0)
    refuse(modifier, fmt::format("'{}' and 0", mods.key->key),
           "a limit from 1");
  if (mods.retry)
    check(*mods.retry);
  if (!state.modify(mods))
    throw failure{ec::invalid_option,
                  fmt::format("cannot set .{} of this operation: it is not a "
                              "call of a pool, nor a gather of such calls; set "
                              "it where the call is made",
                              modifier)};
}

} // namespace troupe
