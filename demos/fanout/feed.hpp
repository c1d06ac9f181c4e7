// Starts requests while their targets come in, for input that may keep its
// reader waiting: whoever types targets, or writes them to a pipe, sees the
// result of one before giving the next. `pool::imap`, which pulls elements and
// delivers results on one thread, could only do one at a time.
#pragma once

#include "targets/result.hpp"
#include "targets/target_source.hpp"

#include "troupe/operation.hpp"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace fanout {

/// Pulls targets on a thread of its own while it lives.
class feed {
public:
  using starter =
      std::function<troupe::operation<targets::result>(targets::target)>;

  /// @param source is read by this feed alone until it is gone.
  /// @param window how many requests may be under way.
  /// @param start makes a started operation of a target.
  feed(targets::target_source& source, std::size_t window, starter start);

  /// Closes the source.
  ~feed();

  feed(const feed&) = delete;
  feed& operator=(const feed&) = delete;

  /// Returns the next request, in input order; blocks until there is one.
  /// Nothing at the end of the source.
  std::optional<troupe::operation<targets::result>> next();

private:
  void pull();

  targets::target_source& source_;
  std::size_t window_;
  starter start_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<troupe::operation<targets::result>> under_way_;
  std::exception_ptr broken_;
  bool ended_ = false;
  bool given_up_ = false;
  std::thread puller_;
};

} // namespace fanout
