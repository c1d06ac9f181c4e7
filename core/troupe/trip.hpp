// How the requests of a batch travel together, where the pool has its calls of
// procedures made elsewhere: claimed requests are packed until they are enough,
// `procedure_host::call_many` has them made, and what has not begun over there
// goes back to the lane, where anybody can take it. Included by procedure.hpp.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "troupe/batch_loop.hpp"
#include "troupe/dispatcher.hpp"
#include "troupe/procedure.hpp"

namespace troupe {

/// The most bytes of arguments that travel together; one request alone may have
/// more. A guess: thousands of small ones, and soon copied.
inline constexpr std::size_t most_trip_bytes = 256 * 1024;

/// Requests of a lane on their way.
template <class Batch, class Share>
class trip final : public call_chunk {
public:
  trip(traveller<Batch>& owner, Share& mine, std::uint32_t first,
       std::span<remote_call> packed) noexcept
      : call_chunk{packed},
        owner_{owner},
        mine_{mine},
        first_{first},
        kept_{packed.size()} {}

  void done(std::size_t n) noexcept override {
    if (n <= done_)
      return;
    auto begin = done_;
    done_ = n;
    auto before = std::exchange(told_, took);
    auto new_ones = took;
    if (took && before)
      *new_ones -= *before;
    owner_.take(mine_, first_ + static_cast<std::uint32_t>(begin),
                calls.subspan(begin, n - begin), new_ones);
  }

  void give_back(std::size_t n) noexcept override {
    if (n >= kept_)
      return;
    kept_ = n;
    mine_.give_back(first_ + static_cast<std::uint32_t>(n), true);
  }

  /// Has the calls made. Returns when each has its outcome or is given back.
  void make(const procedure_host& host, const procedure_info& what,
            context& ctx) noexcept {
    std::size_t made = 0;
    try {
      made = host.call_many(ctx, what, *this);
    } catch (...) {
      calls[done_].failure = std::current_exception();
      made = done_ + 1;
    }
    ctx.cell().end_request();
    done(made);
    give_back(made);
  }

private:
  traveller<Batch>& owner_;
  Share& mine_;
  const std::uint32_t first_;
  std::size_t done_ = 0;
  std::size_t kept_;
  std::optional<std::chrono::nanoseconds> told_ = {};
};

/// One worker's part in a batch whose requests travel together.
template <class Batch>
class traveller {
public:
  traveller(Batch& work, context& ctx)
      : batch_{work},
        ctx_{ctx},
        cell_{ctx.cell()},
        host_{*cell_.home().procedures()},
        most_{host_.most_calls()} {}

  /// Returns whether requests travel together on this worker.
  static bool wanted(const worker_cell& cell) noexcept {
    auto host = cell.home().procedures();
    return host && host->most_calls() > 1;
  }

  /// Is `participate`.
  template <class Share>
  leave_reason travel(Share& mine, bool nested) noexcept {
    mine.travel(most_);
    for (;;) {
      index_range single;
      if (!mine.claim(single))
        return leave_reason::exhausted;
      auto from = mine.claimed_lane();
      if (from == nullptr)
        batch_.run_single(mine, ctx_, single.begin);
      while (from == nullptr || ship(mine, *from)) {
        // As with requests that run here.
        if (mine.asked_to_yield() || (cell_.resource_stale() && !nested))
          return leave_reason::yielded;
        // What is claimed goes first: left behind, it would have to be stolen.
        if ((from == nullptr || from->unstarted().empty())
            && mine.slice_is_over())
          return leave_reason::turn_over;
        if (from == nullptr)
          break;
      }
    }
  }

private:
  template <class, class>
  friend class trip;

  // Ships what is in the lane, as far as it travels together. Returns false if
  // the lane is empty.
  template <class Share>
  bool ship(Share& mine, lane& from) noexcept {
    auto first = from.start();
    if (first == lane::none)
      return false;
    std::size_t n = 0;
    std::size_t bytes = 0;
    std::exception_ptr failure;
    for (auto index = first;;) {
      try {
        bytes += pack(index, n);
      } catch (...) {
        failure = std::current_exception();
      }
      // The first one goes by itself then, and others not with this one.
      if (n > 0 && (failure || bytes > most_trip_bytes)) {
        mine.give_back(index, false);
        failure = nullptr;
        break;
      }
      ++n;
      if (failure || n == most_)
        break;
      index = from.start();
      if (index == lane::none)
        break;
    }
    if (failure) {
      remote_call failed;
      failed.failure = std::move(failure);
      take(mine, first, {&failed, 1}, {});
      return true;
    }
    trip<Batch, Share> all{*this, mine, first, std::span{calls_}.first(n)};
    all.stop_at_failure = !batch_.may_repeat();
    all.make(host_, batch_.procedure().info(), ctx_);
    // The memory of large ones is not kept for small ones.
    if (bytes > most_trip_bytes)
      calls_.clear();
    return true;
  }

  // Packs a request as number `n`. Returns how many bytes it has.
  std::size_t pack(std::uint32_t index, std::size_t n) {
    if (n == calls_.size())
      calls_.emplace_back();
    auto& x = calls_[n];
    x.arguments.clear();
    batch_.pack(index, x.arguments);
    return x.arguments.size();
  }

  // Takes outcomes, from that of the request `first` on.
  template <class Share>
  void take(Share& mine, std::uint32_t first, std::span<remote_call> calls,
            std::optional<std::chrono::nanoseconds> took) noexcept {
    auto ran = static_cast<std::uint32_t>(calls.size());
    std::uint32_t failed = 0;
    std::uint32_t again = 0;
    for (std::uint32_t i = 0; i < ran; ++i) {
      auto& x = calls[i];
      auto result = batch_.unpack(first + i, x, ctx_);
      x.failure = nullptr;
      x.result = {};
      if (result != run_result::value)
        ++(result == run_result::failed ? failed : again);
    }
    // Before whoever waits for the batch can look at what was measured.
    mine.tune(ran, failed + again, took);
    if (ran > again)
      batch_.settle(ran - again, failed, mine.mark());
  }

  Batch& batch_;
  context& ctx_;
  worker_cell& cell_;
  const procedure_host& host_;
  const std::uint32_t most_;
  std::vector<remote_call> calls_;
};

} // namespace troupe
