// What tests of worker processes and of nodes look at: how an operation failed,
// what was left in files, and what another process is about to do.

#pragma once

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <tuple>

#include "troupe/settled.hpp"

namespace test {

/// What an operation failed with; the code is `ec{}` if it did not.
struct failed {
  troupe::ec code{};
  std::string text;
  bool started = false;
};

template <class T>
failed failure_of(troupe::operation<T> op) {
  auto outcome = troupe::gather_settled(std::move(op)).get();
  const auto& first = std::get<0>(outcome);
  return {first.code(), std::string{first.what()},
          first.failed() && first.failed()->started};
}

inline std::string text_of(const std::string& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

inline std::size_t letters_in(const std::string& path) {
  return text_of(path).size();
}

inline std::ptrdiff_t lines_of(const std::string& path) {
  auto text = text_of(path);
  return std::count(text.begin(), text.end(), '\n');
}

/// Waits until another process has done something, or this one has noticed.
template <class Condition>
void eventually(Condition holds) {
  while (!holds())
    std::this_thread::yield();
}

} // namespace test
