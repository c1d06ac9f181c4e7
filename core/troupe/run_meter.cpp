#include "troupe/run_meter.hpp"

#include "troupe/dispatcher.hpp"
#include "troupe/worker_cell.hpp"

namespace troupe {

namespace {

using std::chrono::steady_clock;

constexpr bool measured = TROUPE_STATISTICS;

// Calls that are so short are measured together; so few that it does not matter
// if the next ones are slow.
constexpr auto tiny = std::chrono::microseconds{1};
constexpr std::uint32_t most_at_once = 8;

} // namespace

run_meter::run_meter(worker_cell& cell, std::string_view label) noexcept
    : cell_{cell}, label_{cell.home().number_of(label)} {}

void run_meter::begin(bool waited) noexcept {
  // For the watchdog: the worker gets on.
  cell_.count_claim();
  if (measured && (waited || mark_ == steady_clock::time_point{}))
    mark_ = steady_clock::now();
}

void run_meter::end() noexcept {
  ++unmeasured_;
  if (unmeasured_ >= at_once_)
    look();
}

void run_meter::look() noexcept {
  if (!measured || unmeasured_ == 0)
    return;
  auto now = steady_clock::now();
  auto each = (now - mark_) / unmeasured_;
  auto& record = cell_.record();
  record.returned(label_, each, unmeasured_);
  at_once_ = each < tiny ? most_at_once : 1;
  unmeasured_ = 0;
  mark_ = now;
  // Inside the wait of another request, it is that one's time.
  if (cell_.nests() || !record.advance(label_, now))
    return;
  if (auto seen = record.find(label_))
    cell_.home().judge(label_, *seen);
}

} // namespace troupe
