// The memory that a worker and its process share: which calls have begun, which
// are taken back, and answers that one side leaves for the other. Both sides
// are in this process here.

#include "troupe/call_page.hpp"

#include <catch2/catch.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <thread>

using troupe::call_page;
using troupe::page_answer;

namespace {

struct two_sides {
  troupe::unique_fd memory = call_page::make();
  call_page worker{memory.get()};
  call_page process{memory.get()};
};

troupe::compat::byte_buffer bytes_of(std::string_view text) {
  auto first = reinterpret_cast<const troupe::compat::byte_buffer::value_type*>(
      text.data());
  return {first, first + text.size()};
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

} // namespace

TEST_CASE("calls begin one after the other, and no more than were offered",
          "[call_page]") {
  two_sides s;
  REQUIRE(s.worker.valid());
  s.worker.open(2);
  CHECK(s.worker.begun() == 0);
  CHECK(s.process.begin_next());
  CHECK(s.worker.begun() == 1);
  CHECK(s.process.begin_next());
  CHECK_FALSE(s.process.begin_next());
  CHECK(s.worker.begun() == 2);
}

TEST_CASE("what is taken back does not begin", "[call_page]") {
  two_sides s;
  s.worker.open(5);
  REQUIRE(s.process.begin_next());
  CHECK(s.worker.take_back(2) == 2);
  CHECK(s.process.begin_next());
  CHECK_FALSE(s.process.begin_next());
  CHECK(s.worker.take_back(0) == 2);
}

TEST_CASE("what has begun is not taken back", "[call_page]") {
  two_sides s;
  s.worker.open(5);
  for (int i = 0; i < 3; ++i)
    REQUIRE(s.process.begin_next());
  CHECK(s.worker.take_back(1) == 3);
  CHECK(s.worker.begun() == 3);
}

// Each call is begun or taken back, and never both. Failure is a sum that is
// wrong.
TEST_CASE("a call is begun or taken back, whoever is faster", "[call_page]") {
  two_sides s;
  for (int round = 0; round < 2'000; ++round) {
    s.worker.open(50);
    std::uint32_t begun = 0;
    std::thread process{[&] {
      while (s.process.begin_next())
        ++begun;
    }};
    auto kept = s.worker.take_back(0);
    process.join();
    REQUIRE(begun == kept);
  }
}

TEST_CASE("answers are read in their order", "[call_page]") {
  two_sides s;
  s.worker.open(3);
  s.process.rewind();
  for (auto text : {"one", "", "three"}) {
    REQUIRE(s.process.begin_next());
    REQUIRE(s.process.leave(bytes_of("m"), bytes_of(text)));
  }
  CHECK(s.worker.answered() == 3);
  page_answer x;
  for (auto text : {"one", "", "three"}) {
    REQUIRE(s.worker.read(x));
    CHECK(text_of(x.meta) == "m");
    CHECK(text_of(x.body) == text);
  }
}

TEST_CASE("an answer that finds no room is not left", "[call_page]") {
  two_sides s;
  s.worker.open(2);
  s.process.rewind();
  REQUIRE(s.process.begin_next());
  CHECK_FALSE(s.process.leave({}, bytes_of(std::string(call_page::room, 'x'))));
  CHECK(s.worker.answered() == 0);
  CHECK(s.process.leave({}, bytes_of(std::string(call_page::room - 8, 'x'))));
  CHECK(s.worker.answered() == 1);
  CHECK_FALSE(s.process.leave({}, {}));
}

TEST_CASE("numbers that make no sense are not believed", "[call_page]") {
  two_sides s;
  s.worker.open(2);
  auto size = static_cast<std::size_t>(::lseek(s.memory.get(), 0, SEEK_END));
  auto memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED,
                       s.memory.get(), 0);
  REQUIRE(memory != MAP_FAILED);
  std::memset(memory, 0xFF, size);
  CHECK(s.worker.begun() == 2);
  CHECK(s.worker.answered() == 2);
  page_answer x;
  CHECK_FALSE(s.worker.read(x));
  ::munmap(memory, size);
}

TEST_CASE("neither side can resize the memory", "[call_page]") {
  two_sides s;
  CHECK(::ftruncate(s.memory.get(), 0) != 0);
}
