// The batch of single calls that came one by one while workers were busy with
// tiny ones: they share what a submission costs.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

#include "troupe/batch_loop.hpp"
#include "troupe/burst_page.hpp"

namespace troupe {

/// Some consecutive calls of a page. One that fails does not concern the
/// others.
class burst final : public batch_loop<burst> {
public:
  /// Begins with the last call that was added to `page`.
  explicit burst(ref_ptr<burst_page> page)
      : batch_loop{0}, page_{std::move(page)}, first_{page_->count() - 1} {
    begin_burst();
  }

  /// Has the calls that are added from now on belong to it.
  void open() noexcept { page_->open(); }

  /// Ends that: it is like any other batch from now on.
  void close() noexcept { set_size(page_->close() - first_); }

  /// Returns how many calls have come.
  std::uint32_t calls() const noexcept { return page_->count() - first_; }

  run_result run_one(std::uint32_t index, context& ctx) noexcept {
    if (page_->unwanted()) [[unlikely]] {
      settle_unwanted(index);
      return run_result::again;
    }
    page_->fetch(first_ + index + fetch_distance, first_ + size());
    auto result = page_->at(first_ + index).run(ctx);
    ctx.cell().count_call(result == run_result::failed);
    end(index);
    ctx.cell().end_request();
    return result;
  }

private:
  void end(std::uint32_t index) noexcept {
    over_[index].store(true, std::memory_order_relaxed);
    page_->end(std::uint64_t{1} << (first_ + index));
  }

  std::uint32_t on_drop(index_range requests,
                        const failure_ptr& why) noexcept override {
    std::uint32_t told = 0;
    for (auto i = requests.begin; i < requests.end; ++i) {
      if (over_[i].load(std::memory_order_relaxed))
        continue;
      page_->at(first_ + i).drop(why);
      count_dropped_call(why->code);
      end(i);
      ++told;
    }
    return told;
  }

  void destroy_input() noexcept override {}

  const ref_ptr<burst_page> page_;
  const std::uint32_t first_;
  // Which calls are over; of one that a worker was lost in, nobody else knows.
  std::array<std::atomic<bool>, burst_page::capacity> over_{};
};

} // namespace troupe
