#include "troupe/wait_graph.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <unordered_map>

#include <fmt/format.h>

#include "troupe/defaults.hpp"
#include "troupe/dispatcher.hpp"
#include "troupe/worker_cell.hpp"

namespace troupe {

namespace {

// How many workers of a ring its error names.
constexpr std::size_t most_named = 4;

} // namespace

struct wait_graph::state {
  std::mutex mutex;
  std::unordered_map<const worker_cell*, blocked_worker*> blocked;
  // So that those who look without cause need no lock.
  std::atomic<std::size_t> count{0};
};

wait_graph::state& wait_graph::all() {
  // Never destroyed: workers may block while the process ends.
  static auto instance = new state;
  return *instance;
}

// -- blocked_worker -----------------------------------------------------------

void blocked_worker::wait() noexcept {
  if (!op_.attach(*this))
    return;
  wait_graph::enter(*this);
  std::unique_lock guard{mutex_};
  for (;;) {
    changed_.wait(guard, [this] { return complete_ || called_; });
    if (complete_)
      break;
    called_ = false;
    guard.unlock();
    // A worker that works is not in the graph.
    wait_graph::leave(*this);
    op_.help();
    wait_graph::enter(*this);
    guard.lock();
  }
  guard.unlock();
  wait_graph::leave(*this);
}

void blocked_worker::on_complete(op_state&) noexcept {
  // Notifies under the lock: once it is free, the worker may be gone.
  std::lock_guard guard{mutex_};
  complete_ = true;
  changed_.notify_one();
}

void blocked_worker::call() noexcept {
  std::lock_guard guard{mutex_};
  called_ = true;
  changed_.notify_one();
}

// -- hang_check ---------------------------------------------------------------

bool hang_check::stuck(const worker_cell& cell) const noexcept {
  auto& blocked = wait_graph::all().blocked;
  auto found = blocked.find(&cell);
  return found != blocked.end() && found->second->suspect_;
}

// -- wait_graph ---------------------------------------------------------------

void wait_graph::enter(blocked_worker& worker) noexcept {
  auto& graph = all();
  {
    std::lock_guard guard{graph.mutex};
    graph.blocked.emplace(&worker.cell_, &worker);
    graph.count.store(graph.blocked.size(), std::memory_order_seq_cst);
  }
  resolve(&worker);
}

void wait_graph::leave(blocked_worker& worker) noexcept {
  auto& graph = all();
  std::lock_guard guard{graph.mutex};
  graph.blocked.erase(&worker.cell_);
  graph.count.store(graph.blocked.size(), std::memory_order_seq_cst);
}

void wait_graph::look_again() noexcept {
  if (all().count.load(std::memory_order_seq_cst) > 0)
    resolve(nullptr);
}

void wait_graph::call_back(const dispatcher& home) noexcept {
  auto& graph = all();
  if (graph.count.load(std::memory_order_seq_cst) == 0)
    return;
  std::lock_guard guard{graph.mutex};
  for (auto& [cell, worker] : graph.blocked)
    if (&cell->home() == &home)
      worker->call();
}

void wait_graph::call_back(const op_state& op) noexcept {
  auto& graph = all();
  std::lock_guard guard{graph.mutex};
  for (auto& [cell, worker] : graph.blocked)
    if (&worker->op_ == &op)
      worker->call();
}

// One request fails at a time: that may free all the others.
void wait_graph::resolve(const blocked_worker* latest) noexcept {
  while (break_ring(latest))
    latest = nullptr;
}

// Fails one operation of a ring, if there is a ring. If the graph was without
// one before, a new one contains the worker that blocked latest.
bool wait_graph::break_ring(const blocked_worker* latest) noexcept {
  auto& graph = all();
  ref_ptr<batch> victim;
  std::string ring;
  {
    std::lock_guard guard{graph.mutex};
    std::vector<blocked_worker*> suspects;
    for (auto& [cell, worker] : graph.blocked)
      if ((worker->suspect_ = !worker->op_.done()))
        suspects.push_back(worker);
    // Those that may go on are taken out, until nobody is left or all that are
    // left wait for each other.
    auto goes_on = [](blocked_worker* worker) {
      hang_check check{*worker};
      worker->suspect_ = worker->op_.hangs(check);
      if (check.help_wanted())
        worker->call();
      return !worker->suspect_;
    };
    if (latest != nullptr) {
      auto found = std::find(suspects.begin(), suspects.end(), latest);
      if (found == suspects.end() || goes_on(*found))
        return false;
    }
    while (std::erase_if(suspects, goes_on) > 0)
      continue;
    std::sort(suspects.begin(), suspects.end(), [](auto* x, auto* y) {
      return x->cell_.name() < y->cell_.name();
    });
    std::size_t named = 0;
    for (auto worker : suspects) {
      hang_check check{*worker};
      worker->op_.hangs(check);
      // Who closes the ring hears of it, if that breaks it.
      if (!check.victims().empty() && (!victim || worker == latest))
        victim = std::move(check.victims().front());
      if (++named <= most_named)
        ring += fmt::format("{}worker {} waits for {}", named > 1 ? ", " : "",
                            worker->cell_.name(), check.what());
    }
    if (!victim)
      return false;
    if (named > most_named)
      ring += fmt::format(", and {} more wait like them", named - most_named);
  }
  // Destroys the user's function, so it is not for the lock.
  victim->give_up(make_failure(
      ec::would_deadlock,
      fmt::format("the wait would never end: {}; give a pool more workers, or "
                  "do not wait for it inside its own requests",
                  ring),
      false, std::string{victim->label()}));
  return true;
}

// -- the stack ----------------------------------------------------------------

bool stack_allows_nesting() noexcept {
  struct bounds {
    std::uintptr_t lowest = 0;
    std::size_t size = 0;

    bounds() noexcept {
      pthread_attr_t attributes;
      if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
      void* start = nullptr;
      if (pthread_attr_getstack(&attributes, &start, &size) == 0)
        lowest = reinterpret_cast<std::uintptr_t>(start);
      pthread_attr_destroy(&attributes);
    }
  };
  static thread_local bounds mine;
  auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  return here - mine.lowest >= mine.size / defaults::nesting_share;
}

} // namespace troupe
