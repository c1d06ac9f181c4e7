// The three blocking clients of one worker, behind one question: what is at
// this target? Knows nothing of actors; a worker keeps one as its resource.
#pragma once

#include "parts/sha256.hpp"
#include "result.hpp"
#include "sqlite_client.hpp"

#include "troupe/http_client.hpp"

#include <stop_token>
#include <vector>

namespace targets {

/// Asks for targets, one at a time, on one thread.
class clients {
public:
  clients();

  /// Asks for `what` and blocks until it is answered, or `stop` is requested.
  ///
  /// Errors: whatever fails is told by the result, as is being stopped.
  result ask(target what, const std::stop_token& stop);

private:
  void fetch(result& answer, const std::stop_token& stop);
  void hash(result& answer, const std::stop_token& stop);
  void query(result& answer, const std::stop_token& stop);

  troupe::http_client http_;
  sqlite_client sqlite_;
  parts::sha256 hash_;
  std::vector<char> buffer_;
};

} // namespace targets
