// Measuring rounds; see the header.
#include "crew.hpp"

#include "troupe/error.hpp"
#include "troupe/pool.hpp"

#include <algorithm>
#include <future>
#include <random>
#include <utility>

namespace tune {

namespace {

// More than any round gets done: a round ends by time.
constexpr std::size_t endless = 1'000'000;

// Failures that are kept with their causes.
constexpr std::size_t kept_failures = 3;

using owned_asker = std::unique_ptr<asker>;

double seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>{time}.count();
}

} // namespace

crew::crew(caf::actor_system& sys, const work& what, std::size_t most,
           std::stop_token stop)
    : sys_{sys},
      work_{what},
      stop_{std::move(stop)},
      has_failed_(what.items(), false) {
  auto copies =
      what.repeatable() ? (most + what.items() - 1) / what.items() : 1;
  for (std::size_t i = 0; i < std::max<std::size_t>(1, copies); ++i)
    for (std::size_t item = 0; item < what.items(); ++item)
      waiting_.push_back(item);
  // Lists are often sorted, and a round that sees but a part of one is to see
  // all kinds. The same order each time, so that runs can be compared.
  std::minstd_rand random{1};
  std::shuffle(waiting_.begin(), waiting_.end(), random);
}

std::optional<round> crew::run(std::size_t workers,
                               std::chrono::nanoseconds length,
                               std::optional<std::size_t> requests) {
  tally sums;
  troupe::pool_options options{.name = "tune"};
  options.workers = workers;
  options.min_workers = workers;
  options.resource =
      troupe::make_resource<owned_asker>([this] { return work_.open(); });
  troupe::pool pool{sys_, options};
  std::stop_source over;
  auto asked =
      pool.map(std::vector<char>(requests.value_or(endless)),
               [this, &sums](troupe::context& context, char&) {
                 ask(sums, context.worker(), *context.resource<owned_asker>());
               });
  // What runs sees `stop_`, not `over`: the end of a round cuts nothing off.
  auto done = std::move(asked)
                  .label(work_.elsewhere() ? "commands" : "targets")
                  .stop_with(over.get_token())
                  .as_future();
  {
    std::stop_callback end{stop_, [&over] { over.request_stop(); }};
    // A round in which nothing has begun would tell nothing.
    while (done.wait_for(length) == std::future_status::timeout && !sums.begun)
      length = std::chrono::milliseconds{1};
    over.request_stop();
  }
  try {
    done.get();
  } catch (const troupe::failure& why) {
    if (why.code() != troupe::ec::cancelled)
      throw;
  }
  stats_ = pool.stats();
  pool.shutdown().get();
  if (stop_.stop_requested())
    return std::nullopt;
  auto times = stats_.total();
  round result{.workers = workers,
               .rate = sums.rate(),
               .succeeded = sums.succeeded,
               .failed = sums.failed,
               .ran = std::move(times.ran),
               .computed = times.computed,
               .sampled = times.sampled};
  if (work_.elsewhere()) {
    result.computed = sums.elsewhere;
    result.sampled = sums.ran;
  }
  return result;
}

void crew::ask(tally& sums, int worker, asker& own) {
  sums.begun = true;
  auto item = take();
  auto begin = std::chrono::steady_clock::now();
  auto got = own.ask(item, stop_);
  auto end = std::chrono::steady_clock::now();
  std::lock_guard guard{mutex_};
  put_back(item);
  if (got.stopped)
    return;
  ++done_;
  sums.begin = std::min(sums.begin.value_or(begin), begin);
  sums.workers[worker] = end;
  sums.elsewhere += got.elsewhere;
  sums.ran += end - begin;
  if (got.ok()) {
    ++sums.succeeded;
  } else {
    ++sums.failed;
    note(item, got.error);
  }
}

double crew::tally::rate() const {
  std::chrono::nanoseconds worked{0};
  for (const auto& [worker, end] : workers)
    worked += end - *begin;
  if (worked.count() <= 0)
    return 0;
  return static_cast<double>(workers.size()) * static_cast<double>(succeeded)
         / seconds(worked);
}

std::size_t crew::take() {
  std::lock_guard guard{mutex_};
  auto result = waiting_.front();
  waiting_.pop_front();
  return result;
}

void crew::put_back(std::size_t item) {
  waiting_.push_back(item);
}

void crew::note(std::size_t item, const std::string& error) {
  ++failures_.requests;
  if (has_failed_[item])
    return;
  has_failed_[item] = true;
  ++failures_.items;
  if (failures_.first.size() < kept_failures)
    failures_.first.push_back({work_.name(item), error});
}

parts::progress crew::look() const {
  std::lock_guard guard{mutex_};
  return {.done = done_, .failed = failures_.requests, .part = {}};
}

failures crew::failed() const {
  std::lock_guard guard{mutex_};
  return failures_;
}

} // namespace tune
