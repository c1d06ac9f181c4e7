// Intrusive reference counting for objects that threads pass to each other
// without an owner: batches, events, failures, the queue of a pool.
// std::shared_ptr would cost a second word in each list node and a control
// block in each request.

#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace troupe {

/// Counts the references to an object and deletes it with the last one.
class ref_counted {
public:
  ref_counted() = default;
  ref_counted(const ref_counted&) = delete;
  ref_counted& operator=(const ref_counted&) = delete;

  void ref() const noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }

  /// As `ref`, unless the last reference is gone already.
  bool try_ref() const noexcept {
    auto seen = refs_.load(std::memory_order_relaxed);
    while (seen != 0)
      if (refs_.compare_exchange_weak(seen, seen + 1,
                                      std::memory_order_relaxed))
        return true;
    return false;
  }

  /// Drops `n` references of the caller's.
  void deref(std::uint32_t n = 1) const noexcept {
    if (refs_.fetch_sub(n, std::memory_order_acq_rel) == n)
      delete this;
  }

protected:
  virtual ~ref_counted() = default;

private:
  mutable std::atomic<std::uint32_t> refs_{1};
};

struct adopt_ref_t {};

/// Says that a pointer brings its reference along.
inline constexpr adopt_ref_t adopt_ref{};

/// Holds one reference to a `ref_counted` object, or nothing.
template <class T>
class ref_ptr {
public:
  // -- construction -----------------------------------------------------------

  ref_ptr() = default;

  ref_ptr(std::nullptr_t) noexcept {}

  explicit ref_ptr(T* ptr) noexcept : ptr_{ptr} {
    if (ptr_)
      ptr_->ref();
  }

  ref_ptr(T* ptr, adopt_ref_t) noexcept : ptr_{ptr} {}

  ref_ptr(const ref_ptr& other) noexcept : ref_ptr{other.ptr_} {}

  ref_ptr(ref_ptr&& other) noexcept : ptr_{other.release()} {}

  template <class U>
  requires std::convertible_to<U*, T*> ref_ptr(ref_ptr<U> other)
  noexcept : ptr_{other.release()} {}

  ref_ptr& operator=(ref_ptr other) noexcept {
    std::swap(ptr_, other.ptr_);
    return *this;
  }

  ~ref_ptr() {
    if (ptr_)
      ptr_->deref();
  }

  // -- properties -------------------------------------------------------------

  T* get() const noexcept { return ptr_; }

  T& operator*() const noexcept { return *ptr_; }

  T* operator->() const noexcept { return ptr_; }

  explicit operator bool() const noexcept { return ptr_ != nullptr; }

  /// Gives up the reference without dropping it.
  [[nodiscard]] T* release() noexcept { return std::exchange(ptr_, nullptr); }

  friend bool operator==(const ref_ptr&, const ref_ptr&) = default;

private:
  T* ptr_ = nullptr;
};

/// Creates an object on the heap and holds its first reference.
template <class T, class... Ts>
ref_ptr<T> make_ref(Ts&&... xs) {
  return ref_ptr<T>{new T(std::forward<Ts>(xs)...), adopt_ref};
}

} // namespace troupe
