// A folder for the files of one test; gone when the test is over.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace test {

class temp_folder {
public:
  temp_folder() {
    path_ = std::filesystem::temp_directory_path() / "troupe-test-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr)
      throw std::runtime_error{"cannot make a temporary folder " + path_};
  }

  ~temp_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  temp_folder(const temp_folder&) = delete;
  temp_folder& operator=(const temp_folder&) = delete;

  const std::string& path() const noexcept { return path_; }

  std::string path(std::string_view name) const {
    return path_ + "/" + std::string{name};
  }

  /// Writes a file, with the folders on its way, and returns its path.
  std::string write(std::string_view name, std::string_view content) const {
    auto result = path(name);
    std::filesystem::create_directories(
        std::filesystem::path{result}.parent_path());
    std::ofstream{result, std::ios::binary} << content;
    return result;
  }

private:
  std::string path_;
};

} // namespace test
