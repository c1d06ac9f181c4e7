// What a process that this one starts begins with, beside its program and its
// words. Internal: for worker_process, and for demos that run commands.

#pragma once

#include <spawn.h>
#include <sys/types.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace troupe {

/// Starts processes with an empty standard input and signals as a shell would
/// leave them, each in a process group of its own: Ctrl-C does not reach it,
/// and what it starts can be ended with it.
class spawn_settings {
public:
  /// `signals` are those that the process finds at their default, beside the
  /// ones that end a process and SIGCHLD. None is blocked.
  explicit spawn_settings(std::initializer_list<int> signals = {});

  spawn_settings(const spawn_settings&) = delete;
  spawn_settings& operator=(const spawn_settings&) = delete;

  ~spawn_settings();

  /// Has the process find `fd` as `number`.
  void place(int fd, int number);

  /// Keeps all descriptors from `number` on to this process.
  void close_from(int number);

  /// Starts the program that the first of `words` names: a path, or a name that
  /// is looked for in PATH.
  ///
  /// Returns: 0, or an error as in `errno`; then nothing was started.
  int start(pid_t& made, std::vector<std::string> words) const;

private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

} // namespace troupe
