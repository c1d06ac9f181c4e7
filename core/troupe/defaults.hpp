// Each number that a pool falls back to, and the bounds of what it accepts,
// with unit and origin. Anybody may read them; options.hpp applies them.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <thread>

namespace troupe::defaults {

/// Returns the most workers of a pool: min(32, cores + 4), as Python's
/// `ThreadPoolExecutor` has it, which keeps a many-core machine from starting
/// hundreds of threads unasked.
inline std::size_t workers() noexcept {
  // 0 stands for an unknown number of cores.
  std::size_t cores = std::max(std::thread::hardware_concurrency(), 1u);
  return std::min<std::size_t>(32, cores + 4);
}

/// Returns the most workers that a pool gives itself with `workers = auto`: 16
/// for each core, so that calls which wait for fifteen sixteenths of their time
/// still use all cores; at least 64, since most calls to elsewhere wait for
/// longer, and as many connections are what a database or a server mostly
/// grants one client; at most 512, where tokio has its limit. Whoever knows a
/// service that takes more, or less, says so.
inline std::size_t automatic_limit() noexcept {
  std::size_t cores = std::max(std::thread::hardware_concurrency(), 1u);
  return std::clamp<std::size_t>(16 * cores, 64, 512);
}

/// Workers kept when idle.
inline constexpr std::size_t min_workers = 0;

/// How long a worker above the minimum stays idle before it ends. A guess.
inline constexpr std::chrono::nanoseconds idle_timeout =
    std::chrono::seconds{10};

/// Submissions admitted and not yet started; a whole map counts as one. A
/// guess, far above what a healthy program has waiting.
inline constexpr std::size_t max_queued = 1'000'000;

/// How long an idle worker looks for the next batch before it sleeps. Spinning
/// is for those who ask for it: it spends a core to save a wake-up.
inline constexpr std::chrono::nanoseconds spin{0};

/// How long a shutdown waits for running requests. A guess.
inline constexpr std::chrono::nanoseconds drain_timeout =
    std::chrono::seconds{30};

/// How long a request may run before its worker counts as stuck; 0: for ever. A
/// call that takes long is no mistake unless its author says so.
inline constexpr std::chrono::nanoseconds max_run_time{0};

/// How many workers beyond `workers` may stand in for stuck ones. A guess.
inline constexpr std::size_t max_spares = 2;

/// Bytes of stack that a worker has at the least; 0: what the system gives to
/// every thread, mostly 8 MiB.
inline constexpr std::size_t stack_size = 0;

/// How long a pool waits before it tries again to start a worker, after the
/// system has refused the thread or the worker's start hook has failed; then
/// twice as long each time, up to the second value. Guesses: short enough for
/// a limit that was hit by chance, long enough not to be felt.
inline constexpr std::chrono::nanoseconds first_restart =
    std::chrono::milliseconds{100};
inline constexpr std::chrono::nanoseconds last_restart =
    std::chrono::seconds{10};

/// A worker that waits for a request of its own pool runs it inside the one
/// that waits, as long as this part of its stack is left, one half: the
/// innermost request needs some, too. A guess.
inline constexpr std::size_t nesting_share = 2;

// -- bounds -------------------------------------------------------------------

/// The most workers that may be asked for. Linux allows fewer threads than this
/// in most setups; a larger number is a slip of the finger.
inline constexpr std::size_t workers_limit = 65'536;

/// The most submissions that may be asked for: more than memory can hold.
inline constexpr std::size_t max_queued_limit = 1'000'000'000'000;

/// The largest stack that may be asked for: 1 GiB. More is a slip of the
/// finger.
inline constexpr std::size_t stack_size_limit = 1'073'741'824;

/// The longest duration that may be asked for: a year. Added to any time of day
/// it stays far from the end of the clock.
inline constexpr std::chrono::nanoseconds duration_limit =
    std::chrono::hours{8'760};

} // namespace troupe::defaults
