// The batch behind a `gather` of single requests of one pool that are not all
// light calls: some have a label, say, or their types differ. Its requests are
// the batches of the single ones, claimed and counted like the elements of a
// map, so that they cost one submission.

#pragma once

#include <chrono>
#include <utility>
#include <vector>

#include "troupe/fetch_early.hpp"
#include "troupe/run_batch.hpp"
#include "troupe/trace.hpp"

namespace troupe {

/// Runs batches of one request each as its own requests. Their results stay in
/// them; whoever wants these keeps the members alive.
class group_batch final : public batch_loop<group_batch> {
public:
  /// `settled` says that each member is told what came of it, and that a failed
  /// one does not concern the others.
  explicit group_batch(std::vector<batch*> members, bool settled = false)
      : batch_loop<group_batch>{static_cast<std::uint32_t>(members.size())},
        members_{std::move(members)},
        settled_{settled} {
    if (settled_)
      for (auto member : members_)
        member->join_group();
  }

  run_result run_one(std::uint32_t index, context& ctx) noexcept {
    if (index + fetch_distance < members_.size())
      fetch_early(members_[index + fetch_distance], single_bytes);
    auto& member = *members_[index];
    if (settled_)
      return run_settled(member, index, ctx);
    auto result = run_member(member, ctx);
    if (result == run_result::failed)
      fail(member.failed());
    return result;
  }

private:
  run_result run_member(batch& member, context& ctx) noexcept {
    auto result = member.run_in_place(*this, ctx.cell());
    if (trace::active())
      trace::name_last(member.label());
    return result;
  }

  run_result run_settled(batch& member, std::uint32_t index,
                         context& ctx) noexcept {
    auto begin = ctx.begin_of(index);
    if (!member.begin_member(begin - submitted_at(), ctx.worker())) {
      drop({index, index + 1});
      // It is counted, and there is nothing more to be said about it.
      return run_result::again;
    }
    auto result = run_member(member, ctx);
    member.end_member(ctx.end_of(index) - begin,
                      result == run_result::failed && stop_requested());
    return result;
  }

  void destroy_input() noexcept override {
    // Those that ran have destroyed theirs.
    if (dropped_some())
      for (auto member : members_)
        member->drop_input();
    members_.clear();
  }

  std::vector<batch*> members_;
  const bool settled_;
};

} // namespace troupe
