#include "troupe/node_wire.hpp"

#include <algorithm>
#include <cstring>

namespace troupe::wire {

namespace {

// Names, signatures, the text of an exception: far more than these take.
constexpr std::size_t longest_text = 64 * 1024;

class writer {
public:
  writer(kind what, std::uint64_t session, std::size_t size = 64) {
    bytes_.reserve(size);
    u8(static_cast<std::uint8_t>(what));
    u64(session);
  }

  void u8(std::uint8_t x) { bytes_ += static_cast<char>(x); }

  void u32(std::uint32_t x) { number(x); }

  void u64(std::uint64_t x) { number(x); }

  void raw(const char* data, std::size_t size) { bytes_.append(data, size); }

  void blob(const compat::byte_buffer& x) {
    u64(x.size());
    raw(reinterpret_cast<const char*>(x.data()), x.size());
  }

  // What a reader would refuse is cut: such texts are for people.
  void text(std::string_view x) {
    x = x.substr(0, longest_text);
    u32(static_cast<std::uint32_t>(x.size()));
    raw(x.data(), x.size());
  }

  std::string take() { return std::move(bytes_); }

private:
  template <class T>
  void number(T x) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
      u8(static_cast<std::uint8_t>(x >> (8 * i)));
  }

  std::string bytes_;
};

// Reads on after a failure, and gets nothing but zeros.
class reader {
public:
  explicit reader(std::string_view bytes) : rest_{bytes} {}

  std::uint8_t u8() { return number<std::uint8_t>(); }

  std::uint32_t u32() { return number<std::uint32_t>(); }

  std::uint64_t u64() { return number<std::uint64_t>(); }

  bool flag() {
    auto x = u8();
    good_ = good_ && x <= 1;
    return x == 1;
  }

  std::string_view raw(std::uint64_t size) {
    if (!good_ || size > rest_.size()) {
      good_ = false;
      return {};
    }
    auto result = rest_.substr(0, static_cast<std::size_t>(size));
    rest_.remove_prefix(result.size());
    return result;
  }

  std::string text() {
    auto size = u32();
    good_ = good_ && size <= longest_text;
    return std::string{raw(size)};
  }

  compat::byte_buffer blob() {
    auto bytes = raw(u64());
    compat::byte_buffer result(bytes.size());
    if (!bytes.empty())
      std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }

  // Of things that take so many bytes each, at the least.
  std::uint32_t count(std::uint32_t most, std::size_t least_bytes) {
    auto n = u32();
    if (n > most || n > rest_.size() / least_bytes)
      good_ = false;
    return good_ ? n : 0;
  }

  std::string_view rest() { return raw(rest_.size()); }

  bool good() const noexcept { return good_; }

  bool done() const noexcept { return good_ && rest_.empty(); }

private:
  template <class T>
  T number() {
    auto bytes = raw(sizeof(T));
    T result = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      result = static_cast<T>(
          result
          | static_cast<T>(static_cast<T>(static_cast<unsigned char>(bytes[i]))
                           << (8 * i)));
    return result;
  }

  std::string_view rest_;
  bool good_ = true;
};

reader body_of(std::string_view message) {
  reader in{message};
  in.u8();
  in.u64();
  return in;
}

template <class T>
std::optional<T> if_done(const reader& in, T& x) {
  if (!in.done())
    return {};
  return std::move(x);
}

constexpr std::uint32_t most_procedures = 100'000;

} // namespace

// -- writing ------------------------------------------------------------------

std::string write(std::uint64_t session, const hello_message& x) {
  writer out{kind::hello, session};
  out.u32(x.version);
  out.text(x.incarnation);
  out.text(x.name);
  out.text(x.place);
  out.u32(x.slots);
  out.u32(static_cast<std::uint32_t>(x.procedures.size()));
  for (const auto& p : x.procedures) {
    out.text(p.name);
    out.text(p.signature);
  }
  return out.take();
}

std::string write(std::uint64_t session, const welcome_message& x) {
  writer out{kind::welcome, session};
  out.text(x.pool);
  out.text(x.place);
  out.u64(x.heartbeat_ns);
  out.u64(x.timeout_ns);
  out.u64(x.window);
  out.u64(x.max_message);
  out.u64(x.max_run_time_ns);
  return out.take();
}

std::string write(std::uint64_t session, const refusal_message& x) {
  writer out{kind::refusal, session};
  out.u32(x.version);
  out.text(x.text);
  return out.take();
}

std::string write_calls(std::uint64_t session, const calls_message& head,
                        std::span<const compat::byte_buffer* const> arguments) {
  std::size_t size = 64 + head.name.size() + head.signature.size();
  for (const auto* x : arguments)
    size += x->size() + 8;
  writer out{kind::calls, session, size};
  out.u64(head.chunk);
  out.u64(head.time_left_ns);
  out.u8(head.stop_at_failure ? 1 : 0);
  out.text(head.name);
  out.text(head.signature);
  out.u32(static_cast<std::uint32_t>(arguments.size()));
  for (const auto* x : arguments)
    out.blob(*x);
  return out.take();
}

std::string write(std::uint64_t session, const answers_message& x) {
  std::size_t size = 64;
  for (const auto& a : x.answers)
    size += a.result.size() + a.text.size() + a.type.size() + 32;
  writer out{kind::answers, session, size};
  out.u64(x.chunk);
  out.u32(x.first);
  out.u8(x.last ? 1 : 0);
  out.u64(x.took_ns);
  out.u32(static_cast<std::uint32_t>(x.answers.size()));
  for (const auto& a : x.answers) {
    out.u8(static_cast<std::uint8_t>(a.kind));
    if (a.kind == answer_kind::value) {
      out.blob(a.result);
      continue;
    }
    out.u8(a.code);
    out.u8(a.started ? 1 : 0);
    out.u32(a.pid);
    out.text(a.type);
    out.text(a.text);
  }
  return out.take();
}

std::string write(std::uint64_t session, kind what, const chunk_message& x) {
  writer out{what, session};
  out.u64(x.chunk);
  out.u32(x.from);
  return out.take();
}

std::string write(std::uint64_t session, const piece_message& x) {
  writer out{kind::piece, session, x.bytes.size() + 32};
  out.u64(x.transfer);
  out.u64(x.total);
  out.raw(x.bytes.data(), x.bytes.size());
  return out.take();
}

std::string write_ack(std::uint64_t session, std::uint64_t bytes) {
  writer out{kind::ack, session};
  out.u64(bytes);
  return out.take();
}

std::string write_text(std::uint64_t session, kind what,
                       std::string_view text) {
  writer out{what, session};
  out.text(text);
  return out.take();
}

// -- reading ------------------------------------------------------------------

std::optional<header> read_header(std::string_view message) {
  reader in{message};
  auto what = in.u8();
  header result{static_cast<kind>(what), in.u64()};
  if (!in.good() || what < static_cast<std::uint8_t>(kind::hello)
      || what > static_cast<std::uint8_t>(kind::bye))
    return {};
  return result;
}

std::optional<hello_message> read_hello(std::string_view message) {
  auto in = body_of(message);
  hello_message x;
  x.version = in.u32();
  // Who speaks another version may go on as he likes.
  if (in.good() && x.version != version)
    return x;
  x.incarnation = in.text();
  x.name = in.text();
  x.place = in.text();
  x.slots = in.u32();
  auto n = in.count(most_procedures, 8);
  x.procedures.reserve(n);
  for (std::uint32_t i = 0; i < n && in.good(); ++i) {
    auto name = in.text();
    x.procedures.push_back({std::move(name), in.text()});
  }
  return if_done(in, x);
}

std::optional<welcome_message> read_welcome(std::string_view message) {
  auto in = body_of(message);
  welcome_message x;
  x.pool = in.text();
  x.place = in.text();
  x.heartbeat_ns = in.u64();
  x.timeout_ns = in.u64();
  x.window = in.u64();
  x.max_message = in.u64();
  x.max_run_time_ns = in.u64();
  return if_done(in, x);
}

std::optional<refusal_message> read_refusal(std::string_view message) {
  auto in = body_of(message);
  refusal_message x;
  x.version = in.u32();
  x.text = in.text();
  return if_done(in, x);
}

std::optional<calls_message> read_calls(std::string_view message) {
  auto in = body_of(message);
  calls_message x;
  x.chunk = in.u64();
  x.time_left_ns = in.u64();
  x.stop_at_failure = in.flag();
  x.name = in.text();
  x.signature = in.text();
  auto n = in.count(most_calls, 8);
  x.arguments.reserve(n);
  for (std::uint32_t i = 0; i < n && in.good(); ++i)
    x.arguments.push_back(in.blob());
  if (n == 0)
    return {};
  return if_done(in, x);
}

std::optional<answers_message> read_answers(std::string_view message) {
  auto in = body_of(message);
  answers_message x;
  x.chunk = in.u64();
  x.first = in.u32();
  x.last = in.flag();
  x.took_ns = in.u64();
  auto n = in.count(most_calls, 9);
  x.answers.reserve(n);
  for (std::uint32_t i = 0; i < n && in.good(); ++i) {
    auto& a = x.answers.emplace_back();
    auto what = in.u8();
    if (what > static_cast<std::uint8_t>(answer_kind::failed))
      return {};
    a.kind = static_cast<answer_kind>(what);
    if (a.kind == answer_kind::value) {
      a.result = in.blob();
      continue;
    }
    a.code = in.u8();
    a.started = in.flag();
    a.pid = in.u32();
    a.type = in.text();
    a.text = in.text();
  }
  return if_done(in, x);
}

std::optional<chunk_message> read_chunk(std::string_view message) {
  auto in = body_of(message);
  chunk_message x;
  x.chunk = in.u64();
  x.from = in.u32();
  return if_done(in, x);
}

std::optional<piece_message> read_piece(std::string_view message) {
  auto in = body_of(message);
  piece_message x;
  x.transfer = in.u64();
  x.total = in.u64();
  x.bytes = in.rest();
  return if_done(in, x);
}

std::optional<std::uint64_t> read_ack(std::string_view message) {
  auto in = body_of(message);
  auto x = in.u64();
  return if_done(in, x);
}

std::optional<std::string> read_text(std::string_view message) {
  auto in = body_of(message);
  auto x = in.text();
  return if_done(in, x);
}

// -- large messages -----------------------------------------------------------

std::optional<std::string> assembly::take(const piece_message& piece) {
  if (piece.bytes.empty() || piece.bytes.size() > piece_size
      || piece.total > largest_ || piece.bytes.size() > piece.total)
    return {};
  auto at = std::find_if(open_.begin(), open_.end(), [&](const transfer& x) {
    return x.number == piece.transfer;
  });
  if (at == open_.end()) {
    if (open_.size() == most_)
      return {};
    open_.push_back({piece.transfer, piece.total, {}});
    at = std::prev(open_.end());
  }
  if (piece.total != at->total
      || piece.bytes.size() > at->total - at->bytes.size())
    return {};
  // Room is made as bytes arrive, not as they are announced.
  at->bytes.append(piece.bytes);
  if (at->bytes.size() < at->total)
    return std::string{};
  auto result = std::move(at->bytes);
  open_.erase(at);
  return result;
}

void assembly::drop(std::uint64_t number) noexcept {
  std::erase_if(open_, [&](const transfer& x) { return x.number == number; });
}

} // namespace troupe::wire
