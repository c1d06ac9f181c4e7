// A program in which memory fails under the feet of workers, in the pool's own
// code: each worker's first allocation outside of a request throws. Prints how
// many did, how many were made inside of requests, how many requests came out
// otherwise than they should, and how many workers the pool says that it has
// lost and has now, one "name number" a line.

#include "troupe/troupe.hpp"

#include <fmt/format.h>

#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

std::atomic<bool> armed{false};
std::atomic<int> thrown{0};
std::atomic<int> inside{0};

// An actor that ends allocates, too, where CAF may not throw: once is enough.
thread_local bool spared = false;

bool is_worker() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof(name));
  // Not that of the coordinator, "io-coord".
  return std::string_view{name}.starts_with("io-") && name[3] >= '0'
         && name[3] <= '9';
}

/// What a request does must not fail.
class in_request {
public:
  in_request() : outer_{std::exchange(spared, true)} {}
  in_request(const in_request&) = delete;
  in_request& operator=(const in_request&) = delete;
  ~in_request() { spared = outer_; }

private:
  bool outer_;
};

int answer(int x) {
  in_request mine;
  auto box = std::make_unique<int>(x);
  // Else the compiler does without the memory.
  asm volatile("" : : "r"(box.get()) : "memory");
  return *box;
}

} // namespace

// Not inlined: the compiler would take them for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (armed && is_worker()) {
    if (!std::exchange(spared, true)) {
      ++thrown;
      throw std::bad_alloc{};
    }
    ++inside;
  }
  if (auto result = std::malloc(size > 0 ? size : 1))
    return result;
  throw std::bad_alloc{};
}

// Who asks this way can do without.
[[gnu::noinline]] void* operator new(std::size_t size,
                                     const std::nothrow_t&) noexcept {
  return std::malloc(size > 0 ? size : 1);
}

[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}

[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

int main() {
  troupe::config cfg;
  caf::actor_system sys{cfg};
  troupe::pool io{
      sys, troupe::pool_options{.name = "io", .workers = 3, .min_workers = 3}};
  io.map(std::vector<int>(100, 1), answer).get();
  armed = true;
  auto wrong = 0;
  for (int round = 0; round < 100; ++round) {
    std::vector<troupe::operation<int>> singles;
    for (int i = 0; i < 4; ++i)
      singles.push_back(io.run(answer, i));
    auto whole = io.map(std::vector<int>(50, round), answer).start();
    auto all = troupe::gather_settled(std::move(singles)).get();
    for (int i = 0; i < 4; ++i)
      wrong += !all[i] || all[i].value() != i;
    wrong += whole.get() != std::vector<int>(50, round);
  }
  armed = false;
  // Nothing tells when the last one was replaced; failure is a hang.
  auto now = io.stats();
  while (now.workers < 3
         || now.workers_lost < static_cast<std::uint64_t>(thrown)) {
    std::this_thread::yield();
    now = io.stats();
  }
  fmt::print("thrown {}\ninside {}\nwrong {}\nlost {}\nworkers {}\n",
             thrown.load(), inside.load(), wrong, now.workers_lost,
             now.workers);
}
