#include "troupe/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <new>
#include <utility>

namespace troupe {

namespace {

// There is one writer, so nothing can come between the load and the store; an
// atomic addition would cost several times as much. Readers that see the new
// value see what was written before it.
template <class T>
void add(std::atomic<T>& to, T n) noexcept {
  to.store(to.load(std::memory_order_relaxed) + n, std::memory_order_release);
}

constexpr auto most_ns = std::numeric_limits<std::int64_t>::max();

// Returns the sum, or `most_ns` if that is less: a million requests of ten
// days.
std::int64_t sum_of(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t result = 0;
  return __builtin_add_overflow(a, b, &result) ? most_ns : result;
}

std::int64_t product_of(std::int64_t a, std::uint64_t n) noexcept {
  std::int64_t result = 0;
  return __builtin_mul_overflow(a, n, &result) ? most_ns : result;
}

} // namespace

// -- buckets ------------------------------------------------------------------

histogram::position histogram::position_of(std::uint64_t value) noexcept {
  if (value < per_octave)
    return {0, static_cast<std::size_t>(value)};
  auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - bits;
  return {shift + 1, static_cast<std::size_t>(value >> shift) - per_octave};
}

std::uint64_t histogram::lowest(position at) noexcept {
  if (at.octave == 0)
    return at.slot;
  return static_cast<std::uint64_t>(at.slot + per_octave) << (at.octave - 1);
}

std::uint64_t histogram::highest(position at) noexcept {
  auto width = at.octave == 0 ? 1 : std::uint64_t{1} << (at.octave - 1);
  return lowest(at) + width - 1;
}

std::chrono::nanoseconds histogram::middle(position at) noexcept {
  auto least = lowest(at);
  return std::chrono::nanoseconds{
      static_cast<std::int64_t>(least + (highest(at) - least) / 2)};
}

histogram::octave* histogram::ensure(std::size_t number) noexcept {
  auto found = octaves_[number].load(std::memory_order_relaxed);
  if (found == nullptr) {
    found = new (std::nothrow) octave{};
    octaves_[number].store(found, std::memory_order_release);
  }
  return found;
}

/// Calls `visit(position, count)` for each bucket that holds something, from
/// the lowest up.
template <class Visit>
void histogram::for_each(Visit visit) const {
  for (std::size_t i = 0; i < octaves; ++i)
    if (auto counts = find(i))
      for (std::size_t k = 0; k < per_octave; ++k)
        if (auto n = (*counts)[k].load(std::memory_order_acquire))
          visit(position{i, k}, n);
}

// -- construction -------------------------------------------------------------

histogram::histogram(const histogram& other) {
  merge(other);
}

histogram::histogram(histogram&& other) noexcept {
  swap(other);
}

histogram& histogram::operator=(histogram other) noexcept {
  swap(other);
  return *this;
}

histogram::~histogram() {
  for (auto& x : octaves_)
    delete x.load(std::memory_order_relaxed);
}

void histogram::swap(histogram& other) noexcept {
  auto exchange = [](auto& a, auto& b) {
    auto before = a.load(std::memory_order_relaxed);
    a.store(b.load(std::memory_order_relaxed), std::memory_order_relaxed);
    b.store(before, std::memory_order_relaxed);
  };
  for (std::size_t i = 0; i < octaves; ++i)
    exchange(octaves_[i], other.octaves_[i]);
  exchange(sum_, other.sum_);
  exchange(max_, other.max_);
  exchange(clamped_, other.clamped_);
  exchange(lost_, other.lost_);
}

// -- recording ----------------------------------------------------------------

void histogram::record(std::chrono::nanoseconds value,
                       std::uint64_t n) noexcept {
  if (n == 0)
    return;
  auto ticks = std::max<std::int64_t>(value.count(), 0);
  auto too_long = ticks > limit.count();
  if (too_long)
    ticks = limit.count();
  auto at = position_of(static_cast<std::uint64_t>(ticks));
  auto counts = ensure(at.octave);
  if (counts == nullptr) {
    add(lost_, n);
    return;
  }
  if (too_long)
    add(clamped_, n);
  // Before the count: who sees the count finds it within the maximum.
  if (ticks > max_.load(std::memory_order_relaxed))
    max_.store(ticks, std::memory_order_release);
  sum_.store(sum_of(sum_.load(std::memory_order_relaxed), product_of(ticks, n)),
             std::memory_order_release);
  add((*counts)[at.slot], n);
}

void histogram::merge(const histogram& other) noexcept {
  std::uint64_t missing = 0;
  other.for_each([&](position at, std::uint64_t n) {
    if (auto counts = ensure(at.octave))
      add((*counts)[at.slot], n);
    else
      missing += n;
  });
  auto theirs = other.max_.load(std::memory_order_acquire);
  if (theirs > max_.load(std::memory_order_relaxed))
    max_.store(theirs, std::memory_order_release);
  sum_.store(sum_of(sum_.load(std::memory_order_relaxed), other.sum().count()),
             std::memory_order_release);
  add(clamped_, other.clamped());
  add(lost_, other.lost() + missing);
}

histogram histogram::since(const histogram& earlier) const {
  histogram result;
  for_each([&](position at, std::uint64_t n) {
    auto before = earlier.find(at.octave);
    auto seen = before ? (*before)[at.slot].load(std::memory_order_acquire) : 0;
    if (n <= seen)
      return;
    auto counts = result.ensure(at.octave);
    if (counts == nullptr)
      throw std::bad_alloc{};
    add((*counts)[at.slot], n - seen);
    result.max_ = std::min(static_cast<std::int64_t>(highest(at)),
                           max_.load(std::memory_order_acquire));
  });
  result.sum_ = sum_.load() - earlier.sum_.load();
  result.clamped_ = clamped() - earlier.clamped();
  result.lost_ = lost() - earlier.lost();
  return result;
}

// -- properties ---------------------------------------------------------------

std::uint64_t histogram::count() const noexcept {
  std::uint64_t result = 0;
  for_each([&](position, std::uint64_t n) { result += n; });
  return result;
}

std::chrono::nanoseconds histogram::max() const noexcept {
  return std::chrono::nanoseconds{max_.load(std::memory_order_acquire)};
}

std::chrono::nanoseconds histogram::sum() const noexcept {
  return std::chrono::nanoseconds{sum_.load(std::memory_order_acquire)};
}

std::chrono::nanoseconds histogram::mean() const noexcept {
  auto n = count();
  if (n == 0)
    return std::chrono::nanoseconds{0};
  auto total = sum();
  if (total.count() < most_ns)
    return total / static_cast<std::int64_t>(n);
  return std::chrono::nanoseconds{
      static_cast<std::int64_t>(sum_of_middles() / static_cast<double>(n))};
}

double histogram::sum_of_middles() const noexcept {
  double result = 0;
  for_each([&](position at, std::uint64_t n) {
    result += static_cast<double>(n) * static_cast<double>(middle(at).count());
  });
  return result;
}

double histogram::squared_variation() const noexcept {
  auto n = static_cast<double>(count());
  auto mean = sum_of_middles() / n;
  if (!(mean > 0))
    return 0;
  double squares = 0;
  for_each([&](position at, std::uint64_t x) {
    auto off = static_cast<double>(middle(at).count()) / mean - 1;
    squares += static_cast<double>(x) * off * off;
  });
  return squares / n;
}

std::chrono::nanoseconds histogram::quantile(double q) const noexcept {
  auto n = count();
  if (n == 0)
    return std::chrono::nanoseconds{0};
  auto wanted = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(n));
  auto rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wanted));
  // Whoever recorded meanwhile has made the sums larger, never smaller.
  std::uint64_t seen = 0;
  auto result = max();
  for_each([&](position at, std::uint64_t x) {
    if (seen < rank && seen + x >= rank)
      result = std::min(result, middle(at));
    seen += x;
  });
  return result;
}

std::uint64_t
histogram::count_up_to(std::chrono::nanoseconds value) const noexcept {
  std::uint64_t result = 0;
  for_each([&](position at, std::uint64_t n) {
    if (value >= limit
        || (value.count() >= 0
            && highest(at) <= static_cast<std::uint64_t>(value.count())))
      result += n;
  });
  return result;
}

} // namespace troupe
