// Shows the pools of this process while they work: as metrics for Prometheus,
// and as a page for people. Its own library, troupe::dashboard, since it is the
// only part of troupe that needs an HTTP server.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace troupe {

/// Where a dashboard can be reached.
struct dashboard_address {
  /// A name or an address of this machine. By default nobody else can see it.
  std::string host = "127.0.0.1";

  /// 0: any that is free.
  std::uint16_t port = 0;
};

/// Serves, as long as it lives: `/metrics`, the metrics of all pools of the
/// process in the text format of Prometheus; `/`, a page that shows them live.
///
/// Works on threads of its own. A client that does not read what it asked for
/// is cut off after a second; at most eight pages are kept up to date at once.
/// Errors: a port that cannot be had is one line in the log; the work goes on.
class dashboard {
public:
  /// Serves at `where`; nothing if there is none. `config::dashboard` says what
  /// the command line asks for.
  explicit dashboard(const std::optional<dashboard_address>& where);

  dashboard(const dashboard&) = delete;

  dashboard& operator=(const dashboard&) = delete;

  /// Stops serving. Takes no longer than a second.
  ~dashboard();

  /// Returns the port that it serves on; 0 if it does not.
  std::uint16_t port() const noexcept;

private:
  class server;

  std::unique_ptr<server> server_;
};

} // namespace troupe
