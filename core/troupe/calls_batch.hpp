// The batch behind a `gather` of many light calls of one pool: they are claimed
// and counted like the elements of a map, so that a million different functions
// cost one submission, and no more memory each than what they are.

#pragma once

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

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
        slots_{this->size()} {}

  run_result run_one(std::uint32_t index, context& ctx) noexcept {
    calls_.fetch(index + fetch_distance);
    // It goes as soon as it has run, while it is in the cache.
    auto call = calls_.take(index);
    return this->guard(index, ctx, [&] {
      slots_.fill(index, [&]() -> T { return call->make(ctx); });
    });
  }

  /// Returns the calls, for who makes them in another way. Before the start.
  call_row<T>& calls() noexcept { return calls_; }

  void* result() override {
    if constexpr (std::is_void_v<T>)
      return nullptr;
    else {
      if (!taken_)
        taken_.emplace(slots_.take());
      return &*taken_;
    }
  }

private:
  void destroy_input() noexcept override { calls_ = {}; }

  using taken_type = std::conditional_t<
      std::is_void_v<T>, char,
      std::vector<std::conditional_t<std::is_void_v<T>, char, T>>>;

  call_row<T> calls_;
  [[no_unique_address]] result_slots<T> slots_;
  std::optional<taken_type> taken_;
};

} // namespace troupe
