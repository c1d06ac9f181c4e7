// The loop in which a worker claims and runs the requests of a batch. A
// template, so that the call of a tiny request is inlined into it.

#pragma once

#include "troupe/context.hpp"

namespace troupe {

// Defined in trip.hpp, which those have included who have a procedure.
template <class Batch>
class traveller;

/// Implements `participate` for a batch whose requests `Derived::run_one` runs.
template <class Derived>
class batch_loop : public batch {
public:
  /// Whether the requests all call one procedure, so that they can travel
  /// together to where a pool makes its calls.
  static constexpr bool travels = false;

  leave_reason participate(worker_cell& cell, bool nested) noexcept final {
    auto& self = static_cast<Derived&>(*this);
    share mine{*this, cell, nested};
    context ctx{*this, cell};
    worker_cell::working_scope scope{cell, *this};
    if constexpr (Derived::travels)
      if (size() > 1 && traveller<Derived>::wanted(cell))
        return traveller<Derived>{self, ctx}.travel(mine, nested);
    for (;;) {
      index_range single;
      if (!mine.claim(single))
        return leave_reason::exhausted;
      auto claimed = mine.claimed_lane();
      if (claimed == nullptr) {
        if (size() == 1) {
          this->note_begin(cell);
          this->fetch_continuation();
        }
        run_single(mine, ctx, single.begin);
        if (size() == 1)
          return leave_reason::exhausted;
        // Only now, so that a worker which comes back to a batch gets on with
        // it, even if it is called away each time.
        if (mine.asked_to_yield() || (cell.resource_stale() && !nested))
          return leave_reason::yielded;
        if (mine.slice_is_over())
          return leave_reason::turn_over;
        continue;
      }
      std::uint32_t ran = 0;
      std::uint32_t failed = 0;
      std::uint32_t again = 0;
      auto yield = false;
      for (auto index = claimed->start(); index != lane::none;
           index = claimed->start()) {
        auto result = self.run_one(index, ctx);
        ++ran;
        if (result != run_result::value) [[unlikely]]
          ++(result == run_result::failed ? failed : again);
        // A worker that has to open its resource does so before it takes the
        // next request; inside another one's wait it has nowhere to go.
        yield = mine.asked_to_yield() || (cell.resource_stale() && !nested);
        if (yield)
          break;
      }
      mine.tune(ran, failed + again);
      if (ran > again)
        settle(ran - again, failed, mine.mark());
      if (yield)
        return leave_reason::yielded;
      if (mine.slice_is_over())
        return leave_reason::turn_over;
    }
  }

  // `group` has claimed it, says when to stop and counts the outcome. Nobody
  // else knows this batch, so there is nothing to claim or to deliver here.
  run_result run_in_place(batch& group, worker_cell& cell) noexcept final {
    context ctx{*this, cell, group};
    worker_cell::working_scope scope{cell, *this};
    auto result = static_cast<Derived&>(*this).run_one(0, ctx);
    this->destroy_input();
    return result;
  }

protected:
  using batch::batch;

  template <class>
  friend class traveller;

  /// Runs a request that was claimed by itself.
  void run_single(share& mine, context& ctx, std::uint32_t index) noexcept {
    auto result = static_cast<Derived&>(*this).run_one(index, ctx);
    // Before whoever waits for the batch can look at what was measured.
    mine.tune(1, result != run_result::value);
    if (result != run_result::again)
      settle(1, result == run_result::failed, mine.mark());
  }

  /// Runs `call`, which may throw anything: that becomes the outcome of the
  /// request `index`.
  template <class Call>
  run_result guard(std::uint32_t index, context& ctx, Call call) noexcept {
    auto result = run_result::value;
    try {
      call();
    } catch (...) {
      result = fail(std::current_exception(), index, ctx.cell());
    }
    ctx.cell().end_request();
    return result;
  }
};

} // namespace troupe
