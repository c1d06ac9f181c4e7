#include "troupe/auto_sizer.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace troupe {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// By how much a neighbour differs from the best size so far.
constexpr std::array<double, 4> strides{2, 1.5, 1.25, 1.12};

// How much throughput has to grow by, as a power of what the workers grow by.
// Larger, and a service whose throughput grows slowly gets too few: at a tenth,
// one that approaches its limit like n / (n + k) is used to nine tenths of it.
// Smaller, and noise decides.
constexpr double worth_it = 0.1;

// By how much two throughputs must miss what decides between them, on the
// logarithmic scale, to be believed at once; and no less than so many times
// what they vary by.
constexpr double clearly = 0.08;
constexpr double clear_deviations = 3;

// A throughput that differs so much from what it was is another one.
constexpr double surprise = 0.22;
constexpr double surprising_deviations = 4;
constexpr int surprises_to_believe = 2;

// An epoch should tell a throughput to within this, on the same scale. It is at
// first thought to be what the shortest one does.
constexpr double wanted_error = 0.04;

// What is measured of one size: requests and time at the least, and up to eight
// times as much if throughput varies; or less, if it takes long.
constexpr std::uint64_t many = 100;
constexpr std::uint64_t a_few = 16;
constexpr double longest_measure = 8;
constexpr nanoseconds shortest_epoch = milliseconds{200};
constexpr nanoseconds long_epoch = milliseconds{2000};

// Rests, in epochs: with epochs of 200 ms from 2 s to 13 s.
constexpr std::size_t shortest_rest = 8;
constexpr std::size_t longest_rest = 64;

// Of requests that compute for more of the time, cores say how many to try.
constexpr double mostly_computes = 0.8;

// For how long nothing must return before workers are added without evidence.
constexpr nanoseconds starvation = milliseconds{250};

// After so long without waiting requests a try is given up.
constexpr nanoseconds longest_quiet = milliseconds{1000};

bool mostly_compute(const std::optional<double>& share) noexcept {
  return share.value_or(0) >= mostly_computes;
}

} // namespace

auto_sizer::auto_sizer(const bounds& within) noexcept
    : within_{within},
      size_{std::clamp(within.first, within.least, within.most)},
      base_{size_},
      rest_length_{shortest_rest},
      variance_{wanted_error * wanted_error} {}

std::size_t auto_sizer::next(const load_observation& seen) noexcept {
  if (!counts(seen) || grow_starving(seen))
    return size_;
  if (settling_) {
    to_settle_ -= std::min(to_settle_, seen.completed);
    settling_ = to_settle_ > 0;
    return size_;
  }
  completed_ += seen.completed;
  elapsed_ += seen.elapsed;
  if (seen.computing)
    computing_ = computing_ ? *computing_ + (*seen.computing - *computing_) / 4
                            : *seen.computing;
  // Where requests return in waves, an epoch ends with one, as it began.
  if (seen.completed == 0 || !enough())
    return size_;
  auto rate = static_cast<double>(completed_)
              / std::chrono::duration<double>{elapsed_}.count();
  measured_ = measure();
  forget_epoch();
  decide(rate, seen.waiting);
  return size_;
}

void auto_sizer::pause() noexcept {
  full_before_ = false;
  quiet_ = nanoseconds{0};
  starved_ = nanoseconds{0};
  forget_epoch();
  // Nobody knows how long that was, or what came in between.
  if (step_ != step::base) {
    step_ = step::base;
    move_to(base_);
  }
}

// Whether all workers were busy, and more would have been, for all of the time.
bool auto_sizer::counts(const load_observation& seen) noexcept {
  auto full = seen.waiting > 0 && seen.busy * 10 >= size_ * 9;
  auto full_all_the_time = std::exchange(full_before_, full) && full;
  if (!full_all_the_time) {
    starved_ = nanoseconds{0};
    quiet_ += seen.elapsed;
    if (quiet_ >= longest_quiet)
      pause();
    return false;
  }
  quiet_ = nanoseconds{0};
  // Those that are left over work on until their requests return.
  return seen.workers <= size_ || seen.busy <= size_;
}

// Without any reply there is nothing to compare; but workers that only wait
// cost little, and who stands in the queue may have somebody else to call.
bool auto_sizer::grow_starving(const load_observation& seen) noexcept {
  starved_ = seen.completed > 0 ? nanoseconds{0} : starved_ + seen.elapsed;
  // A request takes as long as it takes all workers to serve one each.
  auto usual = base_rate_ > 0 ? static_cast<double>(size_) / base_rate_ : 0;
  if (std::chrono::duration<double>{starved_}.count()
      < std::max(std::chrono::duration<double>{starvation}.count(), 2 * usual))
    return false;
  if (step_ == step::trial) {
    // It is the trial that brought this about.
    starved_ = nanoseconds{0};
    reject();
    return true;
  }
  if (size_ == within_.most
      || (seen.computing
          && *seen.computing * static_cast<double>(seen.busy) * 10
                 >= static_cast<double>(within_.cores) * 9))
    return false;
  starved_ = nanoseconds{0};
  // In a hurry more may follow; else it may have been a hiccup.
  auto towards = hurried_ ? direction::up : direction::down;
  search(0, direction::up);
  base_ = candidate(seen.waiting);
  base_rate_ = 0;
  direction_ = towards;
  move_to(base_);
  return true;
}

// How much there is in the epoch, by what the shortest one takes.
double auto_sizer::measure() const noexcept {
  auto least = std::max<std::uint64_t>(many, 3 * size_);
  return std::min(std::chrono::duration<double>{elapsed_} / shortest_epoch,
                  static_cast<double>(completed_) / static_cast<double>(least));
}

bool auto_sizer::enough() const noexcept {
  if (hurried_ || elapsed_ >= long_epoch)
    return completed_ >= std::max<std::uint64_t>(a_few, 2 * size_);
  auto wanted = variance_ / (wanted_error * wanted_error);
  return measure() >= std::clamp(wanted, 1.0, longest_measure);
}

// By how much the throughput of one size varies from epoch to epoch.
double auto_sizer::deviation() const noexcept {
  return std::sqrt(variance_ / measured_);
}

// Learns how much that is from two looks at one size.
void auto_sizer::note_change(double change) noexcept {
  // Half of it belongs to either look.
  auto seen = change * change / 2 * measured_;
  variance_ += (seen - variance_) / 8;
}

void auto_sizer::decide(double rate, std::size_t waiting) noexcept {
  if (resting_) {
    look_while_resting(rate, waiting);
    return;
  }
  if (step_ == step::base) {
    // Something else has changed in between. Where that is only noise the next
    // look says so.
    auto change = base_rate_ > 0 ? std::log(rate / base_rate_) : 0;
    auto found = judge(change);
    if (found == verdict::doubtful)
      return;
    if (found == verdict::changed)
      begin_anew(change);
    if (base_rate_ == 0 && base_ > enough_to_compute())
      direction_ = direction::down;
    base_rate_ = rate;
    try_next(waiting);
    return;
  }
  auto other = step_ == step::again ? trial_ : size_;
  auto least =
      worth_it
      * std::log(static_cast<double>(other) / static_cast<double>(base_));
  if (step_ == step::trial) {
    auto gain = std::log(rate / base_rate_) - least;
    auto margin = std::max(clearly, clear_deviations * deviation());
    if (gain > margin) {
      accept(rate);
      try_next(waiting);
    } else if (gain < -margin) {
      reject();
    } else {
      hurried_ = false;
      trial_rate_ = rate;
      trial_ = size_;
      step_ = step::again;
      move_to(base_);
    }
    return;
  }
  if (auto change = std::log(rate / base_rate_); !is_surprise(change))
    note_change(change);
  // Before and after: what changed meanwhile by itself counts half.
  auto gain = std::log(trial_rate_ / std::sqrt(base_rate_ * rate)) - least;
  if (gain > 0) {
    move_to(trial_);
    accept(trial_rate_);
    // What was measured is old by now.
    step_ = step::base;
  } else {
    // It is back at the old size, and has measured it just now.
    reject();
    base_rate_ = rate;
    try_next(waiting);
  }
}

// Goes on to the next neighbour that was not tried; rests if there is none.
void auto_sizer::try_next(std::size_t waiting) noexcept {
  for (; stride_ < strides.size(); ++stride_, tried_ = {}) {
    for (auto turn = 0; turn < 2; ++turn) {
      if (!tried(direction_)) {
        auto size = candidate(waiting);
        if (size != base_ && !is_refused(size)) {
          step_ = step::trial;
          move_to(size);
          return;
        }
        tried(direction_) = true;
      }
      direction_ =
          direction_ == direction::up ? direction::down : direction::up;
    }
  }
  rest(base_rate_);
}

void auto_sizer::accept(double rate) noexcept {
  // Where it came from was worse.
  auto back = direction_ == direction::up ? direction::down : direction::up;
  tried(back) = true;
  refused_[static_cast<std::size_t>(back)] = base_;
  base_ = size_;
  base_rate_ = rate;
  // Where small steps pay one after the other, larger ones may.
  if (++paid_in_a_row_ >= 2 && stride_ > 0)
    --stride_;
}

void auto_sizer::reject() noexcept {
  paid_in_a_row_ = 0;
  tried(direction_) = true;
  // In a hurry little was measured of it.
  if (!hurried_)
    refused_[static_cast<std::size_t>(direction_)] =
        step_ == step::again ? trial_ : size_;
  hurried_ = false;
  direction_ = direction_ == direction::up ? direction::down : direction::up;
  step_ = step::base;
  move_to(base_);
}

void auto_sizer::rest(double rate) noexcept {
  resting_ = true;
  hurried_ = false;
  step_ = step::base;
  rest_left_ = rest_length_;
  rest_length_ = std::min(2 * rest_length_, longest_rest);
  rest_rate_ = rate;
  surprises_ = 0;
}

void auto_sizer::look_while_resting(double rate, std::size_t waiting) noexcept {
  auto change = std::log(rate / rest_rate_);
  switch (judge(change)) {
  case verdict::doubtful:
    return;
  case verdict::changed:
    begin_anew(change);
    break;
  case verdict::usual:
    // Follows what changes slowly, and noise of the first look.
    rest_rate_ += (rate - rest_rate_) / 4;
    if (--rest_left_ > 0)
      return;
    search(strides.size() - 1, direction_);
  }
  base_rate_ = rate;
  try_next(waiting);
}

// What to think of a throughput of the best size that differs by `change` from
// the one before.
auto_sizer::verdict auto_sizer::judge(double change) noexcept {
  if (!is_surprise(change)) {
    // So it was noise.
    if (std::exchange(surprises_, 0) > 0)
      note_change(doubted_);
    if (change != 0)
      note_change(change);
    return verdict::usual;
  }
  doubted_ = change;
  return ++surprises_ < surprises_to_believe ? verdict::doubtful
                                             : verdict::changed;
}

bool auto_sizer::is_surprise(double change) const noexcept {
  return std::abs(change)
         > std::max(surprise, surprising_deviations * deviation());
}

// The throughput of the best size has changed by itself.
void auto_sizer::begin_anew(double change) noexcept {
  // Whoever does less than before may have too many at once.
  search(0, change > 0 ? direction::up : direction::down);
  rest_length_ = shortest_rest;
  surprises_ = 0;
}

void auto_sizer::search(std::size_t first_stride, direction towards) noexcept {
  resting_ = false;
  step_ = step::base;
  stride_ = first_stride;
  direction_ = towards;
  tried_ = {};
  refused_ = {};
  paid_in_a_row_ = 0;
}

// Whether it lies at, or behind, one that did not pay.
bool auto_sizer::is_refused(std::size_t size) const noexcept {
  auto refused = refused_[static_cast<std::size_t>(direction_)];
  return refused
         && (direction_ == direction::up ? size >= *refused : size <= *refused);
}

// How many workers keep all cores busy, for all that is known.
std::size_t auto_sizer::enough_to_compute() const noexcept {
  if (!mostly_compute(computing_))
    return within_.most;
  return within_.cores + (within_.cores + 3) / 4;
}

// The neighbour of the best size, no larger than all that waits could use.
std::size_t auto_sizer::candidate(std::size_t waiting) const noexcept {
  auto stride = strides[stride_];
  auto base = static_cast<double>(base_);
  if (direction_ == direction::down) {
    auto size = std::min(static_cast<std::size_t>(std::lround(base / stride)),
                         base_ - 1);
    // Where requests compute, it is known where to look first.
    if (stride_ == 0)
      size = std::min(size, enough_to_compute());
    // And a core without a worker helps nobody.
    if (mostly_compute(computing_))
      size = std::max(size, std::min(within_.cores, base_));
    return std::max(size, within_.least);
  }
  auto size =
      std::max(static_cast<std::size_t>(std::lround(base * stride)), base_ + 1);
  return std::min({size, base_ + waiting, within_.most});
}

void auto_sizer::move_to(std::size_t size) noexcept {
  // Whatever returns first began under the old size.
  settling_ = true;
  to_settle_ = std::min(size, size_);
  size_ = size;
  forget_epoch();
}

void auto_sizer::forget_epoch() noexcept {
  completed_ = 0;
  elapsed_ = nanoseconds{0};
}

} // namespace troupe
