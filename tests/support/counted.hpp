// Something that says how many of it there are.

#pragma once

#include <atomic>

namespace test {

/// Counts how many of its copies are alive.
class counted {
public:
  explicit counted(std::atomic<int>& alive) : alive_{&alive} { ++*alive_; }
  counted(const counted& other) : alive_{other.alive_} { ++*alive_; }
  counted& operator=(const counted&) = delete;
  ~counted() { --*alive_; }

private:
  std::atomic<int>* alive_;
};

} // namespace test
