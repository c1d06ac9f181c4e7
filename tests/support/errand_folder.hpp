// Errands of worker processes, each of which leaves a line, so that a test
// knows what was made, and how often.

#pragma once

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "gate_folder.hpp"
#include "test_procedures.hpp"

namespace test {

/// A folder for what errands leave.
class errand_folder : public gate_folder {
public:
  /// So many errands, of which one is special.
  std::vector<errand> errands(int n, int which = -1,
                              const std::string& how = {}) const {
    std::vector<errand> result;
    for (int i = 0; i < n; ++i)
      result.push_back({path(), i, i == which ? how : std::string{}});
    return result;
  }

  /// Returns how often each was made.
  std::map<int, int> made() const {
    std::map<int, int> result;
    std::ifstream in{file("made")};
    for (int number = 0; in >> number;)
      ++result[number];
    return result;
  }
};

/// Returns the numbers that were made more than once.
inline std::vector<int> made_twice(const std::map<int, int>& made) {
  std::vector<int> result;
  for (auto [number, times] : made)
    if (times > 1)
      result.push_back(number);
  return result;
}

} // namespace test
