// How durations are spread, in little memory: counts in buckets that grow with
// what they hold, so that every quantile is known to within one percent. One
// thread records at a time; anybody may read or copy meanwhile.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace troupe {

/// Counts durations. Values copy; the copy of one that is being written to is a
/// snapshot.
///
/// Shape:  64 buckets for each power of two of nanoseconds. Those of a power
///         are allocated, 512 bytes at once, when the first value arrives
///         there; never more than 23 KiB in all.
/// Units:  durations from 0 to `limit`. A longer one counts as `limit`, and is
///         counted by `clamped`; a negative one counts as 0.
/// Errors: `record` never fails. Where memory is short, the value is counted by
///         `lost` alone.
/// Source: HdrHistogram; the error bound of DDSketch.
class histogram {
public:
  /// The longest duration told apart from longer ones: ten days.
  static constexpr std::chrono::nanoseconds limit = std::chrono::hours{240};

  /// How far a quantile may lie from the exact one, as a share of it: half a
  /// bucket.
  static constexpr double error = 1.0 / 128;

  // -- construction -----------------------------------------------------------

  histogram() = default;

  histogram(const histogram& other);

  histogram(histogram&& other) noexcept;

  histogram& operator=(histogram other) noexcept;

  ~histogram();

  // -- recording --------------------------------------------------------------

  /// Counts `n` times the duration `value`. For one thread at a time.
  void record(std::chrono::nanoseconds value, std::uint64_t n = 1) noexcept;

  /// Adds what `other` has counted: as if all had been recorded here. For one
  /// thread at a time.
  void merge(const histogram& other) noexcept;

  /// Returns what was recorded here and not yet in `earlier`, which is an
  /// earlier copy of this one. Its `max` is that of its buckets.
  histogram since(const histogram& earlier) const;

  // -- properties -------------------------------------------------------------

  /// Returns how many durations were counted.
  std::uint64_t count() const noexcept;

  /// Returns how many of them were longer than `limit`.
  std::uint64_t clamped() const noexcept {
    return clamped_.load(std::memory_order_relaxed);
  }

  /// Returns how many durations could not be counted for lack of memory.
  std::uint64_t lost() const noexcept {
    return lost_.load(std::memory_order_relaxed);
  }

  /// Returns the longest duration; 0 if there is none.
  std::chrono::nanoseconds max() const noexcept;

  /// Returns the sum of all durations; the greatest number of nanoseconds, 292
  /// years, if it is more.
  std::chrono::nanoseconds sum() const noexcept;

  /// Returns the mean; 0 if there is nothing to take it of.
  std::chrono::nanoseconds mean() const noexcept;

  /// Returns the square of the ratio of standard deviation and mean: 0 if all
  /// are alike, 1 for an exponential distribution.
  double squared_variation() const noexcept;

  /// Returns the duration that the share `q` of all does not exceed, by nearest
  /// rank; 0 if there is none. `q` is from 0 to 1.
  std::chrono::nanoseconds quantile(double q) const noexcept;

  /// Returns how many durations are at most `value`. Those in its own bucket
  /// count if the whole bucket does.
  std::uint64_t count_up_to(std::chrono::nanoseconds value) const noexcept;

private:
  static constexpr unsigned bits = 6;
  static constexpr std::size_t per_octave = std::size_t{1} << bits;

  // The first octave stands for all values below 64, each in its own bucket.
  static constexpr std::size_t octaves = 45;

  using octave = std::array<std::atomic<std::uint64_t>, per_octave>;

  struct position {
    std::size_t octave = 0;
    std::size_t slot = 0;
  };

  static position position_of(std::uint64_t value) noexcept;
  static std::uint64_t lowest(position at) noexcept;
  static std::uint64_t highest(position at) noexcept;
  static std::chrono::nanoseconds middle(position at) noexcept;

  octave* find(std::size_t number) const noexcept {
    return octaves_[number].load(std::memory_order_acquire);
  }

  octave* ensure(std::size_t number) noexcept;
  double sum_of_middles() const noexcept;
  void swap(histogram& other) noexcept;

  template <class Visit>
  void for_each(Visit visit) const;

  std::array<std::atomic<octave*>, octaves> octaves_{};
  std::atomic<std::int64_t> sum_{0};
  std::atomic<std::int64_t> max_{0};
  std::atomic<std::uint64_t> clamped_{0};
  std::atomic<std::uint64_t> lost_{0};
};

} // namespace troupe
