#include "troupe/trace.hpp"

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <fmt/format.h>

#include "troupe/error.hpp"
#include "troupe/escape.hpp"

namespace troupe::trace {

namespace {

// What ends the file. Each write begins where it stands, and ends with it, so
// that the file is whole after each.
constexpr std::string_view tail = "\n]}\n";

// How long the span of a submit is drawn; it takes less.
constexpr auto drawn = std::chrono::microseconds{1};

struct state {
  std::mutex mutex;
  int fd = -1;
  off_t end = 0;
  time_point begin;
  std::string pending;
  std::uint64_t left_out = 0;
  std::map<std::string, int, std::less<>> lanes;
};

// Never destroyed: detached threads may have something to add while the process
// ends.
state& current() {
  static auto instance = new state;
  return *instance;
}

double microseconds(std::chrono::nanoseconds value) noexcept {
  return static_cast<double>(value.count()) / 1e3;
}

// Returns whether all of it was written.
bool write_at(int fd, off_t at, std::string_view text) noexcept {
  while (!text.empty()) {
    auto n = ::pwrite(fd, text.data(), text.size(), at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    at += n;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// The functions below are called with the mutex held.

void write_pending(state& to) noexcept {
  if (to.fd < 0 || to.pending.empty())
    return;
  try {
    auto size = to.pending.size();
    to.pending += tail;
    if (write_at(to.fd, to.end, to.pending)) {
      to.end += static_cast<off_t>(size);
    } else {
      // A full disk may have taken a part of it; what was whole stays so.
      ++to.left_out;
      static_cast<void>(write_at(to.fd, to.end, tail));
      static_cast<void>(
          ::ftruncate(to.fd, to.end + static_cast<off_t>(tail.size())));
    }
    to.pending.clear();
  } catch (...) {
    ++to.left_out;
  }
}

void add(state& to, std::string_view event) {
  if (to.pending.size() + event.size() > max_pending) {
    ++to.left_out;
    return;
  }
  to.pending += ",\n";
  to.pending += event;
}

int lane_of(state& to, std::string_view name) {
  if (auto found = to.lanes.find(name); found != to.lanes.end())
    return found->second;
  auto number = static_cast<int>(to.lanes.size()) + 1;
  to.lanes.emplace(name, number);
  add(to, fmt::format(R"({{"ph":"M","pid":1,"tid":{},"name":"thread_name",)"
                      R"("args":{{"name":{}}}}})",
                      number, json_string(name)));
  return number;
}

std::string name_of_thread() {
  char name[32] = {};
  pthread_getname_np(pthread_self(), name, sizeof(name));
  return fmt::format("thread {} {}", ::gettid(), name);
}

std::string id_of(const flow& of) {
  return fmt::format(R"("{:x}-{:x}")",
                     reinterpret_cast<std::uintptr_t>(of.batch),
                     of.submitted.time_since_epoch().count());
}

// What `name_last` said; taken by the next span of this thread.
thread_local std::string last_name;

// Adds what `write` adds, as long as there is a trace.
template <class Write>
void with_trace(Write write) noexcept {
  try {
    auto& to = current();
    std::lock_guard guard{to.mutex};
    if (to.fd < 0)
      return;
    try {
      write(to);
    } catch (...) {
      ++to.left_out;
    }
  } catch (...) {
    // A mutex that cannot be locked; there is nobody to tell.
  }
}

} // namespace

void open(const std::string& path) {
  auto& to = current();
  std::lock_guard guard{to.mutex};
  if (to.fd >= 0)
    throw failure{ec::invalid_option,
                  fmt::format("cannot write the trace '{}': there is a trace "
                              "already, and one is written at a time; end that "
                              "one first",
                              path)};
  auto fd =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  auto head = fmt::format("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
                          R"({{"ph":"M","pid":1,"name":"process_name",)"
                          R"("args":{{"name":"troupe"}}}})");
  if (fd < 0 || !write_at(fd, 0, fmt::format("{}{}", head, tail))) {
    auto why = std::strerror(errno);
    if (fd >= 0)
      ::close(fd);
    throw failure{ec::invalid_option,
                  fmt::format("cannot write the trace '{}': {} (accepted: a "
                              "file that can be written, in a folder that is "
                              "there and has room)",
                              path, why)};
  }
  to.fd = fd;
  to.end = static_cast<off_t>(head.size());
  to.begin = std::chrono::steady_clock::now();
  to.left_out = 0;
  to.lanes.clear();
  to.pending.clear();
  detail::active = true;
}

void flush() noexcept {
  with_trace([](state& to) { write_pending(to); });
}

void close() noexcept {
  with_trace([](state& to) {
    detail::active = false;
    write_pending(to);
    if (to.left_out > 0)
      add(to, fmt::format(R"({{"ph":"M","pid":1,"name":"process_labels",)"
                          R"("args":{{"labels":"{} events left out"}}}})",
                          to.left_out));
    write_pending(to);
    ::close(std::exchange(to.fd, -1));
  });
}

std::uint64_t left_out() noexcept {
  std::uint64_t result = 0;
  with_trace([&](state& to) { result = to.left_out; });
  return result;
}

// -- events -------------------------------------------------------------------

void submitted(const flow& of, std::string_view lane, std::string_view label,
               std::uint32_t requests) noexcept {
  with_trace([&](state& to) {
    auto tid = lane_of(to, lane.empty() ? name_of_thread() : lane);
    auto at = microseconds(of.submitted - to.begin);
    // An arrow begins inside of a span. A worker has one there.
    if (lane.empty())
      add(to, fmt::format(
                  R"({{"ph":"X","pid":1,"tid":{},"ts":{:.3f},"dur":{:.3f},)"
                  R"("cat":"submit","name":{},"args":{{"requests":{}}}}})",
                  tid, at, microseconds(drawn),
                  json_string(label.empty() ? "submit"
                                            : fmt::format("submit {}", label)),
                  requests));
    add(to, fmt::format(R"({{"ph":"s","pid":1,"tid":{},"ts":{:.3f},)"
                        R"("cat":"request","name":"submitted","id":{}}})",
                        tid, at, id_of(of)));
  });
}

void name_last(std::string_view label) noexcept {
  try {
    last_name = label;
  } catch (...) {
    last_name.clear();
  }
}

void ran(const flow& of, const span& what) noexcept {
  auto own = std::exchange(last_name, {});
  auto label =
      what.requests == 1 && !own.empty() ? std::string_view{own} : what.label;
  with_trace([&](state& to) {
    auto tid = lane_of(to, what.lane);
    auto at = microseconds(what.begin - to.begin);
    auto outcome = what.failed == 0               ? "succeeded"
                   : what.failed == what.requests ? "failed"
                                                  : "some failed";
    add(to,
        fmt::format(R"({{"ph":"X","pid":1,"tid":{},"ts":{:.3f},"dur":{:.3f},)"
                    R"("cat":"request","name":{},"args":{{"outcome":"{}",)"
                    R"("waited_us":{:.3f},"requests":{},"failed":{}}}}})",
                    tid, at, microseconds(what.end - what.begin),
                    json_string(label.empty() ? "request" : label), outcome,
                    microseconds(what.begin - of.submitted), what.requests,
                    what.failed));
    // A step, not an end: other workers may take a part, too.
    if (what.first)
      add(to, fmt::format(R"({{"ph":"t","pid":1,"tid":{},"ts":{:.3f},)"
                          R"("cat":"request","name":"submitted","id":{}}})",
                          tid, at, id_of(of)));
  });
}

} // namespace troupe::trace
