// The batch behind a `gather` of many light calls of one pool: they are claimed
// and counted like the elements of a map, so that a million different functions
// cost one submission, and no more memory each than what they are.

#pragma once

#include <cstdint>
#include <utility>

#include "troupe/fetch_early.hpp"
#include "troupe/light_call.hpp"
#include "troupe/map_batch.hpp"

namespace troupe {

/// One request per call. The first that fails drops the rest.
template <class T>
class calls_batch final : public batch_loop<calls_batch<T>> {
public:
  explicit calls_batch(call_row<T> calls)
      : batch_loop<calls_batch>{static_cast<std::uint32_t>(calls.size())},
        calls_{std::move(calls)},
        results_{this->size()} {}

  run_result run_one(std::uint32_t index, context& ctx) noexcept {
    calls_.fetch(index + fetch_distance);
    // It goes as soon as it has run, while it is in the cache.
    auto call = calls_.take(index);
    return this->guard(index, ctx, [&] {
      results_.fill(index, [&]() -> T { return call->make(ctx); });
    });
  }

  /// Returns the calls, for who makes them in another way. Before the start.
  call_row<T>& calls() noexcept { return calls_; }

  void* result() override { return results_.get(); }

private:
  void destroy_input() noexcept override { calls_ = {}; }

  call_row<T> calls_;
  result_vector<T> results_;
};

} // namespace troupe
