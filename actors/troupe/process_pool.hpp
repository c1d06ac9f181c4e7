// A pool whose calls of procedures are made in worker processes: a crash there
// costs one request, and a call that takes too long really ends. Everything
// else is as with any pool, since each process belongs to a worker, to which a
// call over there is one more call that blocks.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "troupe/pool.hpp"
#include "troupe/procedure.hpp"
#include "troupe/process_keeper.hpp"
#include "troupe/remote_failure.hpp"

namespace troupe {

class process_host;

/// What can be set about a process pool in code. What is left out comes from
/// the configuration, as with any pool, or is as said here.
struct process_options {
  /// Names the pool, and its keys: `troupe.pools.NAME.*`.
  std::string name = "processes";

  /// How many processes: from 1; none: as many as there are cores, unless
  /// `workers` is configured for this pool. Not `automatic`.
  std::optional<std::size_t> processes = {};

  /// A call that runs longer fails with `ec::deadline_exceeded`, and its
  /// process is ended; 0: any time; none: `max-run-time` of the configuration.
  /// Measured from when the process is given the call.
  std::optional<std::chrono::nanoseconds> max_run_time = {};

  /// After this many calls a process is replaced by a fresh one; 0: never.
  std::uint64_t max_requests_per_worker = 0;

  /// The most bytes of arguments, or of a result, encoded: from 1 to 4 GiB - 1,
  /// which is all that CAF's serializers can count.
  std::uint64_t max_message = std::uint64_t{1} << 30;

  /// How long a process has to end after SIGTERM, before SIGKILL. A guess.
  std::chrono::nanoseconds kill_grace = std::chrono::milliseconds{200};

  /// How long a process may take until it takes calls: from 1ms. A guess: a
  /// hundred times what it needs.
  std::chrono::nanoseconds start_timeout = std::chrono::seconds{10};

  /// The most requests of a `map` that travel in one message, if they are tiny:
  /// from 1 to 1,000,000; 1: each by itself. How many do is found out; those
  /// that have not begun are not lost with their process, nor held up for more
  /// than about a millisecond by a slow one before them.
  std::uint32_t max_together = 1024;

  /// A request that is tried again is not run any more once it has ended so
  /// many processes: from 1.
  unsigned max_lost = 2;

  /// What is started; empty: this program. Another program must call
  /// `run_if_worker`, too; `troupe-worker` does, with `--load LIBRARY`.
  std::string program = {};

  /// What it is given, behind one argument that makes it a worker.
  std::vector<std::string> arguments = {};

  /// How errors call who has the processes; empty: the pool, by its name.
  std::string owner = {};

  /// Gets each line that a process prints, on a thread of its own; must be
  /// short and not throw. None: to this program's outputs, with a prefix.
  std::function<void(const process_line&)> on_output = {};

  /// As in `pool_options`.
  std::optional<std::size_t> max_queued = {};
  std::optional<troupe::on_full> on_full = {};
  std::optional<std::chrono::nanoseconds> spin = {};
  std::optional<std::chrono::nanoseconds> drain_timeout = {};
  std::shared_ptr<troupe::clock> clock = {};
};

/// A worker process at one moment.
struct process_info {
  int pid;
  /// The name of its worker, such as "processes-3".
  std::string worker;
  /// Whether it has said that it takes calls.
  bool ready;
  /// How many calls it has answered.
  std::uint64_t answered;
};

/// The worker processes of a pool at one moment, and what was counted since the
/// pool began.
struct process_stats {
  std::vector<process_info> processes;
  std::uint64_t started = 0;
  /// Ended by themselves: crashed, exited, or killed by somebody.
  std::uint64_t lost = 0;
  /// Ended by the pool: to stop a call, for misbehaving, or because they did
  /// not take calls within `start_timeout`.
  std::uint64_t ended = 0;
  /// Replaced after `max_requests_per_worker`.
  std::uint64_t recycled = 0;
};

/// A pool of worker processes.
///
/// Shape:  `call`, and `map` with a procedure, run in a process, one request at
///         a time in each; `run` with any other function runs in this program.
///         Copies to `pool` share it.
/// Errors: besides those of `call`: `worker_lost`, if the process ended while
///         it ran the request; the text says by which signal. The request runs
///         at most once, unless its procedure is `idempotent` or it has
///         `.retry`. `remote_failure` for what the function threw.
///         `deadline_exceeded` after `max_run_time`. `too_large`.
/// Time:   where an operation is cancelled, or its deadline passes, a running
///         call is ended with its process. Processes are gone within 100 ms of
///         this program's end, however it ends; and with a process all of its
///         process group. What has begun a group or a session of its own over
///         there (setsid, daemons) goes on.
/// Limits: a program that ignores SIGCHLD, or waits for any child (waitpid(-1),
///         wait()), takes away how processes end: failures cannot name the
///         signal then, and say why.
/// Source: concurrent.futures.ProcessPoolExecutor, which breaks as a whole when
///         one process ends.
class process_pool : public pool {
public:
  /// Starts the processes. `known` are the procedures of this program, that its
  /// `main` gives to `run_if_worker`.
  ///
  /// Errors: throws `failure` with `ec::invalid_option`; then nothing was
  ///         started.
  process_pool(caf::actor_system& system, const procedures& known,
               const process_options& options = {});

  /// Returns what there is to know about the processes. Does not block.
  process_stats processes() const;

private:
  process_pool(caf::actor_system& system, std::shared_ptr<process_host> host);

  std::shared_ptr<process_host> host_;
};

} // namespace troupe
