// Where the files of URLs belong, whatever the URLs say.
#include "mirror/place.hpp"

#include <catch2/catch.hpp>

#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>

using mirror::place_of;

TEST_CASE("the place of a URL is its host and its path", "[place]") {
  auto where = place_of("http://Example.org/a/b.html");
  CHECK(where.host == "example.org");
  CHECK(where.path == "example.org/a/b.html");
}

TEST_CASE("a port is part of the place unless it is the usual one", "[place]") {
  CHECK(place_of("http://h:8080/a").host == "h:8080");
  CHECK(place_of("http://h:8080/a").path == "h:8080/a");
  CHECK(place_of("http://h:80/a").path == "h/a");
  CHECK(place_of("https://h:443/a").path == "h/a");
  CHECK(place_of("http://[::1]:81/a").path == "[::1]:81/a");
}

TEST_CASE("the page of a folder is its index.html", "[place]") {
  CHECK(place_of("http://h").path == "h/index.html");
  CHECK(place_of("http://h/").path == "h/index.html");
  CHECK(place_of("http://h/a/").path == "h/a/index.html");
  CHECK(place_of("http://h/a/?x=1").path == "h/a/index.html?x=1");
}

TEST_CASE("a query is part of the name, user and fragment are not", "[place]") {
  CHECK(place_of("http://h/a?x=1&y=2").path == "h/a?x=1&y=2");
  CHECK(place_of("http://h/a?x=/b").path == "h/a?x=^2Fb");
  CHECK(place_of("http://me:secret@h/a#there").path == "h/a");
}

TEST_CASE("no place leads out of the folder", "[place]") {
  for (auto* url : {"http://h/../../x", "http://h/a/../../../x", "http://h/./x",
                    "http://h/%2e%2e/x", "http://h/..%2f..%2fx", "http://h//x",
                    "http://h/\\..\\x", "http://h/?../../x", "http://../x",
                    "http://./x", "http://.mirror/x", "http://h/.."}) {
    CAPTURE(url);
    std::string path;
    try {
      path = place_of(url).path;
    } catch (const std::invalid_argument&) {
      continue;
    }
    CAPTURE(path);
    CHECK(path[0] != '/');
    CHECK(path[0] != '.');
    for (const auto& name : std::filesystem::path{path}) {
      CHECK(!name.empty());
      CHECK(name != ".");
      CHECK(name != "..");
    }
  }
}

TEST_CASE("odd bytes are escaped", "[place]") {
  CHECK(place_of("http://h/a%20b").path == "h/a%20b");
  CHECK(place_of("http://h/a^b").path == "h/a^5Eb");
  CHECK(place_of("http://h/a\\b").path == "h/a^5Cb");
  CHECK(place_of("http://h/\xc3\xa4").path == "h/^C3^A4");
}

TEST_CASE("different URLs have different places", "[place]") {
  std::set<std::string> places;
  auto urls = {"http://h/a",       "http://h/a/",      "http://h/a//",
               "http://h//a",      "http://h/a?",      "http://h/a??",
               "http://h/a?b",     "http://h/a%3Fb",   "http://h/a?b/c",
               "http://h/a?b%2Fc", "http://h/a?b^2Fc", "http://h/A",
               "http://h:81/a",    "http://i/a"};
  for (auto* url : urls)
    places.insert(place_of(url).path);
  CHECK(places.size() == urls.size());
}

TEST_CASE("what is too long for a file system is cut, and stays different",
          "[place]") {
  auto name = std::string(300, 'x');
  auto one = place_of("http://h/" + name + "1").path;
  auto two = place_of("http://h/" + name + "2").path;
  CHECK(one != two);
  CHECK(one.size() < 255);
  std::string deep;
  for (auto i = 0; i < 3000; ++i)
    deep += "/d";
  auto left = place_of("http://h" + deep + "/1").path;
  auto right = place_of("http://h" + deep + "/2").path;
  CHECK(left != right);
  CHECK(left.size() < 2100);
}

TEST_CASE("what is no URL that can be fetched has no place", "[place]") {
  for (auto* url :
       {"", "nonsense", "/etc/passwd", "file:///etc/passwd", "ftp://h/a",
        "http://", "http://h:99999/", "http://h/a b", "mailto:a@b"}) {
    CAPTURE(url);
    CHECK_THROWS_WITH(place_of(url), "not a URL that can be fetched (accepted: "
                                     "http://HOST/PATH and https://HOST/PATH)");
  }
  CHECK_THROWS_AS(place_of(std::string{"http://h/a\0b", 12}),
                  std::invalid_argument);
}
