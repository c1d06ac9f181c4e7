// A headless Chromium of a test's own, told what to do through ChromeDriver:
// its profile in a temporary folder, no connection to anywhere but loopback,
// gone when the test is over.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "../demos/temp_folder.hpp"
#include "json.hpp"
#include "server_process.hpp"

namespace test {

/// Speaks WebDriver. Whatever the browser refuses is thrown as a
/// `std::runtime_error` that has its text.
class browser {
public:
  browser();

  browser(const browser&) = delete;

  browser& operator=(const browser&) = delete;

  ~browser();

  /// Opens a page and blocks until it is loaded.
  void open(const std::string& url) const;

  /// Runs the body of a function in the page; returns what it returns.
  json run(const std::string& script) const;

  /// Blocks until `condition`, an expression, is true in the page: it is looked
  /// at whenever the page has changed.
  void await(const std::string& condition) const;

  /// Returns what the page has written to its console since the last call, and
  /// what the browser had to complain about.
  std::vector<std::string> console() const;

  /// Makes the page so many pixels wide.
  void set_width(int pixels) const;

  /// Has the page believe that the user prefers "light" or "dark".
  void set_scheme(const std::string& scheme) const;

  /// Writes the page as a picture, a PNG file.
  void save_picture(const std::string& path) const;

private:
  json ask(const std::string& path, const std::string& body) const;
  json devtools(std::string_view command, std::string_view arguments) const;

  temp_folder folder_;
  server_process driver_;
  int port_;
  std::string session_;
};

} // namespace test
