// A pair of fences of which one is nearly free and the other expensive. A
// worker passes the cheap side before every tiny request; whoever takes
// requests away from it, which is rare, pays for both: the kernel interrupts
// the processors on which this process runs.

#pragma once

#include <atomic>

namespace troupe {

/// Whether the kernel offers the expensive side. Decided before `main`; false
/// under ThreadSanitizer, which knows nothing of it.
bool has_asymmetric_fence() noexcept;

/// Stores `value` and orders the store before all later loads, as far as
/// threads are concerned that pass `heavy_fence` between a store and a load.
template <class T>
void store_with_light_fence(std::atomic<T>& target, T value,
                            bool asymmetric) noexcept {
  if (asymmetric) {
    target.store(value, std::memory_order_relaxed);
    // Keeps the compiler from swapping store and load; the processor may still
    // do so, unless `heavy_fence` interrupts it.
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
    target.exchange(value, std::memory_order_seq_cst);
  }
}

/// Orders the stores before it ahead of the loads behind it, on this thread and
/// on all that pass the light side at the same time.
void heavy_fence() noexcept;

} // namespace troupe
