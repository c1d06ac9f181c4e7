// Procedures without a pool: how types are spelled, what is written and read
// again, and what a table of functions refuses.

#include "test_procedures.hpp"

#include "troupe/procedure.hpp"

#include <catch2/catch.hpp>

#include <map>
#include <string>
#include <tuple>
#include <vector>

using troupe::ec;
using troupe::type_text;

namespace {

std::span<const std::byte> bytes_of(const troupe::compat::byte_buffer& bytes) {
  return std::as_bytes(std::span{bytes});
}

} // namespace

// -- types --------------------------------------------------------------------

TEST_CASE("a signature is spelled as people write it", "[procedure]") {
  CHECK(type_text<std::string(const std::string&, int)>()
        == "std::string(std::string, int)");
  CHECK(type_text<void()>() == "void()");
  CHECK(type_text<std::vector<std::map<std::string, int>>()>()
        == "std::vector<std::map<std::string, int>>()");
  CHECK(type_text<test::point(std::tuple<int, std::string>)>()
        == "test::point(std::tuple<int, std::string>)");
  CHECK(test::add.info().text() == "'add', int(int, int)");
}

TEST_CASE("a procedure accepts what converts to its arguments", "[procedure]") {
  using add = decltype(test::add);
  using echo = decltype(test::echo);
  STATIC_REQUIRE(add::accepts<int, short>);
  STATIC_REQUIRE(echo::accepts<const char*>);
}

TEST_CASE("a procedure refuses other arguments when it is compiled",
          "[procedure]") {
  using add = decltype(test::add);
  using echo = decltype(test::echo);
  STATIC_REQUIRE_FALSE(add::accepts<int>);
  STATIC_REQUIRE_FALSE(add::accepts<int, std::string>);
  STATIC_REQUIRE_FALSE(echo::accepts<int>);
  STATIC_REQUIRE_FALSE(std::is_invocable_v<echo, troupe::context&, int>);
}

// -- bytes --------------------------------------------------------------------

TEST_CASE("what is encoded is decoded the same", "[procedure]") {
  troupe::compat::byte_buffer bytes;
  test::point in{7, {"a", "", "c"}};
  REQUIRE(troupe::compat::encode(bytes, in, std::string(100'000, 'x'), 1.5));
  test::point out;
  std::string text;
  double number = 0;
  REQUIRE(troupe::compat::decode(bytes_of(bytes), out, text, number));
  CHECK(out.x == 7);
  CHECK(out.names == in.names);
  CHECK(text.size() == 100'000);
  CHECK(number == 1.5);
}

TEST_CASE("bytes that end too early do not decode", "[procedure]") {
  troupe::compat::byte_buffer bytes;
  REQUIRE(troupe::compat::encode(bytes, std::string{"hello"}, 42));
  std::string text;
  int number = 0;
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    CAPTURE(n);
    CHECK_FALSE(troupe::compat::decode(bytes_of(bytes).first(n), text, number));
  }
}

TEST_CASE("bytes that are left over do not decode", "[procedure]") {
  troupe::compat::byte_buffer bytes;
  REQUIRE(troupe::compat::encode(bytes, 1, 2));
  int number = 0;
  CHECK_FALSE(troupe::compat::decode(bytes_of(bytes), number));
}

TEST_CASE("a text that says it is longer than what is there does not decode",
          "[procedure]") {
  std::array<unsigned char, 5> bytes{0xFF, 0xFF, 0xFF, 0xFF, 0x0F};
  std::string text;
  CHECK_FALSE(troupe::compat::decode(std::as_bytes(std::span{bytes}), text));
}

TEST_CASE("nothing is encoded as nothing", "[procedure]") {
  CHECK(troupe::compat::decode({}));
}

namespace {

struct no_inspect {
  int value = 0;
};

} // namespace

TEST_CASE(
    "what belongs to one actor system, or has no inspect, does not travel",
    "[procedure]") {
  STATIC_REQUIRE(troupe::can_leave_process<int, std::string, test::point>);
  STATIC_REQUIRE_FALSE(troupe::can_leave_process<int, caf::message>);
  STATIC_REQUIRE_FALSE(troupe::can_leave_process<caf::error>);
  STATIC_REQUIRE_FALSE(troupe::can_leave_process<caf::actor>);
  STATIC_REQUIRE(troupe::compat::encodable<int, std::string, test::point>);
#if !TROUPE_CAF_1
  STATIC_REQUIRE_FALSE(troupe::compat::encodable<int, no_inspect>);
#endif
}

// -- functions ----------------------------------------------------------------

TEST_CASE("a function is called with bytes and answers with bytes",
          "[procedure]") {
  auto known = test::all_procedures();
  troupe::compat::byte_buffer bytes;
  REQUIRE(troupe::compat::encode(bytes, 2, 3));
  auto answer = known.find("add")->invoke(bytes_of(bytes));
  int sum = 0;
  REQUIRE(troupe::compat::decode(bytes_of(answer), sum));
  CHECK(sum == 5);
}

TEST_CASE("a function is not called with bytes of other arguments",
          "[procedure]") {
  auto known = test::all_procedures();
  troupe::compat::byte_buffer bytes;
  REQUIRE(troupe::compat::encode(bytes, std::string{"two"}));
  try {
    known.find("add")->invoke(bytes_of(bytes));
    FAIL("it was called");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::bad_message);
    CHECK_THAT(why.what(), Catch::Contains("arguments of procedure 'add'")
                               && Catch::Contains("int, int"));
  }
}

TEST_CASE("a name has one function", "[procedure]") {
  auto known = test::all_procedures();
  try {
    known.add(test::add, [](int, int) { return 0; });
    FAIL("a second one was taken");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::invalid_option);
    CHECK_THAT(why.what(), Catch::Contains("'add'"));
  }
}

TEST_CASE("a null function is no function", "[procedure]") {
  troupe::procedures known;
  CHECK_THROWS_AS(known.add(test::add, std::function<int(int, int)>{}),
                  troupe::failure);
}

TEST_CASE("a table says what it has instead", "[procedure]") {
  troupe::procedures known;
  CHECK(known.why_not("add") == "has no procedures at all");
  known.add(test::add, [](int a, int b) { return a + b; });
  CHECK(known.why_not("echo") == "has only 'add'");
  CHECK(known.why_not("add") == "has it as int(int, int)");
}
