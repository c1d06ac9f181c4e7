#include "troupe/modifiers.hpp"

#include "troupe/null_function.hpp"

#include <algorithm>
#include <cmath>

namespace troupe {

namespace {

std::int64_t ticks(std::chrono::steady_clock::time_point when) noexcept {
  return when.time_since_epoch().count();
}

} // namespace

std::chrono::nanoseconds backoff_after(const retry_policy& policy,
                                       unsigned attempts,
                                       double random) noexcept {
  auto grown = static_cast<double>(policy.backoff.count())
               * std::pow(policy.factor, static_cast<double>(attempts) - 1);
  auto whole = std::min(grown, static_cast<double>(policy.max_backoff.count()));
  return std::chrono::nanoseconds{
      static_cast<std::int64_t>(whole * (1 - policy.jitter * random))};
}

// -- progress_meter -----------------------------------------------------------

progress_meter::progress_meter(std::function<void(const progress&)> fn)
    : fn_{std::move(fn)},
      next_call_{ticks(std::chrono::steady_clock::now() + interval)} {
  refuse_null(fn_, "report progress to");
}

void progress_meter::add_total(std::uint64_t parts) noexcept {
  total_.fetch_add(parts, std::memory_order_relaxed);
}

void progress_meter::add_done(std::uint64_t parts,
                              std::uint64_t failed) noexcept {
  done_.fetch_add(parts, std::memory_order_relaxed);
  failed_.fetch_add(failed, std::memory_order_relaxed);
  auto now_ticks = ticks(std::chrono::steady_clock::now());
  if (now_ticks < next_call_.load(std::memory_order_relaxed))
    return;
  if (is_calling())
    return;
  std::unique_lock guard{calling_, std::try_to_lock};
  if (!guard || finished_
      || now_ticks < next_call_.load(std::memory_order_relaxed))
    return;
  call(now());
  next_call_.store(ticks(std::chrono::steady_clock::now() + interval),
                   std::memory_order_relaxed);
}

void progress_meter::add_running(std::int64_t workers) noexcept {
  running_.fetch_add(workers, std::memory_order_relaxed);
}

void progress_meter::finish() noexcept {
  // Whoever is called ends what it is told of, perhaps.
  if (is_calling()) {
    finished_ = true;
    return;
  }
  std::lock_guard guard{calling_};
  if (std::exchange(finished_, true))
    return;
  auto last = now();
  // What was dropped before the start was never part of the total.
  last.total = std::max(last.total, last.done);
  last.failed += last.total - last.done;
  last.done = last.total;
  last.running = 0;
  call(last);
  // What the function refers to may be gone once the caller hears.
  fn_ = nullptr;
}

bool progress_meter::is_calling() const noexcept {
  return caller_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

void progress_meter::call(const progress& what) noexcept {
  caller_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  fn_(what);
  caller_.store({}, std::memory_order_relaxed);
}

progress progress_meter::now() const noexcept {
  progress result;
  result.total = total_.load(std::memory_order_relaxed);
  result.failed = failed_.load(std::memory_order_relaxed);
  result.done = done_.load(std::memory_order_relaxed);
  result.running = static_cast<std::uint64_t>(
      std::max<std::int64_t>(0, running_.load(std::memory_order_relaxed)));
  return result;
}

// -- tags ---------------------------------------------------------------------

std::string_view find_tag(const tag_list& tags, std::string_view key) noexcept {
  for (const auto& [name, value] : tags)
    if (name == key)
      return value;
  return {};
}

void set_tag(tag_list& tags, std::pair<std::string, std::string> tag,
             bool of_whole) {
  auto same = std::find_if(tags.begin(), tags.end(),
                           [&](const auto& x) { return x.first == tag.first; });
  if (same == tags.end())
    tags.insert(of_whole ? tags.end() : tags.begin(), std::move(tag));
  else if (!of_whole)
    same->second = std::move(tag.second);
}

std::string to_text(const tag_list& tags) {
  std::string text;
  for (const auto& [name, value] : tags) {
    text += text.empty() ? " (" : ", ";
    text += name;
    text += '=';
    text += value;
  }
  if (!text.empty())
    text += ')';
  return text;
}

} // namespace troupe
