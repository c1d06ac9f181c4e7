// What is measured of calls that a worker makes one after the other within one
// request of its batch, such as those of a stream: as much as if each were a
// request.

#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace troupe {

class worker_cell;

/// Measures calls on the thread of their worker. Where they are tiny, one look
/// at the clock does for several.
class run_meter {
public:
  run_meter(worker_cell& cell, std::string_view label) noexcept;

  run_meter(const run_meter&) = delete;
  run_meter& operator=(const run_meter&) = delete;

  /// A call begins; the worker had to wait for it, or not.
  void begin(bool waited) noexcept;

  /// The call has returned.
  void end() noexcept;

  /// Measures what has not been measured yet. Before the worker waits or goes.
  void look() noexcept;

private:
  worker_cell& cell_;
  const std::uint8_t label_;
  std::chrono::steady_clock::time_point mark_;
  std::uint32_t unmeasured_ = 0;
  std::uint32_t at_once_ = 1;
};

} // namespace troupe
