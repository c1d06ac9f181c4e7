// Included before anything else, puts troupe's own code on the explorer:
// whatever is compiled in namespace troupe behind it means the explorer's
// atomic, mutex, clock and yield where it says std::. So the real sources run
// step by step, and say nothing of it.

#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "explorer.hpp"

// So that a short_mutex is one of these, too.
#undef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP

namespace troupe::std {

using namespace ::std;

template <class T>
using atomic = ::explore::atomic<T>;

using mutex = ::explore::mutex;

using condition_variable = ::std::condition_variable_any;

inline void atomic_thread_fence(::std::memory_order) noexcept {
  ::explore::fence();
}

namespace this_thread {

using namespace ::std::this_thread;

inline void yield(
    ::std::source_location line = ::std::source_location::current()) noexcept {
  ::explore::spin(line);
}

} // namespace this_thread

namespace chrono {

using namespace ::std::chrono;

struct steady_clock : ::std::chrono::steady_clock {
  static time_point now() noexcept { return ::explore::now(); }
};

} // namespace chrono

} // namespace troupe::std
