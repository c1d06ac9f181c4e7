// Memory that a worker and its process share while calls travel together. Here
// the process takes each call before it runs it, so that at any moment, also
// when it has crashed, it is known which calls have begun; here it leaves its
// answers, so that none is lost with it; and here the worker takes back what
// has not begun, behind a call that takes its time.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "troupe/caf_compat.hpp"
#include "troupe/unique_fd.hpp"

namespace troupe {

/// An answer as it lies in the page.
struct page_answer {
  std::span<const std::byte> meta;
  std::span<const std::byte> body;
};

/// One side's view of the memory. A process that runs wild may write anything
/// into it, so the worker believes no number there.
///
/// Invariants: (1) A call has begun when the process has raised `next` behind
///                 it, by compare-and-swap of the word that holds `next` and
///                 `end`; lowering `end` in the same way takes calls back. So
///                 each is either begun or taken back.
///             (2) The first `answered` answers are complete, and stay as they
///                 are until the worker opens the page for other calls.
class call_page {
public:
  /// How many bytes of answers find room.
  static constexpr std::size_t room = 256 * 1024;

  /// Returns memory for two sides to share, which neither can resize; -1 and
  /// `errno` if there is none.
  static unique_fd make() noexcept;

  call_page() noexcept = default;

  /// Maps the memory. Check `valid`.
  explicit call_page(int fd) noexcept;

  call_page(call_page&& other) noexcept { *this = std::move(other); }

  call_page& operator=(call_page&& other) noexcept;

  ~call_page();

  bool valid() const noexcept { return memory_ != nullptr; }

  // -- the worker's side ------------------------------------------------------

  /// Offers so many calls.
  void open(std::uint32_t calls) noexcept;

  /// Takes back what has not begun, but for the first `least` calls. Returns
  /// how many are not taken back.
  std::uint32_t take_back(std::uint32_t least) noexcept;

  /// Returns how many calls have begun.
  std::uint32_t begun() const noexcept;

  /// Returns how many answers are there.
  std::uint32_t answered() const noexcept;

  /// Reads the next answer, of those `answered` has told of. Returns false if
  /// what is there makes no sense.
  bool read(page_answer& result) noexcept;

  // -- the process's side -----------------------------------------------------

  /// Begins the next call. Returns false if there is none.
  bool begin_next() noexcept;

  /// Gives back all calls that have not begun.
  void close() noexcept { take_back(0); }

  /// Starts with the first answer.
  void rewind() noexcept { position_ = 0; }

  /// Leaves an answer. Returns false if there is no room for it.
  bool leave(const compat::byte_buffer& meta,
             const compat::byte_buffer& body) noexcept;

private:
  struct layout;

  layout* memory_ = nullptr;
  std::uint32_t offered_ = 0;
  std::size_t position_ = 0;
};

} // namespace troupe
