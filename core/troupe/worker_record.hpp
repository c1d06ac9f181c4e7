// What one worker has measured of the requests that it ran: how long they
// waited, ran and computed, by label, and how busy it was lately. Each worker
// writes its own record, so that measuring shares no memory; a snapshot of the
// pool adds them up.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "troupe/activity.hpp"
#include "troupe/histogram.hpp"
#include "troupe/label_book.hpp"

namespace troupe {

/// Returns how long the calling thread has computed.
std::chrono::nanoseconds thread_cpu_time() noexcept;

/// Returns how long the calling thread has computed, or would have if a core
/// had been free: with many workers on few cores, the time spent computing says
/// little about what requests do.
std::chrono::nanoseconds thread_cpu_demand() noexcept;

/// As above, for the thread of this process that the system calls `thread`.
/// None: there is no such thread.
std::optional<std::chrono::nanoseconds>
thread_cpu_demand(std::uint64_t thread) noexcept;

/// The measurements of one worker. It writes; anybody may read meanwhile.
class worker_record {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// What was measured of the requests of one label.
  struct of_label {
    histogram waited;
    histogram ran;

    /// How long the worker computed, or waited for a core, in nanoseconds, and
    /// in how much time: summed over samples.
    std::atomic<std::int64_t> computed{0};
    std::atomic<std::int64_t> sampled{0};
  };

  worker_record() noexcept;

  worker_record(const worker_record&) = delete;

  worker_record& operator=(const worker_record&) = delete;

  ~worker_record();

  // -- the worker's side ------------------------------------------------------

  /// The worker begins with requests. Of many workers, each looks less often
  /// how it computes: they do much the same.
  void begin(time_point now, std::uint32_t workers = 1) noexcept;

  /// The worker has spent its time on requests of the label, up to now, and
  /// goes on. Returns whether there is more known now of how it computes.
  bool advance(std::uint8_t label, time_point now) noexcept;

  /// As `advance`, but the worker leaves.
  bool end(std::uint8_t label, time_point now) noexcept;

  /// `n` requests have returned which took `each`.
  void returned(std::uint8_t label, std::chrono::nanoseconds each,
                std::uint32_t n) noexcept;

  /// `n` requests were started after they had waited so long.
  void started(std::uint8_t label, std::chrono::nanoseconds waited,
               std::uint32_t n) noexcept;

  /// Counts requests that have returned.
  void count_returned(std::uint32_t n) noexcept {
    // There is one writer.
    returned_.store(returned_.load(std::memory_order_relaxed) + n,
                    std::memory_order_relaxed);
  }

  // -- everybody's side -------------------------------------------------------

  /// Returns how many requests have returned, of all labels.
  std::uint64_t returned() const noexcept {
    return returned_.load(std::memory_order_relaxed);
  }

  /// Returns what was measured of a label; null if nothing was.
  const of_label* find(std::uint8_t label) const noexcept {
    return labels_[label].load(std::memory_order_acquire);
  }

  /// Returns since when the worker has been busy with what it does now; the
  /// clock's zero if it is not.
  time_point since() const noexcept {
    return time_point{
        std::chrono::nanoseconds{mark_.load(std::memory_order_acquire)}};
  }

  /// Returns the busy time in all, up to `now`.
  std::chrono::nanoseconds busy_time(time_point now) const noexcept;

  /// Returns the busy time since `begin`, which `activity::begin_of` returned,
  /// up to `now`.
  std::chrono::nanoseconds busy_since(time_point begin,
                                      time_point now) const noexcept;

private:
  of_label* ensure(std::uint8_t label) noexcept;
  void begin_sample(time_point now, std::chrono::nanoseconds demand) noexcept;
  std::chrono::nanoseconds end_sample(std::uint8_t label,
                                      time_point now) noexcept;

  template <class Read>
  std::chrono::nanoseconds with_running(Read read, time_point begin,
                                        time_point now) const noexcept;

  std::atomic<std::int64_t> mark_{0};
  std::atomic<std::int64_t> busy_{0};
  std::atomic<std::uint64_t> returned_{0};
  bool sampling_ = false;
  // By how much samples are further apart, since others take some, too.
  std::uint32_t shared_by_ = 1;
  // How far samples are apart, and how long each of a long stay is.
  std::chrono::nanoseconds gap_;
  time_point next_sample_;
  time_point sample_begin_;
  std::chrono::nanoseconds sample_demand_{0};
  std::array<std::atomic<of_label*>, label_book::size> labels_{};
  activity lately_;
};

} // namespace troupe
