// What tune measures: a list of things to ask for, again and again, each with a
// call that blocks. Targets are asked for by the clients of fanout, lines of
// input by a command that is run with them.
#pragma once

#include "command.hpp"

#include "targets/target.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace tune {

/// What came of one request.
struct answer {
  /// Why it failed, in words that follow the item's name and a colon; empty if
  /// it succeeded.
  std::string error = {};
  /// It failed because it was stopped while it was under way.
  bool stopped = false;
  /// CPU time that was used, or a core that was waited for, outside of the
  /// thread that asked.
  std::chrono::nanoseconds elsewhere{0};

  bool ok() const noexcept { return error.empty(); }
};

/// What one worker owns, to ask with. Used by one thread.
class asker {
public:
  virtual ~asker() = default;

  /// Asks for item number `item` and blocks until that is answered, or `stop`
  /// is requested.
  ///
  /// Errors: whatever fails is told by the answer.
  virtual answer ask(std::size_t item, const std::stop_token& stop) = 0;
};

/// A list of items. Usable from any thread.
class work {
public:
  virtual ~work() = default;

  /// Returns how many items there are: at least one.
  virtual std::size_t items() const = 0;

  /// Returns what the user calls an item.
  virtual std::string name(std::size_t item) const = 0;

  /// Returns whether asking changes nothing, so that an item may be asked for
  /// twice at the same time.
  virtual bool repeatable() const = 0;

  /// Returns whether what computes is not the worker's thread but a process,
  /// whose CPU time is in `answer::elsewhere`.
  virtual bool elsewhere() const = 0;

  virtual std::unique_ptr<asker> open() const = 0;
};

std::unique_ptr<work> work_on(std::vector<targets::target> list);

/// Runs `what` for each of `lines`: standard input empty, standard output
/// nowhere and errors only in the text of a failure, or, with `show`, both on
/// standard error. A command that is stopped gets SIGTERM, with all that it has
/// started, and SIGKILL a second later.
std::unique_ptr<work> work_on(command what, std::vector<std::string> lines,
                              bool show);

} // namespace tune
