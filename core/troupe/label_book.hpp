// Numbers the labels of a pool's requests, so that statistics are kept by
// number. However many labels there are, there are few numbers: the labels that
// come too late share one.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace troupe {

/// Gives each label a number, in order of first use. Thread-safe; labels that
/// are known are found without a lock.
class label_book {
public:
  /// How many labels have a number of their own.
  static constexpr std::size_t named = 64;

  /// The number of requests without a label.
  static constexpr std::uint8_t none = 0;

  /// The number of all labels that came when no number was left, and of the
  /// label "other".
  static constexpr std::uint8_t other = named + 1;

  /// Numbers are below this.
  static constexpr std::size_t size = named + 2;

  label_book() = default;

  label_book(const label_book&) = delete;

  label_book& operator=(const label_book&) = delete;

  ~label_book();

  /// Returns the number of `label`. Where memory is short: `other`.
  std::uint8_t number_of(std::string_view label) noexcept;

  /// Returns the label that has the number, "other", or an empty text. Lives as
  /// long as the book.
  std::string_view label_of(std::uint8_t number) const noexcept;

private:
  struct entry {
    std::string label;
    std::uint8_t number;
  };

  // Never more than a quarter full, so that a search is short.
  static constexpr std::size_t places = 256;

  std::array<std::atomic<const entry*>, places> table_{};
  std::array<std::atomic<const entry*>, size> by_number_{};
  std::atomic<std::size_t> used_{0};
  std::mutex mutex_;
};

} // namespace troupe
