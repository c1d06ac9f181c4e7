// Whether a program that runs for long stays as it is: looks at /proc/self
// again and again, and says at the end what has grown.

#pragma once

#include "proc_self.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace test {

/// What a process holds at one moment.
struct holdings {
  std::size_t memory_kib = 0;
  std::size_t threads = 0;
  std::size_t descriptors = 0;
};

inline holdings holdings_now() {
  return {proc_status("VmRSS"), proc_status("Threads"), open_descriptors()};
}

/// Compares what a process held late in its life with what it held before. The
/// first quarter does not count: then caches fill. Of the rest the earlier half
/// is compared with the later one.
class steadiness {
public:
  /// What a median of the memory may grow by: allocators keep some of what was
  /// freed, more or less of it from moment to moment.
  static constexpr double share = 0.1;
  static constexpr std::size_t slack_kib = 4'096;

  /// With fewer there is nothing to compare.
  static constexpr std::size_t least = 8;

  void add(holdings now) { seen_.push_back(now); }

  bool can_tell() const { return seen_.size() >= least; }

  /// Returns what has grown, a line each; nothing if all is flat, or there were
  /// too few looks to tell.
  std::string growth() const {
    std::string out;
    if (!can_tell())
      return out;
    auto memory = compare(&holdings::memory_kib, middle);
    if (static_cast<double>(memory.after)
        > static_cast<double>(memory.before) * (1 + share) + slack_kib)
      out += line("resident pages", memory, " KiB");
    // The least of them, since one that ends may still be seen.
    auto threads = compare(&holdings::threads, least_of);
    if (threads.after > threads.before)
      out += line("threads", threads, "");
    auto descriptors = compare(&holdings::descriptors, least_of);
    if (descriptors.after > descriptors.before)
      out += line("descriptors", descriptors, "");
    return out;
  }

private:
  struct pair {
    std::size_t before;
    std::size_t after;
  };

  using numbers = std::vector<std::size_t>;

  static std::size_t middle(numbers all) {
    auto at = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
    std::nth_element(all.begin(), at, all.end());
    return *at;
  }

  static std::size_t least_of(numbers all) {
    return *std::min_element(all.begin(), all.end());
  }

  pair compare(std::size_t holdings::*what,
               std::size_t (*summary)(numbers)) const {
    auto first = seen_.size() / 4;
    auto half = first + (seen_.size() - first) / 2;
    numbers before, after;
    for (auto i = first; i < seen_.size(); ++i)
      (i < half ? before : after).push_back(seen_[i].*what);
    return {summary(std::move(before)), summary(std::move(after))};
  }

  static std::string line(const char* what, pair of, const char* unit) {
    return fmt::format("  {} have grown from {} to {}{}\n", what, of.before,
                       of.after, unit);
  }

  std::vector<holdings> seen_;
};

} // namespace test
