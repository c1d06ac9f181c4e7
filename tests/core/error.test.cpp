// What a failure says: type and message of any exception, codes and places, and
// that nothing of it is lost on the way through a CAF error.

#include "troupe/error.hpp"

#include "troupe/messages.hpp"

#include <catch2/catch.hpp>

#include <caf/error.hpp>
#include <caf/sec.hpp>

#include <exception>
#include <set>
#include <stdexcept>
#include <string>

using troupe::describe;
using troupe::ec;
using troupe::failure;

namespace shop {

/// An exception type of a user who does not care for std::exception.
struct sold_out {
  int item;
};

} // namespace shop

namespace {

template <class T>
std::exception_ptr thrown(T what) {
  return std::make_exception_ptr(std::move(what));
}

/// Returns a runtime_error that is nested in another one.
std::exception_ptr nested() {
  try {
    try {
      throw std::out_of_range{"row 7"};
    } catch (...) {
      std::throw_with_nested(std::runtime_error{"cannot read the table"});
    }
  } catch (...) {
    return std::current_exception();
  }
}

} // namespace

// -- describe -----------------------------------------------------------------

TEST_CASE("a standard exception is described by type and message", "[error]") {
  CHECK(describe(thrown(std::runtime_error{"disk on fire"}))
        == "std::runtime_error: disk on fire");
  CHECK(describe(thrown(std::out_of_range{"row 7"}))
        == "std::out_of_range: row 7");
}

TEST_CASE("a nested exception is described with its cause", "[error]") {
  CHECK(describe(nested())
        == "std::runtime_error: cannot read the table; because of "
           "std::out_of_range: row 7");
}

TEST_CASE("an exception that is no std::exception is described all the same",
          "[error]") {
  CHECK(describe(thrown(7)) == "int: 7");
  CHECK(describe(thrown(std::string{"no luck"})) == "std::string: no luck");
  CHECK(describe(thrown(static_cast<const char*>("no luck")))
        == "const char*: no luck");
  CHECK(describe(thrown(shop::sold_out{3})) == "shop::sold_out");
}

TEST_CASE("no exception is described as that", "[error]") {
  CHECK(describe(std::exception_ptr{}) == "no exception");
}

// -- codes --------------------------------------------------------------------

TEST_CASE("each code has a name of its own and none is 0", "[error]") {
  std::set<std::string_view> names;
  auto last = static_cast<int>(ec::closed);
  for (int i = 1; i <= last; ++i)
    names.insert(troupe::to_string(static_cast<ec>(i)));
  CHECK(names.size() == static_cast<std::size_t>(last));
  CHECK(names.count("unknown code") == 0);
  CHECK(troupe::to_string(ec::queue_full) == "queue_full");
  CHECK(troupe::to_string(ec{}) == "unknown code");
}

// -- failure ------------------------------------------------------------------

TEST_CASE("a failure carries code, text, label and worker", "[error]") {
  failure err{ec::deadline_exceeded, "too slow", true, "row 7", 3};
  CHECK(err.code() == ec::deadline_exceeded);
  CHECK(err.what() == std::string{"too slow"});
  CHECK(err.started());
  CHECK(err.label() == "row 7");
  CHECK(err.worker() == 3);
}

TEST_CASE("a failure without a place says that it never started", "[error]") {
  failure err{ec::queue_full, "no room"};
  CHECK_FALSE(err.started());
  CHECK(err.label().empty());
  CHECK(err.worker() == 0);
}

// -- records ------------------------------------------------------------------

TEST_CASE("a record of an exception names request and worker", "[error]") {
  auto record = troupe::make_failure(thrown(std::runtime_error{"disk on fire"}),
                                     "row 7", 3, "io-3");
  CHECK(record->code == ec::request_failed);
  CHECK(record->started);
  CHECK(record->text
        == "std::runtime_error: disk on fire (request 'row 7' on worker io-3)");
  CHECK(record->label == "row 7");
  CHECK(record->worker == 3);
}

TEST_CASE("a record of an exception gives the original back", "[error]") {
  auto record = troupe::make_failure(thrown(shop::sold_out{3}), {}, 1, "io-1");
  try {
    troupe::rethrow(*record);
    FAIL("rethrow returned");
  } catch (const shop::sold_out& err) {
    CHECK(err.item == 3);
  }
}

TEST_CASE("a record without an exception is thrown as a failure", "[error]") {
  auto record =
      troupe::make_failure(ec::cancelled, "it was cancelled", false, "row 7");
  try {
    troupe::rethrow(*record);
    FAIL("rethrow returned");
  } catch (const failure& err) {
    CHECK(err.code() == ec::cancelled);
    CHECK(err.what() == std::string{"it was cancelled (request 'row 7')"});
    CHECK(err.label() == "row 7");
    CHECK_FALSE(err.started());
  }
}

TEST_CASE("a request that throws a failure keeps its code", "[error]") {
  auto record = troupe::make_failure(
      thrown(failure{ec::resource_unavailable, "no connection"}), {}, 1,
      "io-1");
  CHECK(record->code == ec::resource_unavailable);
}

// -- errors -------------------------------------------------------------------

TEST_CASE("an error gives back the exception that it was made of", "[error]") {
  auto err = troupe::to_error(
      troupe::make_failure(thrown(shop::sold_out{3}), "row 7", 3, "io-3"));
  CHECK(err == ec::request_failed);
  CHECK(describe(err)
        == "request_failed: shop::sold_out (request 'row 7' on worker io-3)");
  auto original = troupe::exception_of(err);
  REQUIRE(original);
  try {
    std::rethrow_exception(original);
  } catch (const shop::sold_out& found) {
    CHECK(found.item == 3);
  }
}

TEST_CASE("a copy of an error still has the exception", "[error]") {
  auto err = troupe::to_error(
      troupe::make_failure(thrown(7), std::string{}, 1, "io-1"));
  auto copy = err;
  err = caf::error{};
  CHECK(troupe::exception_of(copy));
  CHECK_FALSE(troupe::exception_of(err));
}

TEST_CASE("an error gives back the record that it was made of", "[error]") {
  auto record =
      troupe::make_failure(ec::pool_stopped, "it stopped", false, "row 7");
  auto err = troupe::to_error(record);
  CHECK(troupe::failure_of(err) == record);
  CHECK_FALSE(troupe::exception_of(err));
}

TEST_CASE("a failure becomes an error with the same code, text and place",
          "[error]") {
  auto err = failure{ec::would_deadlock, "a ring", true, {}, 2}.to_error();
  CHECK(err == ec::would_deadlock);
  auto record = troupe::failure_of(err);
  CHECK(record->text == "a ring");
  CHECK(record->started);
  CHECK(record->worker == 2);
}

TEST_CASE("an error can be made, copied and shown before any configuration",
          "[error]") {
  // CAF 1.x ended the program when it had not been told of the types first. No
  // test of this file does so, and CTest gives each a process of its own.
  auto err = failure{ec::queue_full, "no room"}.to_error();
  auto copy = err;
  CHECK(copy == ec::queue_full);
  CHECK(troupe::describe(copy) == "queue_full: no room");
  CHECK_FALSE(caf::to_string(copy).empty());
}

TEST_CASE("an error that others made becomes a record that names it",
          "[error]") {
  auto record = troupe::failure_of(caf::make_error(caf::sec::cannot_open_file));
  CHECK(record->code == ec::request_failed);
  CHECK(record->text.find("cannot_open_file") != std::string::npos);
  CHECK_FALSE(troupe::exception_of(caf::sec::cannot_open_file));
}
