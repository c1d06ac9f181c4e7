// The batch behind `pool::map`: one shared function, a range of elements, and a
// slot for each result.

#pragma once

#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "troupe/batch_loop.hpp"
#include "troupe/batch_ref.hpp"
#include "troupe/fwd.hpp"
#include "troupe/huge_pages.hpp"

namespace troupe {

// -- results ------------------------------------------------------------------

/// A slot for each result, moved into a vector at the end. A byte beside each
/// slot says whether it holds a value.
template <class T>
class result_slots {
public:
  using vector_type = std::vector<T>;

  explicit result_slots(std::uint32_t n)
      : size_{n},
        slots_{std::make_unique_for_overwrite<slot[]>(n)},
        filled_{std::make_unique<bool[]>(n)} {}

  ~result_slots() { clear(); }

  template <class Make>
  void fill(std::uint32_t index, Make make) {
    ::new (static_cast<void*>(slots_[index].bytes)) T(make());
    filled_[index] = true;
  }

  vector_type take() {
    vector_type all;
    all.reserve(size_);
    for (std::uint32_t i = 0; i < size_; ++i)
      all.push_back(std::move(value(i)));
    clear();
    return all;
  }

private:
  struct slot {
    alignas(T) std::byte bytes[sizeof(T)];
  };

  T& value(std::uint32_t index) noexcept {
    return *std::launder(reinterpret_cast<T*>(slots_[index].bytes));
  }

  void clear() noexcept {
    if (slots_)
      for (std::uint32_t i = 0; i < size_; ++i)
        if (filled_[i])
          std::destroy_at(&value(i));
    slots_.reset();
  }

  std::uint32_t size_;
  std::unique_ptr<slot[]> slots_;
  std::unique_ptr<bool[]> filled_;
};

/// Values that can be written in any order right where they are wanted: the
/// vector itself is the slots. Not for bool, whose vector packs eight into one
/// byte.
template <class T>
requires(std::is_trivially_copyable_v<T>&&
             std::is_trivially_default_constructible_v<T>&&
                 std::is_move_assignable_v<
                     T> && !std::same_as<T, bool>) class result_slots<T> {
public:
  using vector_type = std::vector<T>;

  explicit result_slots(std::uint32_t n) {
    all_.reserve(n);
    advise_huge_pages(all_.data(), n * sizeof(T));
    all_.resize(n);
    first_ = all_.data();
  }

  template <class Make>
  void fill(std::uint32_t index, Make make) {
    first_[index] = make();
  }

  vector_type take() noexcept { return std::move(all_); }

private:
  vector_type all_;
  T* first_ = nullptr;
};

template <>
class result_slots<void> {
public:
  explicit result_slots(std::uint32_t) {}

  template <class Make>
  void fill(std::uint32_t, Make make) {
    make();
  }
};

/// Slots whose values become one vector when somebody asks for them.
template <class T>
class result_vector {
public:
  explicit result_vector(std::uint32_t n) : slots_{n} {}

  template <class Make>
  void fill(std::uint32_t index, Make make) {
    slots_.fill(index, std::move(make));
  }

  /// Returns the address of the vector; null for `void`.
  void* get() {
    if constexpr (std::is_void_v<T>)
      return nullptr;
    else {
      if (!taken_)
        taken_.emplace(slots_.take());
      return &*taken_;
    }
  }

private:
  using taken_type = std::conditional_t<
      std::is_void_v<T>, char,
      std::vector<std::conditional_t<std::is_void_v<T>, char, T>>>;

  [[no_unique_address]] result_slots<T> slots_;
  std::optional<taken_type> taken_;
};

// -- elements -----------------------------------------------------------------

/// How a batch keeps the range it was given: views as they are, other
/// random-access ranges copied or moved, the rest collected into a vector.
template <std::ranges::input_range Range>
auto keep_elements(Range&& range) {
  using kept = std::remove_cvref_t<Range>;
  if constexpr (std::ranges::random_access_range<kept> //
                && std::ranges::sized_range<kept> && !std::is_array_v<kept>)
    return kept(std::forward<Range>(range));
  else {
    std::vector<std::ranges::range_value_t<kept>> all;
    // What a temporary container holds is moved; a view only refers to it.
    for (auto i = std::ranges::begin(range); i != std::ranges::end(range); ++i)
      if constexpr (std::is_lvalue_reference_v<
                        Range> || std::ranges::view<kept>)
        all.push_back(*i);
      else
        all.push_back(std::ranges::iter_move(i));
    return all;
  }
}

template <class Range>
using kept_elements_t = decltype(keep_elements(std::declval<Range>()));

/// What a request gets: the element as an lvalue, or as an rvalue if the
/// function takes only that.
template <class Fn, class Elements>
using element_argument_t = std::conditional_t<
    request_function<Fn&, std::ranges::range_reference_t<Elements>>,
    std::ranges::range_reference_t<Elements>,
    std::ranges::range_rvalue_reference_t<Elements>>;

// -- batch --------------------------------------------------------------------

/// One request per element of `Elements`; `Fn` is shared by all.
template <class Elements, class Fn>
class map_batch final : public batch_loop<map_batch<Elements, Fn>> {
public:
  using argument_type = element_argument_t<Fn, Elements>;
  using value_type = request_result_t<Fn&, argument_type>;

  template <class F>
  map_batch(std::uint32_t n, Elements elements, F&& fn)
      : batch_loop<map_batch>{n},
        input_{std::in_place, std::move(elements), std::forward<F>(fn)},
        first_{std::ranges::begin(input_->elements)},
        results_{n} {}

  run_result run_one(std::uint32_t index, context& ctx) noexcept {
    return this->guard(index, ctx, [&] {
      results_.fill(index, [&]() -> value_type {
        using diff = std::ranges::range_difference_t<Elements>;
        return call_request(
            ctx, input_->fn,
            static_cast<argument_type>(first_[static_cast<diff>(index)]));
      });
    });
  }

  // -- for requests that travel together, if `Fn` is a procedure --------------

  static constexpr bool travels = is_procedure<Fn>;

  const Fn& procedure() const noexcept requires(travels) { return input_->fn; }

  /// Appends the encoded element of a request to `bytes`. Throws what that
  /// throws.
  void pack(std::uint32_t index, auto& bytes) requires(travels) {
    using diff = std::ranges::range_difference_t<Elements>;
    input_->fn.pack(
        bytes, static_cast<argument_type>(first_[static_cast<diff>(index)]));
  }

  /// Takes what came of a request.
  run_result unpack(std::uint32_t index, auto& call, context& ctx) noexcept
      requires(travels) {
    try {
      if (!call.failure) {
        results_.fill(index, [&]() -> value_type {
          return input_->fn.unpack(call.result);
        });
        return run_result::value;
      }
    } catch (...) {
      call.failure = std::current_exception();
    }
    return this->fail(std::move(call.failure), index, ctx.cell());
  }

  void* result() override { return results_.get(); }

private:
  bool repeatable() const noexcept override {
    return std::is_lvalue_reference_v<
               argument_type> || !std::is_reference_v<argument_type>;
  }

  void destroy_input() noexcept override { input_.reset(); }

  struct input {
    template <class F>
    input(Elements xs, F&& f)
        : elements{std::move(xs)}, fn(std::forward<F>(f)) {}

    Elements elements;
    Fn fn;
  };

  std::optional<input> input_;
  std::ranges::iterator_t<Elements> first_;
  result_vector<value_type> results_;
};

/// Makes a batch of one request per element; see `pool::map`.
template <std::ranges::input_range Range, class F>
auto make_map(Range&& range, F&& fn) {
  using elements = kept_elements_t<Range>;
  using type = map_batch<elements, std::decay_t<F>>;
  auto kept = keep_elements(std::forward<Range>(range));
  auto n = static_cast<std::size_t>(std::ranges::size(kept));
  if (n > batch::max_size)
    throw failure{ec::invalid_option, "cannot map " + std::to_string(n)
                                          + " elements: a batch holds at most "
                                          + std::to_string(batch::max_size)
                                          + "; use imap"};
  return make_ref<type>(static_cast<std::uint32_t>(n), std::move(kept),
                        std::forward<F>(fn));
}

template <class Value>
using map_result_t = std::conditional_t<
    std::is_void_v<Value>, void,
    std::vector<std::conditional_t<std::is_void_v<Value>, char, Value>>>;

/// Makes a batch of one request per element for those who submit it by message.
template <std::ranges::input_range Range, class F>
auto make_map_batch(Range&& range, F&& fn) {
  auto made = make_map(std::forward<Range>(range), std::forward<F>(fn));
  using value = typename std::remove_reference_t<decltype(*made)>::value_type;
  return typed_batch<map_result_t<value>>{std::move(made)};
}

} // namespace troupe
