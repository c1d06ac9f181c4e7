// Files that are there when they are whole.
#include "parts/folder.hpp"

#include "temp_folder.hpp"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

using Catch::Matchers::Contains;
using parts::folder;
using parts::part;

namespace {

bool exists(const std::string& path) {
  return std::filesystem::exists(path);
}

std::string content(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

} // namespace

TEST_CASE("a file is there once it is kept, and not before", "[folder]") {
  test::temp_folder temp;
  folder into{temp.path("new/folder"), "mirror"};
  CHECK_FALSE(into.has("h/a/b"));
  part file{into};
  file.write("one ");
  file.write("two");
  CHECK_FALSE(exists(temp.path("new/folder/h")));
  file.keep_as("h/a/b");
  CHECK(into.has("h/a/b"));
  CHECK(content(temp.path("new/folder/h/a/b")) == "one two");
}

TEST_CASE("a file that is not kept leaves nothing", "[folder]") {
  test::temp_folder temp;
  {
    folder into{temp.path(), "mirror"};
    part{into}.write("half");
    CHECK(std::filesystem::is_empty(temp.path(".mirror")));
  }
  CHECK(std::filesystem::is_empty(temp.path()));
}

TEST_CASE("what a killed run has left goes when the next one begins",
          "[folder]") {
  test::temp_folder temp;
  temp.write(".mirror/1", "half");
  temp.write("h/a", "whole");
  folder into{temp.path(), "mirror"};
  CHECK_FALSE(exists(temp.path(".mirror/1")));
  CHECK(into.has("h/a"));
}

TEST_CASE("nobody else can mirror into a folder that is in use", "[folder]") {
  test::temp_folder temp;
  {
    folder into{temp.path(), "mirror"};
    CHECK_THROWS_WITH(folder(temp.path(), "mirror"),
                      "cannot mirror into '" + temp.path()
                          + "': another process does so right now");
  }
  CHECK_NOTHROW(folder(temp.path(), "mirror"));
}

TEST_CASE("a folder that cannot be made or written to says so", "[folder]") {
  test::temp_folder temp;
  auto file = temp.write("file", "");
  CHECK_THROWS_WITH(folder(file, "mirror"),
                    "cannot mirror into '" + file + "': Not a directory");
  CHECK_THROWS_WITH(folder("/proc/none", "mirror"),
                    Contains("cannot mirror into "
                             "'/proc/none': "));
  CHECK_THROWS_WITH(folder("/proc", "mirror"),
                    Contains("cannot mirror into '/proc': "));
}

TEST_CASE("a file and a folder cannot have one name", "[folder]") {
  test::temp_folder temp;
  folder into{temp.path(), "mirror"};
  part first{into};
  first.keep_as("h/a");
  part below{into};
  CHECK_THROWS_WITH(below.keep_as("h/a/b"),
                    "cannot make the folder 'h/a': a file is there, which "
                    "another URL has brought");
  CHECK_THROWS_WITH(into.has("h"), "cannot put it at 'h': a folder is there, "
                                   "which another URL needs");
}
