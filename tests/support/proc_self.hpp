// What /proc/self says of this process: memory, threads, descriptors. For the
// programs that tests start to see whether something is left behind.

#pragma once

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace test {

/// Returns a line of /proc/self/status as a number: "VmRSS" and "VmHWM" in KiB,
/// "Threads".
inline std::size_t proc_status(const std::string& key) {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":"))
      return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10);
  throw std::runtime_error{"/proc/self/status has no " + key};
}

/// Returns how many descriptors are open, among them the one that counts.
inline std::size_t open_descriptors() {
  std::filesystem::directory_iterator all{"/proc/self/fd"};
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// Makes the peak, VmHWM, start from what is in use now.
inline void reset_peak() {
  std::ofstream clear{"/proc/self/clear_refs"};
  clear << "5" << std::flush;
  if (!clear)
    throw std::runtime_error{"cannot write to /proc/self/clear_refs"};
}

} // namespace test
