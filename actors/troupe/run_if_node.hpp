// The first statement of a program that serves as its own node: the process
// that offers the worker processes of its machine to a pool on another one.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "troupe/procedure.hpp"

namespace troupe {

/// Runs as a node, or as a worker process of one, if the arguments say so; else
/// returns at once.
///
/// Shape:  `if (auto status = troupe::run_if_node(argc, argv, procedures))
///         return *status;` opens `main`, before threads are started, in place
///         of `run_if_worker`. The program is a node if its first argument is
///         `--troupe-node`; behind it stands what troupe-node takes, such as
///         `--connect HOST:PORT --processes 8`.
/// Errors: returns 2, and tells why on standard error, for bad input.
std::optional<int> run_if_node(int argc, char** argv, const procedures& known);

/// Runs as a node until SIGTERM or SIGINT, with these arguments. The first one
/// drains: it takes no more calls, finishes what runs, and leaves; the second
/// one leaves at once.
///
/// `program` is how lines on standard error begin; `worker_arguments` is what
/// its worker processes, which are this program, get besides.
/// Returns the exit status: 0 after a signal; 2, before anything was started,
/// for bad input; with `--once`, 1 when the pool cannot be reached or is lost,
/// and 0 when it lets the node go.
int run_node(const std::string& program, const std::vector<std::string>& args,
             const procedures& known,
             const std::vector<std::string>& worker_arguments = {});

} // namespace troupe
