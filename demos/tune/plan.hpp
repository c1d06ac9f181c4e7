// The arithmetic of tuning: what rounds add up to, which number of workers is
// enough, and which ones to try next. Measures nothing itself.
#pragma once

#include "troupe/stats.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tune {

/// One round: so many workers, busy with requests for a while.
struct round {
  std::size_t workers = 0;
  /// Requests that succeeded, a second.
  double rate = 0;
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  /// How long requests ran, and how much of that time they computed.
  troupe::histogram ran = {};
  std::chrono::nanoseconds computed{0};
  std::chrono::nanoseconds sampled{0};
};

/// All rounds with one number of workers.
struct measured {
  std::size_t workers = 0;
  /// Of each round, in order.
  std::vector<double> rates = {};
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  /// Of all requests, whether they succeeded or not.
  troupe::label_stats times = {};

  void add(const round& done);

  /// Returns the median of `rates`; 0 if there is none.
  double rate() const;

  /// Returns the part of all requests that failed, from 0 to 1.
  double failed_share() const noexcept;
};

/// The requests that failed, over all rounds.
struct failures {
  struct entry {
    std::string item;
    std::string error;
  };

  /// Some of them, of different items, in order of arrival.
  std::vector<entry> first;
  /// How many items have failed at least once.
  std::size_t items = 0;
  /// How many requests have failed.
  std::uint64_t requests = 0;
};

/// Returns the middle one of `values`, or the mean of the two in the middle; 0
/// if there is none.
double median(std::vector<double> values);

// -- the knee -----------------------------------------------------------------

/// Where more workers stop to help; both are positions in the rows.
struct knee {
  std::size_t at = 0;
  /// The one with the highest rate.
  std::size_t best = 0;
};

/// A number of workers with which this much more of all requests fails than
/// with another is no candidate: what it saves in time it costs in failures.
inline constexpr double tolerated_failures = 0.05;

/// Returns whether `row` has as few failures as may be, compared with `rows`.
bool is_candidate(const measured& row, std::span<const measured> rows);

/// Finds the smallest number of workers with a rate within `within` of the
/// best: 0.1 stands for 90 % of it.
///
/// Shape:  `rows` are in order of workers; those without rounds don't count.
///         Nothing if no request of a candidate succeeded.
std::optional<knee> find_knee(std::span<const measured> rows, double within);

/// Returns whether more than was tried may be better still: the knee is the
/// largest size, and there are smaller ones.
bool still_rises(std::span<const measured> rows, const knee& found);

// -- what comes next ----------------------------------------------------------

/// Doubling the workers must bring this much, or it brought nothing.
inline constexpr double least_gain = 0.05;

/// Returns whether doubling on makes no sense: twice in a row, at the end of
/// `rows`, it brought nothing.
bool past_the_best(std::span<const measured> rows);

/// Returns the sizes to try around the knee, in order, and none of `tried`:
/// at most three in front of it, since the true one lies there, and one behind.
///
/// @param tried in order, the knee among them.
std::vector<std::size_t> around(std::span<const std::size_t> tried,
                                std::size_t knee);

/// Returns the order of `sizes` in a round: up in one, down in the next, so
/// that a drift of the machine favours nobody.
std::vector<std::size_t> order(std::vector<std::size_t> sizes,
                               std::size_t round);

/// Returns how long a round is to take, so that `rounds` of them with each of
/// `sizes` fill `time`; never so short that starting the workers would count.
std::chrono::nanoseconds slice(std::chrono::nanoseconds time,
                               std::size_t rounds, std::size_t sizes);

} // namespace tune
