// A gate between processes: two FIFOs in a folder, so that a test knows that a
// call runs in another process, and lets it go on, without measuring time.

#pragma once

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace test {

/// A folder that goes with its scope.
class gate_folder {
public:
  gate_folder() {
    auto name =
        (std::filesystem::temp_directory_path() / "troupe-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      throw std::system_error{errno, std::generic_category(), name};
    folder_ = name;
    for (const auto* fifo : {"arrived", "open"})
      if (::mkfifo(file(fifo).c_str(), 0600) != 0)
        throw std::system_error{errno, std::generic_category(), file(fifo)};
  }

  gate_folder(const gate_folder&) = delete;
  gate_folder& operator=(const gate_folder&) = delete;

  ~gate_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  const std::string& path() const { return folder_; }

  /// Returns the path of a file in the folder.
  std::string file(const std::string& name) const {
    return folder_ + '/' + name;
  }

  /// Blocks until somebody has arrived; returns the number that he left.
  int await_arrival() const {
    int number = 0;
    std::ifstream{file("arrived")} >> number;
    return number;
  }

  /// Lets through who waits; blocks until somebody does.
  void open() const { std::ofstream{file("open")} << 'x' << std::flush; }

private:
  std::string folder_;
};

} // namespace test
