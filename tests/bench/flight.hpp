// Result slots and a countdown, shared by the peers that have neither: what
// their users write around a pool that only takes closures. A closure needs one
// pointer and one number to find its place.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace bench {

/// The requests of one batch that are under way.
class flight {
public:
  explicit flight(std::size_t count)
      : results_(count), remaining_{count}, done_{count == 0 ? 1 : 0} {}

  virtual ~flight() = default;

  void put(std::size_t i, std::uint64_t result) {
    results_[i] = result;
    if (remaining_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      // The waiter may free this object as soon as it sees the flag; waking
      // only uses the address.
      done_.store(1, std::memory_order_release);
      done_.notify_one();
    }
  }

  std::vector<std::uint64_t> wait() {
    done_.wait(0, std::memory_order_acquire);
    return std::move(results_);
  }

private:
  std::vector<std::uint64_t> results_;
  std::atomic<std::size_t> remaining_;
  std::atomic<int> done_;
};

/// A flight of the same call for different inputs.
template <class Call>
class call_flight : public flight {
public:
  call_flight(Call call, std::span<const std::uint64_t> inputs)
      : flight{inputs.size()}, call_{std::move(call)}, inputs_{inputs} {}

  void run(std::size_t i) { put(i, call_(inputs_[i])); }

private:
  Call call_;
  std::span<const std::uint64_t> inputs_;
};

} // namespace bench
