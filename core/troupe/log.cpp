#include "troupe/log.hpp"

#include <cstdio>
#include <memory>
#include <mutex>
#include <utility>

#include <fmt/format.h>

namespace troupe {

namespace {

struct current_sink {
  std::mutex mutex;
  std::shared_ptr<const log_sink> sink;
};

// Never destroyed: detached threads may have something to say while the
// process ends.
current_sink& current() {
  static auto instance = new current_sink;
  return *instance;
}

// One line, whatever the text holds, in one call, so that the lines of several
// threads do not mix.
void write_stderr(const log_entry& entry) {
  auto line = entry.pool.empty() ? fmt::format("troupe: {}", entry.text)
                                 : fmt::format("troupe: pool '{}': {}",
                                               entry.pool, entry.text);
  for (auto& c : line)
    if (static_cast<unsigned char>(c) < ' ')
      c = ' ';
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

} // namespace

std::string_view to_string(log_level level) noexcept {
  switch (level) {
  case log_level::info:
    return "info";
  case log_level::warning:
    return "warning";
  case log_level::error:
    return "error";
  }
  return "unknown level";
}

log_sink set_log_sink(log_sink sink) {
  auto next =
      sink ? std::make_shared<const log_sink>(std::move(sink)) : nullptr;
  auto& now = current();
  {
    std::lock_guard guard{now.mutex};
    std::swap(now.sink, next);
  }
  return next ? *next : log_sink{};
}

void write_log(log_level level, std::string_view pool,
               std::string text) noexcept {
  try {
    log_entry entry{level, std::string{pool}, std::move(text)};
    auto& now = current();
    std::shared_ptr<const log_sink> sink;
    {
      std::lock_guard guard{now.mutex};
      sink = now.sink;
    }
    // Called without the lock: a sink may log, or set another sink.
    if (sink) {
      try {
        (*sink)(entry);
        return;
      } catch (...) {
        // The line must not be lost with it.
      }
    }
    write_stderr(entry);
  } catch (...) {
    // Nobody could be told of it either.
  }
}

} // namespace troupe
