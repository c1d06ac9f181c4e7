// Runs a program of tests/support and hears what it prints and how it ends, for
// what can only be seen from outside of a process.

#pragma once

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>

#include <sys/wait.h>

namespace test {

/// What became of a program.
struct child_result {
  /// Its exit status; 128 and the signal if one ended it.
  int status = 0;

  /// What it wrote to stdout and stderr.
  std::string output;
};

/// Runs `command` in a shell and waits for its end.
inline child_result run_child(const std::string& command) {
  // The shell becomes the program, so that its status and signals are those of
  // the program.
  auto pipe = ::popen(("exec " + command + " 2>&1").c_str(), "r");
  if (pipe == nullptr)
    throw std::runtime_error{"cannot run " + command};
  child_result result;
  std::array<char, 4096> buffer;
  while (auto got = std::fread(buffer.data(), 1, buffer.size(), pipe))
    result.output.append(buffer.data(), got);
  auto status = ::pclose(pipe);
  result.status =
      WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}

} // namespace test
