// A list that mostly has few elements, and needs no memory for these: to take
// one more cannot fail then, and costs nothing.

#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace troupe {

template <class T, std::size_t Few>
class short_list {
public:
  // The places of the first few are left as they are, since mostly none of them
  // is needed: it costs more to fill them with nothing than to take a lock.
  short_list() noexcept {} // NOLINT(modernize-use-equals-default)

  short_list(const short_list&) = delete;

  short_list& operator=(const short_list& other) = delete;

  ~short_list() { std::destroy_n(few_, size_); }

  /// Errors: throws std::bad_alloc, from the element behind the first few on.
  void push_back(T x) {
    if (size_ < Few)
      std::construct_at(few_ + size_++, std::move(x));
    else
      more_.push_back(std::move(x));
  }

  bool empty() const noexcept { return size_ == 0; }

  template <class Fn>
  void for_each(Fn fn) const {
    for (std::size_t i = 0; i < size_; ++i)
      fn(few_[i]);
    for (const auto& x : more_)
      fn(x);
  }

private:
  std::size_t size_ = 0;
  union {
    T few_[Few];
  };
  std::vector<T> more_;
};

} // namespace troupe
