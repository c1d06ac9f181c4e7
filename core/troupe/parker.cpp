#include "troupe/parker.hpp"

#if defined(__linux__)

#  include <linux/futex.h>
#  include <sys/syscall.h>
#  include <unistd.h>

#  include <cerrno>
#  include <ctime>

namespace troupe {

namespace {

// Sleeps while `*word == expected`. Returns false once `deadline` has passed.
bool futex_wait(std::atomic<std::uint32_t>* word, std::uint32_t expected,
                const timespec* deadline) noexcept {
  // The bitset variant takes an absolute time of CLOCK_MONOTONIC, which is what
  // std::chrono::steady_clock counts here.
  auto res = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                     deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
  return res == 0 || errno != ETIMEDOUT;
}

} // namespace

void futex_parker::unpark() noexcept {
  if (word_.exchange(open, std::memory_order_acq_rel) == asleep)
    syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void futex_parker::park() noexcept {
  for (;;) {
    auto seen = word_.load(std::memory_order_acquire);
    if (seen == open) {
      word_.store(empty, std::memory_order_relaxed);
      return;
    }
    if (seen == asleep
        || word_.compare_exchange_strong(seen, asleep,
                                         std::memory_order_acq_rel))
      futex_wait(&word_, asleep, nullptr);
  }
}

bool futex_parker::park_until(
    std::chrono::steady_clock::time_point deadline) noexcept {
  using namespace std::chrono;
  auto since_boot = deadline.time_since_epoch();
  auto whole = duration_cast<seconds>(since_boot);
  timespec until{static_cast<time_t>(whole.count()),
                 static_cast<long>((since_boot - whole).count())};
  for (;;) {
    auto seen = word_.load(std::memory_order_acquire);
    if (seen == open) {
      word_.store(empty, std::memory_order_relaxed);
      return true;
    }
    if (seen == empty
        && !word_.compare_exchange_strong(seen, asleep,
                                          std::memory_order_acq_rel))
      continue;
    if (!futex_wait(&word_, asleep, &until)) {
      auto expected = asleep;
      if (word_.compare_exchange_strong(expected, empty,
                                        std::memory_order_acq_rel))
        return false;
    }
  }
}

} // namespace troupe

#endif
