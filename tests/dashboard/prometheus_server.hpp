// A Prometheus server of a test's own: its data in a temporary folder, on a
// loopback port that nobody else had, killed when the test is over. It scrapes
// one program, many times a second.

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "../demos/temp_folder.hpp"
#include "json.hpp"
#include "server_process.hpp"

namespace test {

class prometheus_server {
public:
  /// Starts one that scrapes `/metrics` of 127.0.0.1:`target`.
  /// @throws std::runtime_error if that fails.
  explicit prometheus_server(std::uint16_t target);

  /// Asks for what `expression` is now.
  ///
  /// Shape:  an array of objects with `metric`, its labels, and `value`.
  /// @throws std::runtime_error if the server refuses the expression; has its
  ///         text.
  json query(const std::string& expression) const;

  /// Returns the value of an expression that has one; NaN if it has none.
  double value(const std::string& expression) const;

  /// Asks until the value of `expression` is what `good` accepts, for half a
  /// minute at the longest. Returns what it was at last.
  double await(const std::string& expression,
               const std::function<bool(double)>& good) const;

  double await(const std::string& expression, double wanted) const {
    return await(expression, [=](double x) { return x == wanted; });
  }

private:
  temp_folder folder_;
  server_process process_;
  int port_;
};

} // namespace test
