// An exception of another process, as its caller gets it.

#pragma once

#include <string>

#include "troupe/error.hpp"

namespace troupe {

/// What a procedure threw in another process. The exception itself stays over
/// there; here are the name of its type and what it said.
class remote_failure : public failure {
public:
  /// `node` is where the process was; empty: on this machine.
  remote_failure(std::string type, std::string message, int pid,
                 std::string node = {});

  /// Returns the name of the exception's type, such as "std::runtime_error".
  const std::string& type_name() const noexcept;

  /// Returns its `what()`, or an empty text.
  const std::string& message() const noexcept;

  /// Returns the process it was thrown in.
  int pid() const noexcept;

  /// Returns the name of the node where that process was, or an empty text.
  const std::string& node() const noexcept;

private:
  struct origin;
  // Shared, since copying an exception must not throw.
  std::shared_ptr<const origin> origin_;
};

} // namespace troupe
