// A failure after which its request is not tried again, whatever its
// `retry_policy` says: for whoever makes calls elsewhere, and knows what they
// do there.

#pragma once

#include <string>

#include "troupe/error.hpp"
#include "troupe/fwd.hpp"

namespace troupe {

class final_failure : public failure {
public:
  /// `owner` is the batch of the request. To others it is a failure like any:
  /// to that of a request that has waited for this one, and may try again.
  final_failure(ec code, const std::string& text, bool started,
                const batch* owner)
      : failure{code, text, started}, owner_{owner} {}

  bool is_final_for(const batch& which) const noexcept {
    return owner_ == &which;
  }

private:
  // To compare, since it may be gone.
  const batch* owner_;
};

} // namespace troupe
