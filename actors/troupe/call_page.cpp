#include "troupe/call_page.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace troupe {

namespace {

struct answer_header {
  std::uint32_t meta_size;
  std::uint32_t body_size;
};

std::uint64_t pack(std::uint32_t next, std::uint32_t end) noexcept {
  return (std::uint64_t{end} << 32) | next;
}

std::uint32_t next_of(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word);
}

std::uint32_t end_of(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word >> 32);
}

} // namespace

struct call_page::layout {
  alignas(64) std::atomic<std::uint64_t> calls;
  alignas(64) std::atomic<std::uint32_t> answered;
  std::byte answers[room];

  static_assert(std::atomic<std::uint64_t>::is_always_lock_free
                && std::atomic<std::uint32_t>::is_always_lock_free);
};

unique_fd call_page::make() noexcept {
  unique_fd made{
      ::memfd_create("troupe-calls", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (made.get() < 0
      || ::ftruncate(made.get(), static_cast<off_t>(sizeof(layout))) != 0
      || ::fcntl(made.get(), F_ADD_SEALS,
                 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
             != 0)
    return {};
  return made;
}

call_page::call_page(int fd) noexcept {
  auto memory = ::mmap(nullptr, sizeof(layout), PROT_READ | PROT_WRITE,
                       MAP_SHARED, fd, 0);
  // Zero is a good value of an atomic number.
  if (memory != MAP_FAILED)
    memory_ = static_cast<layout*>(memory);
}

call_page& call_page::operator=(call_page&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(offered_, other.offered_);
  std::swap(position_, other.position_);
  return *this;
}

call_page::~call_page() {
  if (memory_)
    ::munmap(memory_, sizeof(layout));
}

// -- the worker's side --------------------------------------------------------

void call_page::open(std::uint32_t calls) noexcept {
  offered_ = calls;
  position_ = 0;
  memory_->answered.store(0, std::memory_order_relaxed);
  memory_->calls.store(pack(0, calls), std::memory_order_release);
}

std::uint32_t call_page::take_back(std::uint32_t least) noexcept {
  auto word = memory_->calls.load(std::memory_order_acquire);
  for (;;) {
    auto kept = std::max(next_of(word), std::min(least, end_of(word)));
    if (kept >= end_of(word)
        || memory_->calls.compare_exchange_weak(word, pack(next_of(word), kept),
                                                std::memory_order_acq_rel))
      return std::min({kept, end_of(word), offered_});
  }
}

std::uint32_t call_page::begun() const noexcept {
  auto word = memory_->calls.load(std::memory_order_acquire);
  return std::min(next_of(word), offered_);
}

std::uint32_t call_page::answered() const noexcept {
  return std::min(memory_->answered.load(std::memory_order_acquire), begun());
}

bool call_page::read(page_answer& result) noexcept {
  answer_header header;
  if (room - position_ < sizeof(header))
    return false;
  std::memcpy(&header, memory_->answers + position_, sizeof(header));
  position_ += sizeof(header);
  auto size = std::size_t{header.meta_size} + header.body_size;
  if (room - position_ < size)
    return false;
  result.meta = {memory_->answers + position_, header.meta_size};
  result.body = {memory_->answers + position_ + header.meta_size,
                 header.body_size};
  position_ += size;
  return true;
}

// -- the process's side -------------------------------------------------------

bool call_page::begin_next() noexcept {
  auto word = memory_->calls.load(std::memory_order_acquire);
  do {
    if (next_of(word) >= end_of(word))
      return false;
  } while (!memory_->calls.compare_exchange_weak(
      word, pack(next_of(word) + 1, end_of(word)), std::memory_order_acq_rel));
  return true;
}

bool call_page::leave(const compat::byte_buffer& meta,
                      const compat::byte_buffer& body) noexcept {
  auto left = room - position_;
  if (left < sizeof(answer_header) || meta.size() > left || body.size() > left
      || left - sizeof(answer_header) < meta.size() + body.size())
    return false;
  answer_header header{static_cast<std::uint32_t>(meta.size()),
                       static_cast<std::uint32_t>(body.size())};
  auto at = memory_->answers + position_;
  auto put = [&](const void* bytes, std::size_t size) {
    if (size > 0)
      std::memcpy(at, bytes, size);
    at += size;
  };
  put(&header, sizeof(header));
  put(meta.data(), meta.size());
  put(body.data(), body.size());
  position_ += sizeof(header) + meta.size() + body.size();
  auto& count = memory_->answered;
  count.store(count.load(std::memory_order_relaxed) + 1,
              std::memory_order_release);
  return true;
}

} // namespace troupe
