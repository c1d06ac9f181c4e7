#include "troupe/worker_record.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <new>

#include <fcntl.h>
#include <unistd.h>

namespace troupe {

namespace {

// Asking what a thread has computed takes four system calls, as much CPU as a
// call that blocks takes by itself. So samples are as far apart, and pieces of
// a long stay as long, as all is together that is known of a label: soon enough
// for one of which little is known, and hundreds in a minute at the least.
constexpr std::chrono::nanoseconds first_gap = std::chrono::milliseconds{2};
constexpr std::chrono::nanoseconds longest_gap = std::chrono::milliseconds{256};

// That holds for so many workers; more take no more samples together.
constexpr std::uint32_t enough_workers = 8;

std::int64_t ticks(worker_record::time_point when) noexcept {
  return when.time_since_epoch().count();
}

// There is one writer.
void add(std::atomic<std::int64_t>& to, std::int64_t n) noexcept {
  to.store(to.load(std::memory_order_relaxed) + n, std::memory_order_release);
}

} // namespace

std::chrono::nanoseconds thread_cpu_time() noexcept {
  timespec spent{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return std::chrono::seconds{spent.tv_sec}
         + std::chrono::nanoseconds{spent.tv_nsec};
}

namespace {

// What the scheduler knows of a thread: nanoseconds that it ran, as of its last
// tick, and nanoseconds that it was ready to run and did not. Not kept open,
// since workers are many.
std::chrono::nanoseconds time_without_core(const char* schedstat) noexcept {
  std::chrono::nanoseconds waited{0};
  auto fd = ::open(schedstat, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    char text[96] = {};
    auto size = ::read(fd, text, sizeof(text) - 1);
    ::close(fd);
    char* rest = text;
    std::strtoll(text, &rest, 10);
    if (size > 0)
      waited = std::chrono::nanoseconds{std::strtoll(rest, nullptr, 10)};
  }
  return waited;
}

} // namespace

std::chrono::nanoseconds thread_cpu_demand() noexcept {
  return thread_cpu_time() + time_without_core("/proc/thread-self/schedstat");
}

std::optional<std::chrono::nanoseconds>
thread_cpu_demand(std::uint64_t thread) noexcept {
  // How Linux numbers the clock of a thread that is not the calling one.
  constexpr clockid_t of_thread = 6;
  auto clock = (~static_cast<clockid_t>(thread) << 3) | of_thread;
  timespec spent{};
  if (clock_gettime(clock, &spent) != 0)
    return std::nullopt;
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/self/task/%llu/schedstat",
                static_cast<unsigned long long>(thread));
  return std::chrono::seconds{spent.tv_sec}
         + std::chrono::nanoseconds{spent.tv_nsec} + time_without_core(path);
}

worker_record::worker_record() noexcept : gap_{first_gap} {}

worker_record::~worker_record() {
  for (auto& x : labels_)
    delete x.load(std::memory_order_relaxed);
}

// -- the worker's side --------------------------------------------------------

void worker_record::begin(time_point now, std::uint32_t workers) noexcept {
  shared_by_ = std::max(1u, workers / enough_workers);
  mark_.store(ticks(now), std::memory_order_release);
  if (now >= next_sample_) {
    next_sample_ = now + gap_;
    begin_sample(now, thread_cpu_demand());
  }
}

bool worker_record::advance(std::uint8_t label, time_point now) noexcept {
  time_point from{
      std::chrono::nanoseconds{mark_.load(std::memory_order_relaxed)}};
  lately_.add(from, now);
  add(busy_, (now - from).count());
  mark_.store(ticks(now), std::memory_order_release);
  if (!sampling_ || now - sample_begin_ < gap_)
    return false;
  begin_sample(now, end_sample(label, now));
  return true;
}

bool worker_record::end(std::uint8_t label, time_point now) noexcept {
  advance(label, now);
  mark_.store(0, std::memory_order_release);
  if (sampling_) {
    end_sample(label, now);
    sampling_ = false;
    return true;
  }
  return false;
}

void worker_record::returned(std::uint8_t label, std::chrono::nanoseconds each,
                             std::uint32_t n) noexcept {
  count_returned(n);
  if (auto record = ensure(label))
    record->ran.record(each, n);
}

void worker_record::started(std::uint8_t label, std::chrono::nanoseconds waited,
                            std::uint32_t n) noexcept {
  if (auto record = ensure(label))
    record->waited.record(waited, n);
}

// -- everybody's side ---------------------------------------------------------

// What is added up when the worker goes on, and what it does now, as of one
// moment: a worker that went on while we read would count twice, or not at all.
template <class Read>
std::chrono::nanoseconds
worker_record::with_running(Read read, time_point begin,
                            time_point now) const noexcept {
  std::chrono::nanoseconds result{0};
  // One that goes on all the time has little time on its hands that could be
  // counted wrongly.
  for (auto attempt = 0; attempt < 3; ++attempt) {
    auto from = since();
    result = read();
    if (from != time_point{})
      result +=
          std::max(std::chrono::nanoseconds{0}, now - std::max(from, begin));
    if (from == since())
      break;
  }
  return result;
}

std::chrono::nanoseconds
worker_record::busy_time(time_point now) const noexcept {
  return with_running(
      [this] {
        return std::chrono::nanoseconds{busy_.load(std::memory_order_acquire)};
      },
      time_point{}, now);
}

std::chrono::nanoseconds
worker_record::busy_since(time_point begin, time_point now) const noexcept {
  return with_running([&] { return lately_.since(begin); }, begin, now);
}

// -- private ------------------------------------------------------------------

worker_record::of_label* worker_record::ensure(std::uint8_t label) noexcept {
  auto found = labels_[label].load(std::memory_order_relaxed);
  if (found == nullptr) {
    found = new (std::nothrow) of_label;
    labels_[label].store(found, std::memory_order_release);
  }
  return found;
}

void worker_record::begin_sample(time_point now,
                                 std::chrono::nanoseconds demand) noexcept {
  sampling_ = true;
  sample_begin_ = now;
  sample_demand_ = demand;
}

// Returns what the thread has computed, or would have, up to now.
std::chrono::nanoseconds worker_record::end_sample(std::uint8_t label,
                                                   time_point now) noexcept {
  auto demand = thread_cpu_demand();
  auto record = ensure(label);
  if (record == nullptr)
    return demand;
  // The clocks are read one after the other, and tick differently.
  auto wall = now - sample_begin_;
  auto computed = std::min(wall, demand - sample_demand_);
  add(record->computed, computed.count());
  add(record->sampled, wall.count());
  gap_ = std::clamp(std::chrono::nanoseconds{record->sampled.load()}, first_gap,
                    longest_gap)
         * shared_by_;
  next_sample_ = std::min(next_sample_, now + gap_);
  return demand;
}

} // namespace troupe
