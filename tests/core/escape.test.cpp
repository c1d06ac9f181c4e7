// Text of users in what machines read.

#include "troupe/escape.hpp"

#include <catch2/catch.hpp>

#include <string>

using troupe::json_string;
using troupe::metric_label;
using troupe::valid_utf8;

TEST_CASE("UTF-8 stays as it is", "[escape]") {
  for (std::string text :
       {"", "plain", "Grüße", "日本", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"})
    CHECK(valid_utf8(text) == text);
}

TEST_CASE("bytes that are no UTF-8 become question marks", "[escape]") {
  CHECK(valid_utf8("a\xFFz") == "a?z");
  // Cut off, longer than needed, a surrogate, beyond the last character.
  CHECK(valid_utf8("\xC3") == "?");
  CHECK(valid_utf8("\xE2\x82") == "??");
  CHECK(valid_utf8("\xC0\x80") == "??");
  CHECK(valid_utf8("\xE0\x80\x80") == "???");
  CHECK(valid_utf8("\xED\xA0\x80") == "???");
  CHECK(valid_utf8("\xF5\x80\x80\x80") == "????");
  CHECK(valid_utf8("\xF4\x90\x80\x80") == "????");
}

TEST_CASE("JSON strings escape what JSON does not take", "[escape]") {
  CHECK(json_string("a\"b\\c") == R"("a\"b\\c")");
  CHECK(json_string(std::string{"\n\0\x1f", 3}) == R"("\u000a\u0000\u001f")");
  CHECK(json_string("é\xFF") == "\"é?\"");
}

TEST_CASE("values of metric labels escape what Prometheus does not take",
          "[escape]") {
  CHECK(metric_label("a\"b\\c\nd") == R"("a\"b\\c\nd")");
  CHECK(metric_label("é\xFF") == "\"é?\"");
}
