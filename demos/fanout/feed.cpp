// Pulling and starting; see the header.
#include "feed.hpp"

#include <utility>

namespace fanout {

feed::feed(targets::target_source& source, std::size_t window, starter start)
    : source_{source}, window_{window}, start_{std::move(start)} {
  puller_ = std::thread{[this] { pull(); }};
}

feed::~feed() {
  source_.close();
  {
    std::lock_guard guard{mutex_};
    given_up_ = true;
  }
  changed_.notify_all();
  puller_.join();
}

std::optional<troupe::operation<targets::result>> feed::next() {
  std::unique_lock lock{mutex_};
  changed_.wait(lock, [this] { return ended_ || !under_way_.empty(); });
  if (under_way_.empty()) {
    if (broken_)
      std::rethrow_exception(broken_);
    return std::nullopt;
  }
  auto first = std::move(under_way_.front());
  under_way_.pop_front();
  lock.unlock();
  changed_.notify_all();
  return first;
}

void feed::pull() {
  std::unique_lock lock{mutex_};
  try {
    for (;;) {
      changed_.wait(
          lock, [this] { return given_up_ || under_way_.size() < window_; });
      if (given_up_)
        break;
      lock.unlock();
      auto found = source_.next();
      auto started =
          found ? std::optional{start_(std::move(*found))} : std::nullopt;
      lock.lock();
      if (!started)
        break;
      under_way_.push_back(std::move(*started));
      changed_.notify_all();
    }
  } catch (...) {
    lock.lock();
    broken_ = std::current_exception();
  }
  ended_ = true;
  changed_.notify_all();
}

} // namespace fanout
