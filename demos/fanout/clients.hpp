// The three blocking clients of one worker, behind one question: what is at
// this target? Knows nothing of actors; a worker keeps one as its resource.
#pragma once

#include "parts/http_client.hpp"
#include "parts/sha256.hpp"
#include "result.hpp"
#include "sqlite_client.hpp"

#include <stop_token>
#include <vector>

namespace fanout {

/// Asks for targets, one at a time.
///
/// Threads: one thread asks; `interrupt` may be called by any other.
class clients {
public:
  clients();

  /// Asks for `what` and blocks until it is answered.
  ///
  /// Errors: whatever fails is told by the result, as is being stopped.
  result ask(target what, const std::stop_token& stop);

  /// Ends a wait for the network. Call it after the stop token has been asked
  /// to stop; files and queries look at the token themselves.
  void interrupt() { http_.interrupt(); }

private:
  void fetch(result& answer, const std::stop_token& stop);
  void hash(result& answer, const std::stop_token& stop);
  void query(result& answer, const std::stop_token& stop);

  parts::http_client http_;
  sqlite_client sqlite_;
  parts::sha256 hash_;
  std::vector<char> buffer_;
};

} // namespace fanout
