#include "troupe/label_book.hpp"

#include <functional>
#include <memory>
#include <new>

namespace troupe {

label_book::~label_book() {
  for (auto& x : by_number_)
    delete x.load(std::memory_order_relaxed);
}

std::uint8_t label_book::number_of(std::string_view label) noexcept {
  if (label.empty())
    return none;
  auto first = std::hash<std::string_view>{}(label);
  std::unique_lock guard{mutex_, std::defer_lock};
  // Entries are added and never removed, so what is not found before the first
  // free place is not there; under the lock that stays true.
  for (auto locked = false;; locked = true, guard.lock()) {
    auto at = first % places;
    auto found = table_[at].load(std::memory_order_acquire);
    while (found != nullptr && found->label != label) {
      at = (at + 1) % places;
      found = table_[at].load(std::memory_order_acquire);
    }
    if (found != nullptr)
      return found->number;
    auto used = used_.load(std::memory_order_relaxed);
    if (used == named || label == "other")
      return other;
    if (!locked)
      continue;
    try {
      auto number = static_cast<std::uint8_t>(used + 1);
      auto made =
          std::make_unique<const entry>(entry{std::string{label}, number});
      by_number_[number].store(made.get(), std::memory_order_release);
      table_[at].store(made.release(), std::memory_order_release);
      used_.store(used + 1, std::memory_order_relaxed);
      return number;
    } catch (const std::bad_alloc&) {
      return other;
    }
  }
}

std::string_view label_book::label_of(std::uint8_t number) const noexcept {
  if (number == other)
    return "other";
  auto found = number < size
                   ? by_number_[number].load(std::memory_order_acquire)
                   : nullptr;
  return found ? std::string_view{found->label} : std::string_view{};
}

} // namespace troupe
