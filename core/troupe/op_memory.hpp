// Where operations live, and those who wait for them: small objects that come
// in bursts of a million, made by one thread and mostly given back by another.
// A general allocator gives the memory of a burst back to the system when the
// burst is over, and the next one spends most of its time in page faults.

#pragma once

#include <cstddef>
#include <new>

namespace troupe {

/// Gives out blocks of memory. Thread-safe.
///
/// Each thread keeps a few blocks of each size at hand; what it has too many
/// of, or lacks, goes to slabs that all share, so many at a time. A slab all of
/// whose blocks came back serves any size, until `trim` is called.
///
/// Source: the central free lists of TCMalloc.
class op_memory {
public:
  /// Larger blocks come from the heap, but for those that are most of a page.
  static constexpr std::size_t largest_block = 512;

  /// The size of a page: a block for many small objects.
  static constexpr std::size_t page_bytes = std::size_t{5} << 10;

  /// How much of what is free `trim` leaves. A guess.
  static constexpr std::size_t kept_bytes = std::size_t{16} << 20;

  /// Returns a block of at least that size, aligned to 16 bytes.
  ///
  /// Errors: throws std::bad_alloc.
  static void* allocate(std::size_t bytes);

  /// Takes back what `allocate` returned for as many bytes, on any thread.
  static void free(void* block, std::size_t bytes) noexcept;

  /// Gives slabs without a block in use back to the system. Called when a pool
  /// has nothing to do, or ends.
  static void trim() noexcept;

  /// Returns how much memory the slabs take.
  static std::size_t mapped_bytes() noexcept;
};

/// Has the objects of a class live there, and of all classes derived from it.
class in_op_memory {
public:
  static void* operator new(std::size_t bytes);
  static void operator delete(void* block, std::size_t bytes) noexcept;

  // Whoever asks for more than 16 bytes has few of these.
  static void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return ::operator new(bytes, alignment);
  }
  static void operator delete(void* block, std::size_t,
                              std::align_val_t alignment) noexcept {
    ::operator delete(block, alignment);
  }

protected:
  ~in_op_memory() = default;
};

} // namespace troupe
