// Finds how many workers a pool should have while the pool works: the
// arithmetic behind `workers = auto`. A plain value without clock, thread or
// actor: somebody tells it once an interval what happened, and it answers with
// the size to have next.

#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace troupe {

/// What happened in a pool since it was looked at last.
struct load_observation {
  /// How long that is, and how many requests returned in it.
  std::chrono::nanoseconds elapsed{0};
  std::uint64_t completed = 0;

  /// Workers that live now, and those of them that have requests.
  std::size_t workers = 0;
  std::size_t busy = 0;

  /// Requests that wait for a worker now; those beyond the number of workers
  /// need not be counted.
  std::size_t waiting = 0;

  /// The share of that time that busy workers computed, or waited for a core to
  /// compute on. None: not known.
  std::optional<double> computing = {};
};

/// Searches for the size with the best throughput, and among sizes that are as
/// good for the smallest.
///
/// While requests wait, the throughput of one size is compared with that of a
/// neighbour: twice as many at first, as long as that pays, then half, and
/// then in steps of a half and a quarter. A size pays if throughput grows by
/// more than a tenth of what the workers grow by, on the logarithmic scale:
/// twice the workers must bring 7 % more. What is close is measured once more
/// at the old size before it is believed. When no neighbour is better, the size
/// rests, longer each time; a throughput that has changed by a quarter ends the
/// rest. Where nothing returns at all for a while, and workers do not compute,
/// they are doubled without evidence.
///
/// An interval counts only if requests waited, and all workers were busy, at
/// both ends: of an idle pool, and of one that its callers do not fill, nothing
/// is learned, and the size stays. Requests that differ much look like noise;
/// they belong into pools of their own.
///
/// Source: hill climbing and starvation injection of .NET's thread pool, whose
/// users see it add a thread or two a second, and go on where more do not help;
/// Netflix's concurrency-limits, whose gradient needs a service time free of
/// queue wait, which throughput of busy workers is.
class auto_sizer {
public:
  /// What the sizes lie between, and where they begin.
  struct bounds {
    std::size_t least = 1;
    std::size_t most = 64;
    std::size_t first = 8;
    /// Cores that requests may compute on.
    std::size_t cores = 1;
  };

  /// How long an interval should be: short against what people notice, and long
  /// enough for several calls of a disk or a local network. A guess.
  static constexpr std::chrono::nanoseconds interval =
      std::chrono::milliseconds{50};

  // -- construction -----------------------------------------------------------

  /// `least` from 1 to `most`; `first` is brought between them.
  explicit auto_sizer(const bounds& within) noexcept;

  // -- properties -------------------------------------------------------------

  /// Returns the size to have now.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Returns the best size known so far, around which others are tried.
  [[nodiscard]] std::size_t base() const noexcept { return base_; }

  /// Returns whether no neighbour was better when it was tried last.
  [[nodiscard]] bool resting() const noexcept { return resting_; }

  // -- operations -------------------------------------------------------------

  /// Takes in what happened with `size()` workers, and returns the size to have
  /// next.
  std::size_t next(const load_observation& seen) noexcept;

  /// Says that nobody looked for a while, since nothing waited.
  void pause() noexcept;

private:
  enum class direction : std::uint8_t { up, down };

  /// What is being measured: the best size so far, another one, or the best one
  /// once more since the other was close.
  enum class step : std::uint8_t { base, trial, again };

  /// Whether the throughput of the best size is what it was.
  enum class verdict : std::uint8_t { usual, doubtful, changed };

  bool counts(const load_observation& seen) noexcept;
  bool grow_starving(const load_observation& seen) noexcept;
  double measure() const noexcept;
  bool enough() const noexcept;
  double deviation() const noexcept;
  void note_change(double change) noexcept;
  bool is_surprise(double change) const noexcept;
  void decide(double rate, std::size_t waiting) noexcept;
  void try_next(std::size_t waiting) noexcept;
  void accept(double rate) noexcept;
  void reject() noexcept;
  void rest(double rate) noexcept;
  void look_while_resting(double rate, std::size_t waiting) noexcept;
  verdict judge(double change) noexcept;
  void begin_anew(double change) noexcept;
  void search(std::size_t first_stride, direction towards) noexcept;
  bool is_refused(std::size_t size) const noexcept;
  std::size_t enough_to_compute() const noexcept;
  std::size_t candidate(std::size_t waiting) const noexcept;
  void move_to(std::size_t size) noexcept;
  void forget_epoch() noexcept;

  bool& tried(direction towards) noexcept {
    return tried_[static_cast<std::size_t>(towards)];
  }

  bounds within_;
  std::size_t size_;
  std::size_t base_;

  // The search. Until the first try that does not pay, in a hurry.
  step step_ = step::base;
  direction direction_ = direction::up;
  std::size_t stride_ = 0;
  std::array<bool, 2> tried_{};
  // The nearest sizes that did not pay since the search began.
  std::array<std::optional<std::size_t>, 2> refused_{};
  int paid_in_a_row_ = 0;
  bool hurried_ = true;
  double base_rate_ = 0;
  double trial_rate_ = 0;
  std::size_t trial_ = 0;

  // The rest: how many epochs are left of it, how long the next one will be,
  // and what throughput there was.
  bool resting_ = false;
  std::size_t rest_left_ = 0;
  std::size_t rest_length_;
  double rest_rate_ = 0;
  // How often in a row the throughput of the best size was another one, and by
  // how much.
  int surprises_ = 0;
  double doubted_ = 0;

  // By how much a throughput varies that was measured for the shortest epoch,
  // squared, on the logarithmic scale; and how long the last epoch was.
  double variance_;
  double measured_ = 1;

  // The share of their time that requests compute.
  std::optional<double> computing_;

  // The epoch, in which one size is measured; how many requests have to return
  // first that began under the size before.
  bool full_before_ = false;
  bool settling_ = false;
  std::uint64_t to_settle_ = 0;
  std::uint64_t completed_ = 0;
  std::chrono::nanoseconds elapsed_{0};
  std::chrono::nanoseconds quiet_{0};
  std::chrono::nanoseconds starved_{0};
};

} // namespace troupe
