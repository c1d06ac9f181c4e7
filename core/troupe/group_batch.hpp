// The batch behind a `gather` of many single requests of one pool: its requests
// are the batches of the single ones, claimed and counted like the elements of
// a map, so that a million different functions cost one submission.

#pragma once

#include <utility>
#include <vector>

#include "troupe/run_batch.hpp"

namespace troupe {

/// Runs batches of one request each as its own requests. Their results stay in
/// them; whoever wants these keeps the members alive.
class group_batch final : public batch_loop<group_batch> {
public:
  explicit group_batch(std::vector<batch*> members)
      : batch_loop<group_batch>{static_cast<std::uint32_t>(members.size())},
        members_{std::move(members)} {}

  run_result run_one(std::uint32_t index, context& ctx) noexcept {
    auto& member = *members_[index];
    auto result = member.as_single()->run_in_place(*this, ctx.cell());
    if (result == run_result::failed)
      fail(member.failed());
    return result;
  }

private:
  void destroy_input() noexcept override {
    // Those that ran have destroyed theirs.
    if (dropped_some())
      for (auto member : members_)
        member->as_single()->drop_input();
    members_.clear();
  }

  std::vector<batch*> members_;
};

} // namespace troupe
