// How measured values read.

#include "troupe/readable.hpp"

#include <catch2/catch.hpp>

using namespace std::chrono_literals;
using troupe::readable;
using troupe::readable_bytes;
using troupe::readable_share;

TEST_CASE("durations read in the unit that fits, with three digits",
          "[readable]") {
  CHECK(readable(0ns) == "0 s");
  CHECK(readable(7ns) == "7 ns");
  CHECK(readable(999ns) == "999 ns");
  CHECK(readable(1'250ns) == "1.25 us");
  CHECK(readable(85'340us) == "85.3 ms");
  CHECK(readable(999'400us) == "999 ms");
  CHECK(readable(36s) == "36.0 s");
  CHECK(readable(119s) == "119 s");
  CHECK(readable(120s) == "2.00 min");
  CHECK(readable(90min) == "90.0 min");
  CHECK(readable(5h) == "5.00 h");
  CHECK(readable(240h) == "10.0 days");
}

TEST_CASE("digits that round up go to the next unit", "[readable]") {
  CHECK(readable(999'600ns) == "1.00 ms");
  CHECK(readable(9'996us) == "10.0 ms");
  CHECK(readable(99'960us) == "100 ms");
}

TEST_CASE("durations below nothing keep their sign", "[readable]") {
  CHECK(readable(-1'500us) == "-1.50 ms");
}

TEST_CASE("shares read in percent", "[readable]") {
  CHECK(readable_share(0) == "0 %");
  CHECK(readable_share(0.004) == "0.4 %");
  CHECK(readable_share(0.38) == "38 %");
  CHECK(readable_share(1) == "100 %");
  CHECK(readable_share(1.5) == "150 %");
}

TEST_CASE("sizes keep at least two digits", "[readable]") {
  CHECK(readable_bytes(0) == "0 bytes");
  CHECK(readable_bytes(10'239) == "10239 bytes");
  CHECK(readable_bytes(10'240) == "10 KiB");
  CHECK(readable_bytes(10 * 1024 * 1024 - 1) == "10239 KiB");
  CHECK(readable_bytes(10 * 1024 * 1024) == "10 MiB");
}

TEST_CASE("two sizes that are compared do not read alike", "[readable]") {
  using texts = std::pair<std::string, std::string>;
  CHECK(readable_bytes(2'000, 1'000) == texts{"2000 bytes", "1000 bytes"});
  CHECK(readable_bytes(200'000, 100'000) == texts{"195 KiB", "97 KiB"});
  CHECK(readable_bytes(100'010, 100'000)
        == texts{"100,010 bytes", "100,000 bytes"});
  CHECK(readable_bytes(123'456'789, 123'000'000)
        == texts{"123,456,789 bytes", "123,000,000 bytes"});
  CHECK(readable_bytes(100'000, 100'000) == texts{"97 KiB", "97 KiB"});
  CHECK(troupe::exact_bytes(0) == "0 bytes");
  CHECK(troupe::exact_bytes(999) == "999 bytes");
  CHECK(troupe::exact_bytes(1'000) == "1,000 bytes");
  CHECK(troupe::exact_bytes(~std::uint64_t{0})
        == "18,446,744,073,709,551,615 bytes");
}

TEST_CASE("a time that is told roughly has no more digits than anybody needs",
          "[readable]") {
  CHECK(troupe::about(36'400ms) == "36s");
  CHECK(troupe::about(20'082'810ns) == "20ms");
  CHECK(troupe::about(46'612ns) == "46us");
  CHECK(troupe::about(999ns) == "999ns");
}
