// How much memory this process has and had in use, as the kernel counts it.

#pragma once

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>

namespace bench {

/// Returns a line of /proc/self/status in bytes: "VmRSS", "VmHWM".
inline double status_bytes(const std::string& key) {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":"))
      return std::strtod(line.c_str() + key.size() + 1, nullptr) * 1024;
  throw std::runtime_error{"/proc/self/status has no " + key};
}

/// Makes the peak start from what is in use now.
inline void reset_peak() {
  std::ofstream clear{"/proc/self/clear_refs"};
  clear << "5" << std::flush;
  if (!clear)
    throw std::runtime_error{"cannot reset the peak of memory through "
                             "/proc/self/clear_refs"};
}

} // namespace bench
