// Takes the log of the process for as long as it lives, so that a test can read
// what was said and wait for it.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "troupe/log.hpp"

namespace test {

/// Holds what is logged between its construction and its end.
class captured_log {
public:
  captured_log()
      : former_{troupe::set_log_sink(
          [lines = lines_](const troupe::log_entry& entry) {
            std::lock_guard guard{lines->mutex};
            lines->entries.push_back(entry);
            lines->more.notify_all();
          })} {}

  captured_log(const captured_log&) = delete;
  captured_log& operator=(const captured_log&) = delete;

  ~captured_log() { troupe::set_log_sink(std::move(former_)); }

  std::vector<troupe::log_entry> entries() const {
    std::lock_guard guard{lines_->mutex};
    return lines_->entries;
  }

  std::vector<std::string> texts() const {
    std::vector<std::string> result;
    for (auto& entry : entries())
      result.push_back(entry.text);
    return result;
  }

  /// Blocks until there are `n` lines.
  void await(std::size_t n) const {
    std::unique_lock guard{lines_->mutex};
    lines_->more.wait(guard, [&] { return lines_->entries.size() >= n; });
  }

private:
  // Outlives this object: a line may be on its way.
  struct shared_lines {
    std::mutex mutex;
    std::condition_variable more;
    std::vector<troupe::log_entry> entries;
  };

  std::shared_ptr<shared_lines> lines_ = std::make_shared<shared_lines>();
  troupe::log_sink former_;
};

} // namespace test
