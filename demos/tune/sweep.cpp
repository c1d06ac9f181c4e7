// Running the rounds; see the header.
#include "sweep.hpp"

#include "parts/sizes.hpp"

#include <algorithm>
#include <utility>

namespace tune {

namespace {

// The part of the time that belongs to powers of two; what they leave is for
// the sizes around the knee. A guess: there are more of the former.
constexpr double doubling_share = 0.6;

template <class Rows>
auto place_of(Rows& rows, std::size_t workers) {
  return std::lower_bound(
      rows.begin(), rows.end(), workers,
      [](const auto& row, std::size_t value) { return row.workers < value; });
}

} // namespace

sweep::sweep(settings how, measure run_round, elapsed now)
    : how_{how}, run_round_{std::move(run_round)}, now_{std::move(now)} {}

void sweep::run() {
  double_up();
  if (!interrupted_)
    look_around();
}

void sweep::double_up() {
  auto left = how_.budget - now_();
  auto share = std::chrono::duration_cast<std::chrono::nanoseconds>(
      left * doubling_share);
  auto until = now_() + share;
  auto sizes = parts::sizes_up_to(how_.most);
  auto length = slice(share, how_.rounds, sizes.size());
  // The first time up, which also finds where to end, may take all the time.
  for (auto size : sizes) {
    if (past_the_best(rows_)) {
      break;
    }
    if (!add_round(size, length, how_.budget) && interrupted_)
      return;
  }
  repeat(tried(), 1, length, until);
}

void sweep::look_around() {
  auto found = this->found();
  if (!found)
    return;
  auto sizes = around(tried(), rows_[found->at].workers);
  if (sizes.empty())
    return;
  // Its neighbours take part once more: they were measured earlier, when the
  // machine may have been another.
  auto add_neighbour = [&](std::size_t at) {
    sizes.push_back(rows_[at].workers);
  };
  if (found->at > 0)
    add_neighbour(found->at - 1);
  add_neighbour(found->at);
  if (found->at + 1 < rows_.size())
    add_neighbour(found->at + 1);
  std::sort(sizes.begin(), sizes.end());
  repeat(sizes, 0, slice(how_.budget - now_(), how_.rounds, sizes.size()),
         how_.budget);
}

void sweep::repeat(const std::vector<std::size_t>& sizes, std::size_t from,
                   std::chrono::nanoseconds length,
                   std::chrono::nanoseconds until) {
  for (auto number = from; number < how_.rounds; ++number)
    for (auto size : order(sizes, number))
      if (!add_round(size, length, until) && interrupted_)
        return;
}

bool sweep::add_round(std::size_t workers, std::chrono::nanoseconds length,
                      std::chrono::nanoseconds until) {
  // A round lasts at least as long as its longest request. How long these take
  // is known from the nearest smaller size, or from none.
  auto longest = std::chrono::nanoseconds{0};
  auto near = place_of(rows_, workers);
  if (near != rows_.begin() && (near == rows_.end() || near->workers > workers))
    --near;
  if (near != rows_.end())
    longest = near->times.ran.quantile(0.5);
  if (now_() + std::max(length, longest) > until) {
    leave_out(workers);
    return false;
  }
  auto done = run_round_(workers, length);
  if (!done) {
    interrupted_ = true;
    return false;
  }
  row(workers).add(*done);
  return true;
}

void sweep::leave_out(std::size_t workers) {
  auto at = place_of(left_out_, workers);
  if (at == left_out_.end() || at->workers != workers)
    at = left_out_.insert(at, {workers, 0});
  ++at->rounds;
}

measured& sweep::row(std::size_t workers) {
  auto at = place_of(rows_, workers);
  if (at == rows_.end() || at->workers != workers)
    at = rows_.insert(at, measured{.workers = workers});
  return *at;
}

std::vector<std::size_t> sweep::tried() const {
  std::vector<std::size_t> result;
  for (const auto& row : rows_)
    result.push_back(row.workers);
  return result;
}

} // namespace tune
