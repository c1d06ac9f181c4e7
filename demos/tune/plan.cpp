// Medians, knees and next steps; see the header.
#include "plan.hpp"

#include <algorithm>
#include <utility>

namespace tune {

namespace {

// Guesses: a hundred times what it takes to start some workers, and long enough
// for any rate to be known well.
constexpr std::chrono::nanoseconds shortest = std::chrono::milliseconds{50};
constexpr std::chrono::nanoseconds longest = std::chrono::seconds{3};

// Of the time; the rest is for starting and ending pools, and for requests that
// are under way when a round is over.
constexpr double used_share = 0.85;

} // namespace

void measured::add(const round& done) {
  rates.push_back(done.rate);
  succeeded += done.succeeded;
  failed += done.failed;
  times.ran.merge(done.ran);
  times.computed += done.computed;
  times.sampled += done.sampled;
}

double measured::rate() const {
  return median(rates);
}

double measured::failed_share() const noexcept {
  auto all = succeeded + failed;
  return all == 0 ? 0 : static_cast<double>(failed) / static_cast<double>(all);
}

double median(std::vector<double> values) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  auto middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle]
                                : (values[middle - 1] + values[middle]) / 2;
}

// -- the knee -----------------------------------------------------------------

bool is_candidate(const measured& row, std::span<const measured> rows) {
  auto least = 1.0;
  for (const auto& other : rows)
    if (!other.rates.empty())
      least = std::min(least, other.failed_share());
  return row.succeeded > 0 && row.failed_share() <= least + tolerated_failures;
}

std::optional<knee> find_knee(std::span<const measured> rows, double within) {
  std::optional<knee> result;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (is_candidate(rows[i], rows)
        && (!result || rows[i].rate() > rows[result->best].rate()))
      result = {i, i};
  if (!result)
    return result;
  auto enough = rows[result->best].rate() * (1 - within);
  for (std::size_t i = 0; i < result->best; ++i)
    if (is_candidate(rows[i], rows) && rows[i].rate() >= enough) {
      result->at = i;
      break;
    }
  return result;
}

bool still_rises(std::span<const measured> rows, const knee& found) {
  return rows.size() > 1 && found.at + 1 == rows.size();
}

// -- what comes next ----------------------------------------------------------

bool past_the_best(std::span<const measured> rows) {
  if (rows.size() < 3)
    return false;
  auto best = 0.0;
  for (const auto& row : rows.first(rows.size() - 2))
    best = std::max(best, row.rate());
  return std::all_of(rows.end() - 2, rows.end(), [best](const measured& row) {
    return row.rate() <= best * (1 + least_gain);
  });
}

std::vector<std::size_t> around(std::span<const std::size_t> tried,
                                std::size_t knee) {
  std::vector<std::size_t> result;
  auto add = [&](std::size_t size) {
    if (std::find(tried.begin(), tried.end(), size) == tried.end()
        && (result.empty() || result.back() != size))
      result.push_back(size);
  };
  auto at = std::find(tried.begin(), tried.end(), knee);
  if (at == tried.end())
    return result;
  if (at != tried.begin()) {
    auto below = *(at - 1);
    for (std::size_t part = 1; part < 4; ++part)
      add(below + (knee - below) * part / 4);
  }
  if (at + 1 != tried.end())
    add(knee + (*(at + 1) - knee) / 2);
  return result;
}

std::vector<std::size_t> order(std::vector<std::size_t> sizes,
                               std::size_t round) {
  if (round % 2 == 1)
    std::reverse(sizes.begin(), sizes.end());
  return sizes;
}

std::chrono::nanoseconds slice(std::chrono::nanoseconds time,
                               std::size_t rounds, std::size_t sizes) {
  auto parts = static_cast<std::chrono::nanoseconds::rep>(
      std::max<std::size_t>(1, rounds * sizes));
  return std::clamp(std::chrono::duration_cast<std::chrono::nanoseconds>(
                        time * used_share / parts),
                    shortest, longest);
}

} // namespace tune
