// Which requests have cost processes or nodes, and how many: so that one that
// is tried again does not go on with that for ever. For pools whose calls are
// made elsewhere.

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <mutex>
#include <string>

#include "troupe/batch.hpp"
#include "troupe/procedure.hpp"

namespace troupe {

/// Remembers the latest requests with losses. Thread-safe.
class loss_book {
public:
  /// A request is not run again once it has cost `most`; the texts say what of.
  loss_book(unsigned most, const char* one, const char* many)
      : most_{most}, one_{one}, many_{many} {}

  /// Tells a request that is tried again from all others.
  struct request_key {
    const batch* owner;
    std::chrono::steady_clock::time_point submitted;
    std::size_t arguments;

    bool operator==(const request_key&) const = default;

    /// Parts of a gather have no time of their own; they are not tried again.
    bool may_come_again() const noexcept {
      return submitted != std::chrono::steady_clock::time_point{};
    }
  };

  /// Returns the key of requests of a batch, but for their arguments.
  static request_key key_of(const batch* owner) noexcept {
    return {owner,
            owner ? owner->submitted_at()
                  : std::chrono::steady_clock::time_point{},
            0};
  }

  /// Counts a loss that a request has caused, for `why`. Returns how many it
  /// has caused by now.
  unsigned note_lost(const request_key& which, const std::string& why);

  /// Says what the request has cost, if it is not to be run again; else an
  /// empty text.
  std::string why_not_again(const request_key& which) const;

  /// Returns whether any request has caused a loss.
  bool has_losses() const noexcept {
    return has_losses_.load(std::memory_order_acquire);
  }

private:
  struct loss {
    request_key who;
    unsigned count;
    std::string why;
  };

  const unsigned most_;
  const char* const one_;
  const char* const many_;
  mutable std::mutex mutex_;
  // The latest ones; few, since requests that do this are few.
  std::deque<loss> losses_;
  std::atomic<bool> has_losses_{false};
};

/// Returns what tells the calls of a batch apart, in their keys.
std::size_t hash_of(const procedure_info& what,
                    const compat::byte_buffer& arguments);

} // namespace troupe
