// The file that the report goes to. Known to be writable before any work is
// done, and never one that somebody else has written.
#pragma once

#include "parts/unique_fd.hpp"

#include <string>
#include <string_view>

namespace tune {

/// Stands in every report, near its beginning.
inline constexpr std::string_view report_mark = "name=\"generator\" "
                                                "content=\"troupe tune\"";

/// A file that is open for one report. One that was not there before goes if
/// nothing is written.
class report_file {
public:
  /// @throws std::runtime_error, naming the file, if it cannot be written, or
  ///         if it is there and is no report.
  explicit report_file(std::string path);

  ~report_file();

  report_file(const report_file&) = delete;
  report_file& operator=(const report_file&) = delete;

  const std::string& path() const noexcept { return path_; }

  /// Replaces what the file had.
  /// @throws std::runtime_error, naming the file.
  void write(std::string_view report);

private:
  std::string path_;
  parts::unique_fd fd_;
  bool fresh_ = false;
};

} // namespace tune
