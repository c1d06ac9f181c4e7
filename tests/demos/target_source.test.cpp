// Walking folders and reading lists, one target at a time.
#include "targets/target_source.hpp"

#include "temp_folder.hpp"

#include <catch2/catch.hpp>

#include <sys/stat.h>

#include <filesystem>
#include <ranges>
#include <string>
#include <system_error>
#include <vector>

using namespace targets;

static_assert(std::ranges::input_range<target_source>);

namespace {

std::vector<target> all_of(target_source::options what) {
  target_source source{std::move(what)};
  std::vector<target> result;
  for (auto& found : source)
    result.push_back(found);
  CHECK(source.count() == result.size());
  return result;
}

std::vector<std::string> texts_of(target_source::options what) {
  std::vector<std::string> result;
  for (auto& found : all_of(std::move(what)))
    result.push_back(found.text);
  return result;
}

using texts = std::vector<std::string>;

} // namespace

TEST_CASE("arguments come in the order given", "[target_source]") {
  CHECK(texts_of({.arguments = {"/b", "http://a", "/a"}})
        == texts{"/b", "http://a", "/a"});
}

TEST_CASE("no arguments give no targets", "[target_source]") {
  CHECK(texts_of({}).empty());
}

TEST_CASE("a folder stands for the files below it, in byte order",
          "[target_source]") {
  test::temp_folder folder;
  auto deep = folder.write("b/deep/file", "");
  auto upper = folder.write("Z", "");
  auto lower = folder.write("a", "");
  std::filesystem::create_directory(folder.path("c-empty"));
  CHECK(texts_of({.arguments = {folder.path()}}) == texts{upper, lower, deep});
  CHECK(texts_of({.arguments = {folder.path() + "/"}})
        == texts{upper, lower, deep});
}

TEST_CASE("links, FIFOs and sockets inside a folder are passed by and counted",
          "[target_source]") {
  test::temp_folder folder;
  auto file = folder.write("file", "");
  std::filesystem::create_symlink("file", folder.path("link"));
  std::filesystem::create_symlink(".", folder.path("circle"));
  REQUIRE(mkfifo(folder.path("fifo").c_str(), 0600) == 0);
  target_source source{{.arguments = {folder.path()}}};
  CHECK(source.next()->text == file);
  CHECK_FALSE(source.next());
  CHECK(source.passed_by().links == 2);
  CHECK(source.passed_by().specials == 1);
}

TEST_CASE("a link to a folder is walked when it is given itself",
          "[target_source]") {
  test::temp_folder folder;
  folder.write("real/file", "");
  std::filesystem::create_symlink("real", folder.path("link"));
  CHECK(texts_of({.arguments = {folder.path("link")}})
        == texts{folder.path("link/file")});
}

TEST_CASE("links are followed when asked for", "[target_source]") {
  test::temp_folder folder;
  folder.write("real/file", "");
  std::filesystem::create_symlink("real", folder.path("link"));
  CHECK(texts_of({.arguments = {folder.path()}, .follow = true})
        == texts{folder.path("link/file"), folder.path("real/file")});
}

TEST_CASE("a link back to a folder above is a problem when links are followed",
          "[target_source]") {
  test::temp_folder folder;
  auto file = folder.write("a/file", "");
  std::filesystem::create_symlink("..", folder.path("a/up"));
  auto found = all_of({.arguments = {folder.path()}, .follow = true});
  REQUIRE(found.size() == 2);
  CHECK(found[0].text == file);
  CHECK(found[1].text == folder.path("a/up"));
  CHECK(found[1].problem
        == "directory loop: it is the folder '" + folder.path()
               + "' that it lies in");
}

TEST_CASE("a folder that vanishes while its parent is walked is a problem",
          "[target_source]") {
  test::temp_folder folder;
  folder.write("a", "");
  std::filesystem::create_directory(folder.path("b"));
  target_source source{{.arguments = {folder.path()}}};
  CHECK(source.next()->text == folder.path("a"));
  std::filesystem::remove(folder.path("b"));
  auto found = source.next();
  REQUIRE(found);
  CHECK(found->text == folder.path("b"));
  CHECK(found->problem == "cannot list folder: No such file or directory");
}

TEST_CASE("the lines of a list come after the arguments", "[target_source]") {
  test::temp_folder folder;
  folder.write("d/1", "");
  auto list = folder.write("list", "http://x\n\n" + folder.path("d")
                                       + "\nlast, without an end");
  CHECK(texts_of({.arguments = {"/first"}, .list = list})
        == texts{"/first", "http://x", folder.path("d/1"),
                 "last, without an end"});
}

TEST_CASE("a list that cannot be opened is an error that names it",
          "[target_source]") {
  test::temp_folder folder;
  CHECK_THROWS_WITH(target_source({.list = folder.path("none")}),
                    "cannot read the list '" + folder.path("none")
                        + "': No such file or directory");
  CHECK_THROWS_WITH(target_source({.list = folder.path()}),
                    "cannot read the list '" + folder.path()
                        + "': Is a directory");
}

TEST_CASE("a line too long to be a name is a problem, and the next one is read",
          "[target_source]") {
  test::temp_folder folder;
  auto list = folder.write("list", std::string(3 << 20, 'x') + "\nnext\n");
  auto found = all_of({.list = list});
  REQUIRE(found.size() == 2);
  CHECK(found[0].text == list);
  CHECK(found[0].problem == "a line of this list is longer than 1 MiB");
  CHECK(found[1].text == "next");
}

TEST_CASE("waiting for a pipe ends when the source is closed",
          "[target_source]") {
  test::temp_folder folder;
  auto fifo = folder.path("fifo");
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  target_source source{{.list = fifo}};
  CHECK(source.may_block());
  source.close();
  // Failure here is a hang: nobody ever writes to the FIFO.
  CHECK_FALSE(source.next());
}

TEST_CASE("positions rise to 1", "[target_source]") {
  test::temp_folder folder;
  folder.write("d/1", "");
  folder.write("d/e/1", "");
  folder.write("d/e/2", "");
  auto list = folder.write("list", "x\n" + folder.path("d") + "\ny\n");
  double last = 0;
  for (auto& found :
       all_of({.arguments = {"/a", folder.path("d")}, .list = list})) {
    REQUIRE(found.position);
    CHECK(*found.position > last);
    last = *found.position;
  }
  CHECK(last == Approx(1));
}
