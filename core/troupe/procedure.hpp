// Functions that are called by name, so that the call can be made in another
// process: a procedure is the name and the signature that both sides compile
// against, `procedures` the functions behind the names. A pool of threads calls
// them directly; who calls them elsewhere implements `procedure_host`.

#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeindex>
#include <utility>
#include <vector>

#include "troupe/caf_compat.hpp"
#include "troupe/context.hpp"
#include "troupe/type_text.hpp"

namespace troupe {

// -- names --------------------------------------------------------------------

/// A text as a template argument.
template <std::size_t N>
struct fixed_string {
  // Not explicit: it is there so that a literal can be a template argument.
  constexpr fixed_string(const char (&literal)[N]) {
    std::copy_n(literal, N, text);
  }

  constexpr std::string_view view() const { return {text, N - 1}; }

  char text[N] = {};
};

/// Marks a procedure that may run twice without harm: if its process is lost,
/// it is run again, once.
struct idempotent_t {};

inline constexpr idempotent_t idempotent{};

/// What there is to know about a procedure without its types.
struct procedure_info {
  std::string_view name;
  /// Such as "std::string(std::string, int)".
  std::string_view signature;
  std::type_index type;
  bool idempotent = false;

  /// Returns name and signature, such as "'fetch', std::string(int)".
  std::string text() const;
};

// -- functions ----------------------------------------------------------------

/// A function behind a name.
struct procedure_entry {
  std::string signature;
  std::type_index type = typeid(void);

  /// A std::function<Signature>.
  std::shared_ptr<const void> function;

  /// Decodes arguments, calls the function and encodes its result. Throws what
  /// the function throws, and `failure` with `ec::bad_message` for arguments
  /// that don't decode.
  std::function<compat::byte_buffer(std::span<const std::byte>)> invoke;
};

/// Makes the calls of procedures on behalf of a pool.
class procedure_host {
public:
  virtual ~procedure_host() = default;

  /// Returns the function, if calls are made right here; null if `call` makes
  /// them.
  ///
  /// Errors: throws `failure` with `ec::unknown_procedure`.
  virtual const procedure_entry* find(const context& ctx,
                                      const procedure_info& what) const = 0;

  /// Makes the call elsewhere, blocks until it has returned, and returns the
  /// result.
  ///
  /// Errors: throws `failure`.
  virtual compat::byte_buffer call(context& ctx, const procedure_info& what,
                                   const compat::byte_buffer& arguments) const;
};

/// Returns the host of the pool whose worker makes this call.
///
/// Errors: throws `failure` with `ec::unknown_procedure` if it has none.
const procedure_host& host_of(const context& ctx, const procedure_info& what);

[[noreturn]] void throw_not_encodable(const procedure_info& what,
                                      const char* part);
[[noreturn]] void throw_not_decodable(std::string_view name,
                                      std::string_view types, const char* part,
                                      std::size_t bytes);

/// A function that is called by name: `Name` and `Signature` are what both
/// sides agree on.
///
/// Shape:  `inline constexpr troupe::procedure<"fetch", std::string(int)>
///         fetch;` in a header that both sides include; `procedures::add` gives
///         it a function, `pool::call(fetch, 1)` and `pool::map(range, fetch)`
///         call it. Arguments and result travel by value: any type that CAF can
///         inspect.
/// Errors: what the function throws. From another process that arrives as a
///         `remote_failure`.
/// Source: functions pickled by name for ProcessPoolExecutor.
template <fixed_string Name, class Signature>
class procedure;

template <fixed_string Name, class R, class... Args>
class procedure<Name, R(Args...)> {
public:
  using signature = R(Args...);
  using result_type = std::decay_t<R>;
  using arguments = std::tuple<std::decay_t<Args>...>;

  static_assert(
      ((!std::is_lvalue_reference_v<
            Args> || std::is_const_v<std::remove_reference_t<Args>>) &&...),
      "a procedure cannot write to its caller's variables: take "
      "arguments by value or by reference to const");
  static_assert(std::is_void_v<R> || std::is_default_constructible_v<R>,
                "the result of a procedure must be default-constructible");

  constexpr procedure() = default;

  constexpr explicit procedure(idempotent_t) : idempotent_{true} {}

  /// Whether `call` can make the arguments out of these.
  template <class... Ts>
  static constexpr bool accepts = [] {
    if constexpr (sizeof...(Ts) == sizeof...(Args))
      return (std::is_convertible_v<Ts, std::decay_t<Args>> && ...);
    else
      return false;
  }();

  procedure_info info() const {
    static const auto text = type_text<R(Args...)>();
    return {Name.view(), text, typeid(R(Args...)), idempotent_};
  }

  /// Makes the call, on a worker.
  template <class... Ts>
  requires(sizeof...(Ts) == sizeof...(Args)
           && (std::is_convertible_v<Ts, std::decay_t<Args>> && ...))
      result_type
      operator()(context& ctx, Ts&&... xs) const {
    auto what = info();
    const auto& host = host_of(ctx, what);
    if (auto entry = host.find(ctx, what)) {
      const auto& fn =
          *static_cast<const std::function<R(Args...)>*>(entry->function.get());
      return fn(std::forward<Ts>(xs)...);
    }
    compat::byte_buffer bytes;
    if (!compat::encode(bytes, static_cast<const std::decay_t<Args>&>(xs)...))
      throw_not_encodable(what, "arguments");
    auto answer = host.call(ctx, what, bytes);
    if constexpr (!std::is_void_v<R>) {
      result_type result{};
      if (!compat::decode(std::as_bytes(std::span{answer}), result))
        throw_not_decodable(what.name, type_text<R>(), "result", answer.size());
      return result;
    }
  }

private:
  bool idempotent_ = false;
};

template <class T>
inline constexpr bool is_procedure = false;

template <fixed_string Name, class Signature>
inline constexpr bool is_procedure<procedure<Name, Signature>> = true;

/// The functions behind the names. The same on both sides, if both are one
/// program; filled before a pool or a worker process gets it.
class procedures final : public procedure_host {
public:
  // -- functions --------------------------------------------------------------

  /// Has `fn` called for `what`. It is shared by all calls, which may run
  /// concurrently.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` for a name that has a
  ///         function already, and for a null function.
  template <fixed_string Name, class R, class... Args, class F>
  procedures& add(const procedure<Name, R(Args...)>& what, F fn) {
    static_assert(std::is_invocable_r_v<R, const F&, Args...>,
                  "the function does not have the signature of the procedure");
    refuse_null(fn, "add as a procedure");
    auto shared =
        std::make_shared<const std::function<R(Args...)>>(std::move(fn));
    auto info = what.info();
    procedure_entry entry;
    entry.signature = info.signature;
    entry.type = info.type;
    entry.function = shared;
    entry.invoke = [shared, info](std::span<const std::byte> bytes) {
      std::tuple<std::decay_t<Args>...> xs;
      if (!std::apply([&](auto&... x) { return compat::decode(bytes, x...); },
                      xs))
        throw_not_decodable(info.name, type_list_text<Args...>(), "arguments",
                            bytes.size());
      compat::byte_buffer result;
      if constexpr (std::is_void_v<R>)
        std::apply(*shared, std::move(xs));
      else if (!compat::encode(result, std::apply(*shared, std::move(xs))))
        throw_not_encodable(info, "result");
      return result;
    };
    insert(info, std::move(entry));
    return *this;
  }

  // -- properties -------------------------------------------------------------

  /// Returns all names, in their order.
  std::vector<std::string> names() const;

  /// Returns the function of that name, or null.
  const procedure_entry* find(std::string_view name) const;

  /// Says why there is no such function here, in words that follow "it".
  std::string why_not(std::string_view name) const;

  const procedure_entry* find(const context& ctx,
                              const procedure_info& what) const override;

  /// Gives a pool a copy: `pool_options{.procedures = all}`.
  operator std::shared_ptr<const procedure_host>() const {
    return std::make_shared<const procedures>(*this);
  }

private:
  void insert(const procedure_info& what, procedure_entry entry);

  std::map<std::string, procedure_entry, std::less<>> entries_;
};

} // namespace troupe
