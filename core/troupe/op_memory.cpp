#include "troupe/op_memory.hpp"

#include <array>
#include <cstdint>
#include <mutex>
#include <utility>

#include <sys/mman.h>

#include "troupe/fetch_early.hpp"
#include "troupe/huge_pages.hpp"

namespace troupe {

namespace {

// Sizes of small blocks are multiples of this. The last of all sizes is that of
// a page.
constexpr std::size_t step = 16;

constexpr std::size_t sizes = op_memory::largest_block / step + 1;

constexpr std::size_t page_index = sizes - 1;

constexpr std::size_t bytes_of(std::size_t index) noexcept {
  return index == page_index ? op_memory::page_bytes : (index + 1) * step;
}

// How many blocks go to or from the slabs at once, so that a lock is hardly
// noticed; a thread keeps twice as many of each size, at most.
constexpr std::uint32_t handful_of(std::size_t index) noexcept {
  return index == page_index ? 4 : 32;
}

// Hundreds of blocks, or some dozens of pages, and aligned to itself: so a
// block finds its slab.
constexpr std::size_t slab_bytes = std::size_t{256} << 10;

// What is mapped at once by who has that much already.
constexpr std::size_t piece_bytes = std::size_t{4} << 20;

constexpr std::size_t kept_slabs = op_memory::kept_bytes / slab_bytes;

// What is in a free block.
struct block {
  block* next;
};

// Blocks of one size. Those behind `untouched` were never given out, which
// keeps a slab that few blocks are taken from small.
struct alignas(64) slab {
  slab* prev = nullptr;
  slab* next = nullptr;
  block* returned = nullptr;
  std::byte* untouched = nullptr;
  std::uint32_t in_use = 0;
  bool listed = false;

  static slab* of(block* x) noexcept {
    return reinterpret_cast<slab*>(reinterpret_cast<std::uintptr_t>(x)
                                   & ~(std::uintptr_t{slab_bytes} - 1));
  }

  std::byte* begin() noexcept {
    return reinterpret_cast<std::byte*>(this) + sizeof(slab);
  }

  std::byte* end() noexcept {
    return reinterpret_cast<std::byte*>(this) + slab_bytes;
  }

  block* take(std::size_t bytes) noexcept {
    if (returned) {
      ++in_use;
      return std::exchange(returned, returned->next);
    }
    if (static_cast<std::size_t>(end() - untouched) < bytes)
      return nullptr;
    ++in_use;
    return new (std::exchange(untouched, untouched + bytes)) block;
  }
};

// Maps memory that is aligned to its size, a power of two.
std::byte* map_aligned(std::size_t bytes) {
  auto memory = mmap(nullptr, 2 * bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw std::bad_alloc{};
  auto first = static_cast<std::byte*>(memory);
  auto before = -reinterpret_cast<std::uintptr_t>(first) % bytes;
  if (before > 0)
    munmap(first, before);
  munmap(first + before + bytes, bytes - before);
  return first + before;
}

// Slabs without a block in use, for whatever size needs one next.
class slab_reserve {
public:
  slab* take() {
    std::lock_guard guard{mutex_};
    if (free_ == nullptr)
      map_more();
    --count_;
    return std::exchange(free_, free_->next);
  }

  void give(slab* x) noexcept {
    std::lock_guard guard{mutex_};
    push(x);
  }

  void trim() noexcept {
    std::lock_guard guard{mutex_};
    for (; count_ > kept_slabs; --count_) {
      munmap(std::exchange(free_, free_->next), slab_bytes);
      mapped_ -= slab_bytes;
    }
  }

  std::size_t mapped() noexcept {
    std::lock_guard guard{mutex_};
    return mapped_;
  }

private:
  void push(slab* x) noexcept {
    x->next = free_;
    free_ = x;
    ++count_;
  }

  // Who needs much is given large pieces, which huge pages fit into.
  void map_more() {
    auto bytes = mapped_ < piece_bytes ? slab_bytes : piece_bytes;
    auto first = map_aligned(bytes);
    advise_huge_pages(first, bytes);
    mapped_ += bytes;
    for (auto left = bytes; left > 0; left -= slab_bytes)
      push(new (first + left - slab_bytes) slab);
  }

  std::mutex mutex_;
  slab* free_ = nullptr;
  std::size_t count_ = 0;
  std::size_t mapped_ = 0;
};

constinit slab_reserve reserve;

// Blocks of one size that no thread keeps.
//
// Invariant: `first_` lists the slabs that can give a block.
class depot {
public:
  // Returns `handful` blocks.
  block* take(std::size_t bytes, std::uint32_t handful) {
    std::lock_guard guard{mutex_};
    // In this order, so that what was never touched is used from its begin on.
    block* result = nullptr;
    auto end = &result;
    for (std::uint32_t n = 0; n < handful;) {
      if (first_ == nullptr)
        add_slab(result);
      if (auto x = first_->take(bytes)) {
        x->next = nullptr;
        *end = x;
        end = &x->next;
        ++n;
      } else {
        remove(*first_);
      }
    }
    return result;
  }

  void give(block* first) noexcept {
    std::lock_guard guard{mutex_};
    while (first)
      give_one(std::exchange(first, first->next));
  }

private:
  // If there is no memory, what was taken goes back.
  void add_slab(block* taken) {
    try {
      auto made = new (reserve.take()) slab;
      made->untouched = made->begin();
      add(*made);
    } catch (...) {
      while (taken)
        give_one(std::exchange(taken, taken->next));
      throw;
    }
  }

  void give_one(block* x) noexcept {
    auto& from = *slab::of(x);
    x->next = from.returned;
    from.returned = x;
    if (!from.listed)
      add(from);
    // One stays, since a single block may come and go.
    if (--from.in_use == 0 && (from.prev || from.next)) {
      remove(from);
      reserve.give(&from);
    }
  }

  void add(slab& x) noexcept {
    x.listed = true;
    x.prev = nullptr;
    x.next = first_;
    if (first_)
      first_->prev = &x;
    first_ = &x;
  }

  void remove(slab& x) noexcept {
    x.listed = false;
    (x.prev ? x.prev->next : first_) = x.next;
    if (x.next)
      x.next->prev = x.prev;
    x.prev = x.next = nullptr;
  }

  std::mutex mutex_;
  slab* first_ = nullptr;
};

// By size. Never destroyed: operations may go after the static objects of main.
constinit std::array<depot, sizes> depots;

// The blocks that a thread keeps at hand.
struct thread_blocks {
  struct of_size {
    block* first = nullptr;
    std::uint32_t count = 0;
  };

  // Without a destructor, which would cost each use a look whether the thread
  // has registered it; `end_of_thread` has one.
  std::array<of_size, sizes> all;
  bool registered = false;
  bool over = false;
};

constinit thread_local thread_blocks my_blocks;

struct end_of_thread {
  end_of_thread() noexcept { my_blocks.registered = true; }
  end_of_thread(const end_of_thread&) = delete;
  end_of_thread& operator=(const end_of_thread&) = delete;
  ~end_of_thread() {
    // What is freed after this, by others that go with the thread, is not kept.
    my_blocks.over = true;
    for (std::size_t i = 0; i < sizes; ++i)
      depots[i].give(std::exchange(my_blocks.all[i], {}).first);
  }
};

// Called before a thread keeps anything.
void watch_thread() noexcept {
  if (!my_blocks.registered && !my_blocks.over)
    static thread_local end_of_thread watch;
}

// Whether blocks of that size come from slabs.
constexpr bool has_slabs(std::size_t bytes) noexcept {
  return bytes <= op_memory::largest_block
         || (bytes > op_memory::page_bytes / 2
             && bytes <= op_memory::page_bytes);
}

constexpr std::size_t index_of(std::size_t bytes) noexcept {
  if (bytes > op_memory::largest_block)
    return page_index;
  return bytes == 0 ? 0 : (bytes - 1) / step;
}

[[gnu::noinline]] block* refill(std::size_t index) {
  watch_thread();
  auto handful = handful_of(index);
  auto first = depots[index].take(bytes_of(index), handful);
  if (my_blocks.over)
    depots[index].give(first->next);
  else
    my_blocks.all[index] = {first->next, handful - 1};
  return first;
}

// Gives back the half that was used last, which is most likely to be together.
[[gnu::noinline]] void shed(std::size_t index) noexcept {
  auto& kept = my_blocks.all[index];
  auto n = my_blocks.over ? kept.count : handful_of(index);
  auto first = kept.first;
  auto last = first;
  for (auto i = n - 1; i > 0; --i)
    last = last->next;
  kept.first = std::exchange(last->next, nullptr);
  kept.count -= n;
  depots[index].give(first);
}

} // namespace

void* op_memory::allocate(std::size_t bytes) {
  if (!has_slabs(bytes))
    return ::operator new(bytes);
  auto index = index_of(bytes);
  auto& kept = my_blocks.all[index];
  if (kept.first == nullptr) [[unlikely]]
    return refill(index);
  --kept.count;
  auto found = std::exchange(kept.first, kept.first->next);
  // The next one is mostly wanted as soon as this one has been filled.
  fetch_early(kept.first, bytes);
  return found;
}

void op_memory::free(void* memory, std::size_t bytes) noexcept {
  if (!has_slabs(bytes)) {
    ::operator delete(memory);
    return;
  }
  auto index = index_of(bytes);
  auto& kept = my_blocks.all[index];
  if (kept.first == nullptr)
    watch_thread();
  kept.first = new (memory) block{kept.first};
  if (++kept.count > 2 * handful_of(index) || my_blocks.over) [[unlikely]]
    shed(index);
}

void op_memory::trim() noexcept {
  reserve.trim();
}

std::size_t op_memory::mapped_bytes() noexcept {
  return reserve.mapped();
}

// -- in_op_memory -------------------------------------------------------------

// Off where tools have to see each object come and go: TROUPE_OP_MEMORY of the
// build.
void* in_op_memory::operator new(std::size_t bytes) {
  if constexpr (TROUPE_OP_MEMORY)
    return op_memory::allocate(bytes);
  else
    return ::operator new(bytes);
}

void in_op_memory::operator delete(void* block, std::size_t bytes) noexcept {
  if constexpr (TROUPE_OP_MEMORY)
    op_memory::free(block, bytes);
  else
    ::operator delete(block);
}

} // namespace troupe
