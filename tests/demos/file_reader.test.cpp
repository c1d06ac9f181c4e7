// Reading files that stay as they are, and files that don't.
#include "targets/file_reader.hpp"
#include "parts/sha256.hpp"

#include "temp_folder.hpp"

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>

using targets::file_reader;

namespace {

std::string read_all(file_reader& file) {
  std::string result;
  std::array<char, 7> buffer;
  while (auto got = file.read(buffer))
    result.append(buffer.data(), got);
  return result;
}

} // namespace

TEST_CASE("a file is read to its end", "[file_reader]") {
  test::temp_folder folder;
  file_reader file{folder.write("a", "more bytes than one block has")};
  CHECK(read_all(file) == "more bytes than one block has");
  CHECK_NOTHROW(file.check_unchanged());
}

TEST_CASE("a file that grows while it is read has changed", "[file_reader]") {
  test::temp_folder folder;
  auto path = folder.write("a", "content");
  file_reader file{path};
  read_all(file);
  std::ofstream{path, std::ios::app} << "!";
  CHECK_THROWS_WITH(file.check_unchanged(), "it changed while it was read");
}

TEST_CASE("a file that is rewritten in its size has changed", "[file_reader]") {
  test::temp_folder folder;
  auto path = folder.write("a", "content");
  file_reader file{path};
  read_all(file);
  timespec later[] = {{0, UTIME_OMIT}, {1'000'000'000, 0}};
  REQUIRE(utimensat(AT_FDCWD, path.c_str(), later, 0) == 0);
  CHECK_THROWS_WITH(file.check_unchanged(), "it changed while it was read");
}

TEST_CASE("a file that is removed while it is read has vanished",
          "[file_reader]") {
  test::temp_folder folder;
  auto path = folder.write("a", "content");
  file_reader file{path};
  std::filesystem::remove(path);
  CHECK(read_all(file) == "content");
  CHECK_THROWS_WITH(file.check_unchanged(), "it vanished while it was read");
}

TEST_CASE("a file that another one takes the name of was replaced",
          "[file_reader]") {
  test::temp_folder folder;
  auto path = folder.write("a", "content");
  file_reader file{path};
  read_all(file);
  std::filesystem::rename(folder.write("b", "content"), path);
  CHECK_THROWS_WITH(file.check_unchanged(),
                    "it was replaced by another file while it was read");
}

TEST_CASE("only regular files are opened", "[file_reader]") {
  test::temp_folder folder;
  auto fifo = folder.path("fifo");
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  // Failure here is a hang: nobody ever writes to the FIFO.
  CHECK_THROWS_WITH(file_reader{fifo}, "not a regular file but a FIFO");
  CHECK_THROWS_WITH(file_reader{"/dev/zero"},
                    "not a regular file but a device");
  CHECK_THROWS_WITH(file_reader{folder.path()},
                    "not a regular file but a folder");
}

TEST_CASE("what cannot be opened says why", "[file_reader]") {
  test::temp_folder folder;
  CHECK_THROWS_WITH(file_reader{folder.path("none")},
                    "cannot open: No such file or directory");
  std::filesystem::create_symlink("b", folder.path("a"));
  std::filesystem::create_symlink("a", folder.path("b"));
  CHECK_THROWS_WITH(file_reader{folder.path("a")},
                    "cannot open: Too many levels of symbolic links (a loop of "
                    "them?)");
}

TEST_CASE("digests are those of the standard's examples", "[sha256]") {
  parts::sha256 hash;
  CHECK(hash.finish()
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  hash.restart();
  hash.add("a", 1);
  hash.add("bc", 2);
  CHECK(hash.finish()
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
