// Writes the trace of this process while it goes on: the thread that trace.hpp
// does without, since whoever adds to a trace should not wait for a disk.

#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace troupe {

/// A trace in a file, from construction to destruction. What `--troupe.trace`
/// starts; for programs that do not use `config`.
class tracer {
public:
  /// Begins the trace.
  ///
  /// Errors: throws what `trace::open` throws.
  explicit tracer(const std::string& path);

  tracer(const tracer&) = delete;

  tracer& operator=(const tracer&) = delete;

  /// Writes what is pending and ends the trace. Says in the log if events had
  /// to be left out.
  ~tracer();

private:
  void loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

} // namespace troupe
