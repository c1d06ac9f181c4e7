// A mutex for what takes a fraction of a microsecond, and is wanted by many
// threads as often. Who finds it taken looks again for as long as that may take
// before it sleeps: to sleep and to be woken costs a hundred times as much.

#pragma once

#include <pthread.h>

#ifndef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
#  include <mutex>
#endif

namespace troupe {

#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP

/// Source: the adaptive mutex of the GNU C library.
class short_mutex {
public:
  short_mutex() = default;
  short_mutex(const short_mutex&) = delete;
  short_mutex& operator=(const short_mutex&) = delete;
  ~short_mutex() { pthread_mutex_destroy(&native_); }

  // This kind never fails: it neither counts nor knows its owner.
  void lock() noexcept { pthread_mutex_lock(&native_); }

  bool try_lock() noexcept { return pthread_mutex_trylock(&native_) == 0; }

  void unlock() noexcept { pthread_mutex_unlock(&native_); }

private:
  pthread_mutex_t native_ = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
};

#else

using short_mutex = std::mutex;

#endif

} // namespace troupe
