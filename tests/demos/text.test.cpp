// Names of any bytes as text for terminals, JSON and sha256sum.
#include "parts/text.hpp"
#include "fanout/compare.hpp"
#include "parts/progress_bar.hpp"
#include "parts/sizes.hpp"

#include "child.hpp"
#include "temp_folder.hpp"

#include <catch2/catch.hpp>

#include <string>

using namespace fanout;
using namespace parts;
using namespace std::chrono_literals;

TEST_CASE("UTF-8 is what the Unicode standard says it is", "[text]") {
  for (auto* good : {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x8e\xad",
                     "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"})
    CHECK(is_utf8(good));
  // Overlong, surrogate, too large, cut off, lone continuation.
  for (auto* bad : {"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                    "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xff"})
    CHECK_FALSE(is_utf8(bad));
}

TEST_CASE("what a terminal would act on is spelled out", "[text]") {
  CHECK(printable("\x1b[2Ja\nb\x7f\xff\xc3\xa4\xc2\x9b")
        == "\\x1b[2Ja\\nb\\x7f\\xff\xc3\xa4\\xc2\\x9b");
}

TEST_CASE("JSON strings hold any name", "[text]") {
  CHECK(json_string("a\"b\\c\n\x01\xc3\xa4")
        == "\"a\\\"b\\\\c\\u000a\\u0001"
           "\xc3\xa4\"");
  CHECK(json_string("a\xff") == "\"a\\ufffd\"");
  CHECK(hex("a\xff") == "61ff");
}

TEST_CASE("lines are those of sha256sum, whatever the name", "[text]") {
  test::temp_folder folder;
  for (auto* name : {"plain", "two  blanks", "back\\slash", "line\nend",
                     "carriage\rreturn", "\xff", "*"}) {
    auto path = folder.write(name, "content");
    auto theirs = test::run({"/usr/bin/sha256sum", path});
    REQUIRE(theirs.status == 0);
    CHECK(sha256sum_line("ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec"
                         "9432297b9ec9f73",
                         path)
              + "\n"
          == theirs.out);
  }
}

TEST_CASE("times, sizes and counts are short", "[text]") {
  CHECK(human(0ns) == "0 ns");
  CHECK(human(1500us) == "1.50 ms");
  CHECK(human(41300ms) == "41.3 s");
  CHECK(human(754s) == "754 s");
  CHECK(human_bytes(999) == "999 B");
  CHECK(human_bytes(1'234'567) == "1.2 MB");
  CHECK(human_count(0) == "0");
  CHECK(human_count(999) == "999");
  CHECK(human_count(81'894) == "81,894");
  CHECK(human_count(1'000'000) == "1,000,000");
}

TEST_CASE("the bar shows how far it is, as far as that is known",
          "[progress_bar]") {
  CHECK(draw({.done = 1000, .failed = 1, .part = 0.5}, 1500ms, 80)
        == "[###############---------------]  50 %  1,000 done, 1 failed, "
           "1.5 s");
  CHECK(draw({.done = 7, .failed = 0, .part = {}}, 100ms, 80)
        == "7 done, 0 failed, 0.1 s");
}

TEST_CASE("the bar never fills the last column", "[progress_bar]") {
  CHECK(draw({.done = 1000, .failed = 1, .part = 0.5}, 1500ms, 20).size()
        == 19);
  CHECK(draw({.done = 1000, .failed = 1, .part = 0.5}, 1500ms, 0).empty());
}

TEST_CASE("sizes double up to the largest", "[compare]") {
  using sizes = std::vector<std::size_t>;
  CHECK(parts::sizes_up_to(1) == sizes{1});
  CHECK(parts::sizes_up_to(6) == sizes{1, 2, 4, 6});
  CHECK(parts::sizes_up_to(8) == sizes{1, 2, 4, 8});
}

TEST_CASE("the bars are as long as the times", "[compare]") {
  auto text = table({{1, 400ms, 1.0, 10, 1}, {2, 200ms, 0.5, 10, 1}});
  auto rows = test::lines(text);
  REQUIRE(rows.size() == 3);
  CHECK(rows[1]
        == "      1    400 ms      1.0x  100 %        10       1  "
               + std::string(40, '#'));
  CHECK(rows[2]
        == "      2    200 ms      2.0x   50 %        10       1  "
               + std::string(20, '#'));
}
