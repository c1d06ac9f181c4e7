// What the messages between a pool and its nodes promise: they arrive as they
// were written, and whatever else arrives is refused, without memory being made
// ready for what it only announces.

#include "troupe/node_wire.hpp"

#include <catch2/catch.hpp>

#include <random>

namespace wire = troupe::wire;

using troupe::compat::byte_buffer;

namespace {

byte_buffer bytes_of(std::string_view text) {
  byte_buffer result(text.size());
  for (std::size_t i = 0; i < text.size(); ++i)
    result[i] = static_cast<byte_buffer::value_type>(text[i]);
  return result;
}

std::string calls_of(const std::vector<byte_buffer>& arguments) {
  wire::calls_message head;
  head.chunk = 7;
  head.time_left_ns = 12;
  head.stop_at_failure = true;
  head.name = "echo";
  head.signature = "int(int)";
  std::vector<const byte_buffer*> all;
  for (const auto& x : arguments)
    all.push_back(&x);
  return wire::write_calls(3, head, all);
}

std::string answers_text() {
  wire::answers_message message;
  message.chunk = 9;
  message.first = 2;
  message.last = true;
  message.took_ns = 1'234;
  message.answers.resize(2);
  message.answers[0].result = bytes_of("abc");
  message.answers[1] = {
      wire::answer_kind::threw, 1, true, 4711, "type", "text", {}};
  return wire::write(3, message);
}

/// One of each kind.
std::vector<std::string> some_messages() {
  return {
      wire::write(3, wire::hello_message{wire::version,
                                         "inc",
                                         "name",
                                         "place",
                                         4,
                                         {{"f", "int()"}, {"g", "void()"}}}),
      wire::write(3, wire::welcome_message{"pool", "place", 1, 2, 3, 4, 5}),
      wire::write(3, wire::refusal_message{5, "why"}),
      calls_of({bytes_of("a"), {}, bytes_of("ccc")}),
      answers_text(),
      wire::write(3, wire::kind::cancel, {8, 0}),
      wire::write(3, wire::piece_message{1, 100, "some"}),
      wire::write_ack(3, 99),
      wire::write_text(3, wire::kind::bye, "farewell"),
  };
}

/// Reads it as what it says it is. Returns whether that was accepted.
bool reads(std::string_view message) {
  auto head = wire::read_header(message);
  if (!head)
    return false;
  switch (head->kind) {
  case wire::kind::hello:
    return wire::read_hello(message).has_value();
  case wire::kind::welcome:
    return wire::read_welcome(message).has_value();
  case wire::kind::refusal:
    return wire::read_refusal(message).has_value();
  case wire::kind::calls:
    return wire::read_calls(message).has_value();
  case wire::kind::answers:
    return wire::read_answers(message).has_value();
  case wire::kind::give_back:
  case wire::kind::cancel:
    return wire::read_chunk(message).has_value();
  case wire::kind::piece:
    return wire::read_piece(message).has_value();
  case wire::kind::ack:
    return wire::read_ack(message).has_value();
  case wire::kind::ping:
  case wire::kind::drain:
  case wire::kind::bye:
    return wire::read_text(message).has_value();
  }
  return false;
}

} // namespace

TEST_CASE("calls arrive as they were written", "[node_wire]") {
  auto message = calls_of({bytes_of("a"), {}, bytes_of("ccc")});
  auto head = wire::read_header(message);
  REQUIRE(head);
  CHECK(head->kind == wire::kind::calls);
  CHECK(head->session == 3);
  auto calls = wire::read_calls(message);
  REQUIRE(calls);
  CHECK(calls->chunk == 7);
  CHECK(calls->time_left_ns == 12);
  CHECK(calls->stop_at_failure);
  CHECK(calls->name == "echo");
  CHECK(calls->signature == "int(int)");
  CHECK(calls->arguments
        == std::vector<byte_buffer>{bytes_of("a"), {}, bytes_of("ccc")});
}

TEST_CASE("answers arrive as they were written", "[node_wire]") {
  auto answers = wire::read_answers(answers_text());
  REQUIRE(answers);
  CHECK(answers->chunk == 9);
  CHECK(answers->first == 2);
  CHECK(answers->last);
  CHECK(answers->took_ns == 1'234);
  REQUIRE(answers->answers.size() == 2);
  CHECK(answers->answers[0].kind == wire::answer_kind::value);
  CHECK(answers->answers[0].result == bytes_of("abc"));
  const auto& threw = answers->answers[1];
  CHECK(threw.kind == wire::answer_kind::threw);
  CHECK(threw.started);
  CHECK(threw.pid == 4711);
  CHECK(threw.type == "type");
  CHECK(threw.text == "text");
}

TEST_CASE("a hello arrives as it was written", "[node_wire]") {
  auto hello = wire::read_hello(some_messages()[0]);
  REQUIRE(hello);
  CHECK(hello->incarnation == "inc");
  CHECK(hello->name == "name");
  CHECK(hello->slots == 4);
  REQUIRE(hello->procedures.size() == 2);
  CHECK(hello->procedures[1].name == "g");
  CHECK(hello->procedures[1].signature == "void()");
}

TEST_CASE("a hello of another version is read as far as that", "[node_wire]") {
  wire::hello_message other;
  other.version = wire::version + 1;
  auto text = wire::write(3, other) + "and what that version has besides";
  auto hello = wire::read_hello(text);
  REQUIRE(hello);
  CHECK(hello->version == wire::version + 1);
  // Of one's own version it would be garbage.
  other.version = wire::version;
  CHECK_FALSE(wire::read_hello(wire::write(3, other) + "more"));
}

TEST_CASE("each kind of message is read, but not cut short, nor with something "
          "behind it",
          "[node_wire]") {
  for (const auto& message : some_messages()) {
    auto kind = static_cast<int>(wire::read_header(message)->kind);
    CAPTURE(kind);
    CHECK(reads(message));
    // What a piece holds has no length of its own.
    if (wire::read_header(message)->kind == wire::kind::piece)
      continue;
    for (std::size_t n = 0; n < message.size(); ++n) {
      CAPTURE(n);
      CHECK_FALSE(reads(std::string_view{message}.substr(0, n)));
    }
    CHECK_FALSE(reads(message + '\0'));
  }
}

TEST_CASE("a count that cannot be is refused before there is room for it",
          "[node_wire]") {
  auto message = calls_of({bytes_of("a")});
  // The count stands before the length and the byte of the only argument.
  auto at = message.size() - 1 - 8 - 4;
  for (std::size_t i = 0; i < 4; ++i)
    message[at + i] = '\xFF';
  CHECK_FALSE(wire::read_calls(message));
  auto lengths = calls_of({bytes_of("a")});
  for (std::size_t i = 0; i < 8; ++i)
    lengths[lengths.size() - 1 - 8 + i] = '\xFF';
  CHECK_FALSE(wire::read_calls(lengths));
}

TEST_CASE("no calls are no message", "[node_wire]") {
  CHECK_FALSE(wire::read_calls(calls_of({})));
}

TEST_CASE("messages with changed bytes are read or refused, and harm nothing",
          "[node_wire]") {
  std::minstd_rand random{42};
  std::size_t refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    auto all = some_messages();
    auto& message = all[random() % all.size()];
    for (auto n = random() % 4 + 1; n > 0; --n)
      message[random() % message.size()] = static_cast<char>(random());
    refused += !reads(message);
  }
  CHECK(refused > 0);
}

TEST_CASE("pieces become the message again, also when two are on their way",
          "[node_wire]") {
  wire::assembly pieces{100, 2};
  CHECK(pieces.take({1, 6, "abc"}) == "");
  CHECK(pieces.take({2, 4, "12"}) == "");
  CHECK(pieces.open() == 2);
  CHECK(pieces.take({1, 6, "def"}) == "abcdef");
  CHECK(pieces.take({2, 4, "34"}) == "1234");
  CHECK(pieces.open() == 0);
}

TEST_CASE("pieces that cannot be are refused", "[node_wire]") {
  wire::assembly pieces{100, 1};
  CHECK_FALSE(pieces.take({1, 101, "abc"}));
  CHECK_FALSE(pieces.take({1, 2, "abc"}));
  CHECK_FALSE(pieces.take({1, 6, ""}));
  CHECK(pieces.take({1, 6, "abc"}) == "");
  // Another total; more than the total; one transfer too many.
  CHECK_FALSE(pieces.take({1, 7, "d"}));
  CHECK_FALSE(pieces.take({1, 6, "defg"}));
  CHECK_FALSE(pieces.take({2, 6, "abc"}));
  pieces.drop(1);
  CHECK(pieces.take({2, 6, "abc"}) == "");
}
