// The first statement of a program that serves as its own worker processes.

#pragma once

#include <optional>

#include "troupe/procedure.hpp"

namespace troupe {

/// Makes calls for a process pool, if this process was started by one; else
/// returns at once.
///
/// Shape:  `if (auto status = troupe::run_if_worker(argc, argv, procedures))
///         return *status;` opens `main`, before threads are started: a worker
///         process has no actor system, unless a procedure makes one.
/// Errors: returns 2, and tells why on standard error, if this process was
///         given the argument of a worker, and not by a pool.
std::optional<int> run_if_worker(int argc, char** argv,
                                 const procedures& known);

/// Returns whether `run_if_worker` was called in this process.
bool run_if_worker_was_called() noexcept;

} // namespace troupe
