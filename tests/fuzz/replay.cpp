// Runs what fuzzing found worth keeping: each file of a folder is one input.

#include "fuzz.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: replay FOLDER\n", stderr);
    return 2;
  }
  auto count = 0;
  for (const auto& file : std::filesystem::directory_iterator{argv[1]}) {
    std::ifstream in{file.path(), std::ios::binary};
    std::string bytes{std::istreambuf_iterator<char>{in}, {}};
    // So that an abort names its input.
    std::printf("%s\n", file.path().filename().c_str());
    std::fflush(stdout);
    fuzz::run(bytes);
    ++count;
  }
  std::printf("%d inputs\n", count);
  return count == 0;
}
