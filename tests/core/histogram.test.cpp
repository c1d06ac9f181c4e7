// How close the quantiles of a histogram are to exact ones, and what it does
// with values that are out of its range.

#include "troupe/histogram.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

using std::chrono::nanoseconds;
using troupe::histogram;

namespace {

std::int64_t exact_quantile(std::vector<std::int64_t> values, double q) {
  std::sort(values.begin(), values.end());
  auto rank = std::ceil(q * static_cast<double>(values.size()));
  return values[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

histogram of(const std::vector<std::int64_t>& values) {
  histogram result;
  for (auto x : values)
    result.record(nanoseconds{x});
  return result;
}

// From a nanosecond to ten days, as many in each power of ten.
std::vector<std::int64_t> spread(std::size_t n, unsigned seed) {
  std::mt19937_64 random{seed};
  std::uniform_real_distribution<> exponent{
      0, std::log10(static_cast<double>(histogram::limit.count()))};
  std::vector<std::int64_t> result(n);
  for (auto& x : result)
    x = static_cast<std::int64_t>(std::pow(10.0, exponent(random)));
  return result;
}

std::vector<std::int64_t> exponential(std::size_t n, double mean,
                                      unsigned seed) {
  std::mt19937_64 random{seed};
  std::exponential_distribution<> wait{1 / mean};
  std::vector<std::int64_t> result(n);
  for (auto& x : result)
    x = static_cast<std::int64_t>(wait(random));
  return result;
}

bool same(const histogram& a, const histogram& b) {
  auto equal = a.count() == b.count() && a.sum() == b.sum()
               && a.max() == b.max() && a.clamped() == b.clamped();
  for (auto q = 0.0; q <= 1.0; q += 1.0 / 64)
    equal = equal && a.quantile(q) == b.quantile(q);
  return equal;
}

} // namespace

TEST_CASE("a histogram of nothing has no quantiles, no mean and no maximum",
          "[histogram]") {
  histogram none;
  CHECK(none.count() == 0);
  CHECK(none.max() == nanoseconds{0});
  CHECK(none.mean() == nanoseconds{0});
  CHECK(none.quantile(0.5) == nanoseconds{0});
  CHECK(none.squared_variation() == 0);
  CHECK(none.count_up_to(histogram::limit) == 0);
}

TEST_CASE("every single value is reported to within one percent",
          "[histogram]") {
  for (auto value : spread(20'000, 7)) {
    histogram one;
    one.record(nanoseconds{value});
    // The maximum would hide what the bucket says.
    one.record(histogram::limit);
    auto seen = static_cast<double>(one.quantile(0.5).count());
    auto off = std::abs(seen - static_cast<double>(value))
               / static_cast<double>(value);
    if (off > histogram::error)
      FAIL("of " << value << " was made " << seen);
  }
  CHECK(histogram::error <= 0.01);
}

TEST_CASE("quantiles are within one percent of the exact ones", "[histogram]") {
  auto inputs = std::vector{spread(50'000, 1), exponential(50'000, 3e6, 2),
                            exponential(997, 40, 3),
                            std::vector<std::int64_t>{5, 1'000'000'007}};
  for (const auto& values : inputs) {
    auto seen = of(values);
    CHECK(seen.count() == values.size());
    CHECK(seen.max().count()
          == *std::max_element(values.begin(), values.end()));
    for (auto q : {0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0}) {
      auto exact = static_cast<double>(exact_quantile(values, q));
      auto found = static_cast<double>(seen.quantile(q).count());
      INFO("quantile " << q << " is " << exact << ", reported as " << found);
      CHECK(std::abs(found - exact) <= 0.01 * exact);
    }
  }
}

TEST_CASE("a merged histogram is that of the union", "[histogram]") {
  auto a = spread(10'000, 4);
  auto b = exponential(10'000, 2e5, 5);
  auto both = a;
  both.insert(both.end(), b.begin(), b.end());
  auto merged = of(a);
  merged.merge(of(b));
  CHECK(same(merged, of(both)));
  merged.merge(histogram{});
  CHECK(same(merged, of(both)));
  CHECK_FALSE(same(merged, of(a)));
}

TEST_CASE("merging in any order gives the same", "[histogram]") {
  std::vector<histogram> parts;
  for (unsigned i = 0; i < 5; ++i)
    parts.push_back(of(spread(1'000, i)));
  histogram forth;
  histogram back;
  for (const auto& x : parts)
    forth.merge(x);
  std::for_each(parts.rbegin(), parts.rend(),
                [&](const histogram& x) { back.merge(x); });
  CHECK(same(forth, back));
}

TEST_CASE("a value recorded n times counts n times", "[histogram]") {
  histogram at_once;
  at_once.record(nanoseconds{1'234}, 1'000);
  at_once.record(nanoseconds{99}, 0);
  histogram singly;
  for (int i = 0; i < 1'000; ++i)
    singly.record(nanoseconds{1'234});
  CHECK(same(at_once, singly));
}

TEST_CASE("more than ten days counts as ten days, and is counted",
          "[histogram]") {
  histogram seen;
  seen.record(histogram::limit);
  CHECK(seen.clamped() == 0);
  seen.record(histogram::limit + nanoseconds{1}, 2);
  seen.record(nanoseconds::max());
  CHECK(seen.clamped() == 3);
  CHECK(seen.count() == 4);
  CHECK(seen.max() == histogram::limit);
  CHECK(seen.quantile(0.9) <= histogram::limit);
}

TEST_CASE("a sum of more than 292 years stays there", "[histogram]") {
  histogram seen;
  seen.record(histogram::limit, 1'000'000);
  seen.record(histogram::limit, 1'000'000);
  CHECK(seen.sum() == nanoseconds::max());
  CHECK(static_cast<double>(seen.mean().count())
        == Approx(static_cast<double>(histogram::limit.count()))
               .epsilon(histogram::error));
  histogram twice{seen};
  twice.merge(seen);
  CHECK(twice.sum() == nanoseconds::max());
}

TEST_CASE("a negative duration counts as none", "[histogram]") {
  histogram seen;
  seen.record(nanoseconds{-5});
  CHECK(seen.count() == 1);
  CHECK(seen.max() == nanoseconds{0});
  CHECK(seen.sum() == nanoseconds{0});
}

TEST_CASE("mean and variation are those of the values", "[histogram]") {
  auto values = exponential(100'000, 5e6, 6);
  auto seen = of(values);
  double sum = 0;
  for (auto x : values)
    sum += static_cast<double>(x);
  CHECK(static_cast<double>(seen.sum().count()) == sum);
  CHECK(static_cast<double>(seen.mean().count())
        == Approx(sum / 100'000).epsilon(0.0001));
  CHECK(seen.squared_variation() == Approx(1).epsilon(0.02));
  histogram alike;
  alike.record(nanoseconds{5'000'000}, 1'000);
  CHECK(alike.squared_variation() == 0);
}

TEST_CASE("how many are up to a bound is exact where a bucket ends",
          "[histogram]") {
  histogram seen;
  for (int i = 1; i <= 1'024; ++i)
    seen.record(nanoseconds{i});
  CHECK(seen.count_up_to(nanoseconds{-1}) == 0);
  CHECK(seen.count_up_to(nanoseconds{0}) == 0);
  CHECK(seen.count_up_to(nanoseconds{100}) == 100);
  CHECK(seen.count_up_to(nanoseconds{1'023}) == 1'023);
  CHECK(seen.count_up_to(histogram::limit) == 1'024);
  CHECK(seen.count_up_to(nanoseconds::max()) == 1'024);
  // Within a bucket: none of it.
  CHECK(seen.count_up_to(nanoseconds{1'000}) == 999);
}

TEST_CASE("what came since an earlier copy is a histogram of its own",
          "[histogram]") {
  auto first = spread(1'000, 8);
  auto then = exponential(1'000, 1e6, 9);
  auto seen = of(first);
  auto earlier = seen;
  CHECK(seen.since(earlier).count() == 0);
  CHECK(seen.since(earlier).quantile(0.5) == nanoseconds{0});
  for (auto x : then)
    seen.record(nanoseconds{x});
  auto between = seen.since(earlier);
  auto alone = of(then);
  CHECK(between.count() == alone.count());
  CHECK(between.sum() == alone.sum());
  CHECK(between.quantile(0.5) == alone.quantile(0.5));
  CHECK(between.quantile(0.99) == alone.quantile(0.99));
  CHECK(static_cast<double>(between.max().count())
        == Approx(static_cast<double>(alone.max().count())).epsilon(0.02));
}

TEST_CASE("a histogram that moves away is empty", "[histogram]") {
  auto seen = of({1, 2, 3});
  auto taken = std::move(seen);
  CHECK(taken.count() == 3);
  seen = histogram{}; // NOLINT: assigned before it is read
  CHECK(seen.count() == 0);
  seen = taken;
  CHECK(same(seen, taken));
}

// Failure is a data race that a sanitizer sees, or a count that goes back.
TEST_CASE("a histogram can be copied while another thread records",
          "[histogram]") {
  histogram shared;
  std::atomic<bool> over{false};
  std::thread writer{[&] {
    for (auto x : spread(20'000, 10))
      shared.record(nanoseconds{x});
    over = true;
  }};
  std::uint64_t before = 0;
  auto sane = true;
  while (!over) {
    histogram copy{shared};
    auto n = copy.count();
    sane = sane && n >= before && copy.quantile(1.0) <= copy.max();
    before = n;
  }
  writer.join();
  CHECK(sane);
  CHECK(histogram{shared}.count() == 20'000);
}
