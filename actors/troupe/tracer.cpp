#include "troupe/tracer.hpp"

#include <pthread.h>

#include <chrono>
#include <csignal>
#include <system_error>

#include <fmt/format.h>

#include "troupe/caf_compat.hpp"
#include "troupe/log.hpp"
#include "troupe/trace.hpp"

namespace troupe {

namespace {

// How much of a trace a process may lose that is killed.
constexpr auto interval = std::chrono::milliseconds{100};

} // namespace

tracer::tracer(const std::string& path) {
  trace::open(path);
  try {
    thread_ = std::thread{[this] { loop(); }};
  } catch (const std::system_error& err) {
    trace::close();
    compat::throw_no_thread("the trace", err.what());
  }
}

tracer::~tracer() {
  {
    std::lock_guard guard{mutex_};
    over_ = true;
  }
  changed_.notify_one();
  thread_.join();
  auto left_out = trace::left_out();
  trace::close();
  if (left_out > 0)
    write_log(log_level::warning, {},
              fmt::format("the trace lacks {} events: there were too many at "
                          "once, or the disk was full",
                          left_out));
}

void tracer::loop() {
  // Signals are for the threads that wait for them.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  pthread_setname_np(pthread_self(), "troupe-trace");
  std::unique_lock guard{mutex_};
  while (!changed_.wait_for(guard, interval, [this] { return over_; }))
    trace::flush();
}

} // namespace troupe
