// What a pool of nodes and its nodes say to each other, as bytes: each message
// is one text that CAF carries, since CAF checks the length of a text before it
// makes room for it. Nothing is believed: counts and lengths are compared with
// what is there before anything is allocated. Knows neither actors nor sockets.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "troupe/caf_compat.hpp"

namespace troupe::wire {

/// Changes whenever messages do; but `hello` and `refusal` begin the same in
/// all versions.
inline constexpr std::uint32_t version = 2;

/// The most bytes that travel in one message: few enough that a link that is
/// slow is heard of often, and a link that is fast is used.
inline constexpr std::size_t piece_size = 256 * 1024;

/// What a message may have besides the arguments or the results of its calls,
/// in bytes.
inline constexpr std::uint64_t overhead = 4 * 1024 * 1024;

/// The most bytes that CAF is let carry at once: a piece, which is what the
/// largest messages are cut into, or all that a node says in its hello, with
/// what CAF adds to either.
inline constexpr std::uint64_t most_bytes = piece_size + overhead;

/// The most calls in a message.
inline constexpr std::uint32_t most_calls = 4096;

enum class kind : std::uint8_t {
  /// From the node, first: hello_message.
  hello = 1,
  /// To the node, the answer to it: welcome_message.
  welcome,
  /// To the node, the other answer: refusal_message.
  refusal,
  /// To the node: calls_message.
  calls,
  /// From the node: answers_message.
  answers,
  /// From the node: chunk_message. Calls of the chunk from some number on will
  /// not be made.
  give_back,
  /// To the node: chunk_message. Nobody waits for the chunk any more.
  cancel,
  /// Both ways: piece_message.
  piece,
  /// Both ways: how many bytes of calls, answers and pieces have arrived.
  ack,
  /// Both ways: nothing but that somebody is there.
  ping,
  /// From the node: it takes no more calls.
  drain,
  /// Both ways: the session is over; the text says why.
  bye,
};

/// Opens every message.
struct header {
  wire::kind kind{};
  std::uint64_t session = 0;
};

struct named_signature {
  std::string name;
  std::string signature;
};

struct hello_message {
  std::uint32_t version = wire::version;
  /// Told from all other nodes by this, and from itself before it was started
  /// again.
  std::string incarnation;
  std::string name;
  /// For people: machine and process.
  std::string place;
  std::uint32_t slots = 0;
  std::vector<named_signature> procedures;
};

struct welcome_message {
  std::string pool;
  std::string place;
  std::uint64_t heartbeat_ns = 0;
  std::uint64_t timeout_ns = 0;
  /// How many bytes may be under way each way.
  std::uint64_t window = 0;
  /// The most bytes of arguments, or of a result.
  std::uint64_t max_message = 0;
  /// A call that runs longer is ended; 0: any time.
  std::uint64_t max_run_time_ns = 0;
};

struct refusal_message {
  std::uint32_t version = wire::version;
  std::string text;
};

struct calls_message {
  std::uint64_t chunk = 0;
  /// Until nobody wants the results any more; `forever`: any time.
  std::uint64_t time_left_ns = 0;
  bool stop_at_failure = false;
  std::string name;
  std::string signature;
  std::vector<compat::byte_buffer> arguments;
};

inline constexpr std::uint64_t forever = ~std::uint64_t{0};

enum class answer_kind : std::uint8_t {
  value,
  /// The function threw.
  threw,
  /// The call failed with a `troupe::ec`.
  failed,
};

struct call_answer {
  answer_kind kind = answer_kind::value;
  /// Of a failure: its code, and whether the call was started.
  std::uint8_t code = 0;
  bool started = false;
  /// Of an exception: where it was thrown, its type, and what it said.
  std::uint32_t pid = 0;
  std::string type;
  std::string text;
  compat::byte_buffer result;
};

/// What came of the calls of a chunk from `first` on.
struct answers_message {
  std::uint64_t chunk = 0;
  std::uint32_t first = 0;
  /// Nothing more comes of this chunk: what has no answer by now has not begun.
  bool last = false;
  /// How long the node has been at the chunk.
  std::uint64_t took_ns = 0;
  std::vector<call_answer> answers;
};

struct chunk_message {
  std::uint64_t chunk = 0;
  /// Of `give_back`: the first call that is given back.
  std::uint32_t from = 0;
};

/// A part of a message that is too large for one; the parts come in order.
struct piece_message {
  std::uint64_t transfer = 0;
  /// How many bytes all of them have.
  std::uint64_t total = 0;
  std::string_view bytes;
};

// -- writing ------------------------------------------------------------------

std::string write(std::uint64_t session, const hello_message& x);
std::string write(std::uint64_t session, const welcome_message& x);
std::string write(std::uint64_t session, const refusal_message& x);

/// Writes a chunk of calls; the arguments are those of the caller.
std::string write_calls(std::uint64_t session, const calls_message& head,
                        std::span<const compat::byte_buffer* const> arguments);

std::string write(std::uint64_t session, const answers_message& x);
std::string write(std::uint64_t session, kind what, const chunk_message& x);
std::string write(std::uint64_t session, const piece_message& x);
std::string write_ack(std::uint64_t session, std::uint64_t bytes);
std::string write_text(std::uint64_t session, kind what, std::string_view text);

// -- reading ------------------------------------------------------------------

/// Returns the header, or nothing if there is none.
std::optional<header> read_header(std::string_view message);

// Each returns nothing if the message is not whole, has something behind its
// end, or has a count that cannot be.

std::optional<hello_message> read_hello(std::string_view message);
std::optional<welcome_message> read_welcome(std::string_view message);
std::optional<refusal_message> read_refusal(std::string_view message);
std::optional<calls_message> read_calls(std::string_view message);
std::optional<answers_message> read_answers(std::string_view message);
std::optional<chunk_message> read_chunk(std::string_view message);
std::optional<piece_message> read_piece(std::string_view message);
std::optional<std::uint64_t> read_ack(std::string_view message);
std::optional<std::string> read_text(std::string_view message);

/// Puts the pieces of large messages together again.
class assembly {
public:
  /// `largest`: the most bytes of a message; `most`: how many may be under way
  /// at once.
  assembly(std::uint64_t largest, std::size_t most) noexcept
      : largest_{largest}, most_{most} {}

  /// Takes a piece. Returns the message if it is whole now, else an empty text.
  ///
  /// Errors: returns nothing if the piece cannot be.
  std::optional<std::string> take(const piece_message& piece);

  /// Forgets what has arrived of a message whose rest will not come.
  void drop(std::uint64_t transfer) noexcept;

  /// Returns how many messages are under way.
  std::size_t open() const noexcept { return open_.size(); }

private:
  struct transfer {
    std::uint64_t number;
    std::uint64_t total;
    std::string bytes;
  };

  std::uint64_t largest_;
  std::size_t most_;
  std::vector<transfer> open_;
};

} // namespace troupe::wire
