// Functions that are called by name, so that the call can be made in another
// process: a procedure is the name and the signature that both sides compile
// against, `procedures` the functions behind the names. A pool of threads calls
// them directly; who calls them elsewhere implements `procedure_host`.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeindex>
#include <utility>
#include <vector>

#include <caf/fwd.hpp>

#include "troupe/caf_compat.hpp"
#include "troupe/context.hpp"
#include "troupe/fwd.hpp"
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

/// One of several calls that travel together.
struct remote_call {
  /// Encoded; whoever makes the call leaves them alone.
  compat::byte_buffer arguments;

  /// What came of it: this, unless there is a failure.
  compat::byte_buffer result;
  std::exception_ptr failure;
};

/// Calls of one procedure that travel together, in their order, one after the
/// other; and who hears meanwhile what becomes of them.
///
/// Invariants: (1) Those before some number have an outcome, result or failure;
///                 it only grows.
///             (2) Those from some number on are given back: they have not
///                 begun and will not, so they may be made again, or elsewhere;
///                 it only falls.
///             (3) At most one is in between for longer than a moment: the one
///                 that runs.
class call_chunk {
public:
  explicit call_chunk(std::span<remote_call> all) noexcept : calls{all} {}

  call_chunk(const call_chunk&) = delete;
  call_chunk& operator=(const call_chunk&) = delete;

  const std::span<remote_call> calls;

  /// Whether those behind one that fails shall not begin.
  bool stop_at_failure = false;

  /// How long the calls of which `done` tells took where they were made, and
  /// those before them; what else it took here, they were on their way.
  /// Nothing, if they are as good as here.
  std::optional<std::chrono::nanoseconds> took = {};

  /// The calls before `n` have an outcome, which the chunk may take at once.
  /// Called by the worker whose chunk it is, as soon as it is known that the
  /// rest takes its time; need not be called at all.
  virtual void done(std::size_t n) noexcept = 0;

  /// The calls from `n` on are given back, while the one before runs on. As
  /// above.
  virtual void give_back(std::size_t n) noexcept = 0;

protected:
  ~call_chunk() = default;
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

  /// Returns how many calls may travel together at most; 1 if none do, and then
  /// `call_many` is not called.
  virtual std::uint32_t most_calls() const noexcept { return 1; }

  /// Makes several calls elsewhere, and blocks until each has its outcome or is
  /// given back.
  ///
  /// Shape:  returns how many have their outcome, the first ones; all others
  ///         are given back. At least one has, unless the operation was asked
  ///         to stop. By itself it is `call` for each.
  /// Errors: each call has its own. What is thrown is the failure of the first
  ///         call of which `done` has not told.
  virtual std::size_t call_many(context& ctx, const procedure_info& what,
                                call_chunk& chunk) const;
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

/// Whether a value means the same in another process. CAF writes messages,
/// errors and handles of actors with the help of an actor system, and a process
/// that only makes calls has none: they would arrive empty, or not at all.
template <class... Ts>
inline constexpr bool can_leave_process =
    (!std::disjunction_v<
         std::is_same<Ts, caf::message>, std::is_same<Ts, caf::error>,
         std::is_same<Ts, caf::actor>, std::is_same<Ts, caf::actor_addr>,
         std::is_same<Ts, caf::strong_actor_ptr>> && ...);

/// A function that is called by name: `Name` and `Signature` are what both
/// sides agree on.
///
/// Shape:  `inline constexpr troupe::procedure<"fetch", std::string(int)>
///         fetch;` in a header that both sides include; `procedures::add` gives
///         it a function, `pool::call(fetch, 1)` and `pool::map(range, fetch)`
///         call it. Arguments and result travel by value: any type that CAF can
///         inspect, but for messages, errors and handles of actors, which do
///         not belong into such a type either.
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
  static_assert(can_leave_process<result_type, std::decay_t<Args>...>,
                "messages, errors and handles of actors belong to one actor "
                "system: a procedure cannot take or return them");

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
    pack(bytes, std::forward<Ts>(xs)...);
    return unpack(host.call(ctx, what, bytes));
  }

  /// Appends the arguments of a call to `bytes`.
  ///
  /// Errors: throws `failure` with `ec::bad_message`, and what an `inspect`
  ///         throws.
  template <class... Ts>
  requires(accepts<Ts...>) void pack(compat::byte_buffer& bytes,
                                     Ts&&... xs) const {
    check_inspect();
    if (!compat::encode(bytes, static_cast<const std::decay_t<Args>&>(xs)...))
      throw_not_encodable(info(), "arguments");
  }

  /// Refuses to compile if CAF could not write all of it.
  static constexpr void check_inspect() {
    using result = std::conditional_t<std::is_void_v<R>, int, result_type>;
    static_assert(compat::encodable<result, std::decay_t<Args>...>,
                  "what a procedure takes and returns needs an inspect "
                  "function, as what CAF's messages hold does");
  }

  /// Returns the result that a call has answered.
  ///
  /// Errors: as `pack`.
  result_type unpack(const compat::byte_buffer& answer) const {
    if constexpr (!std::is_void_v<R>) {
      result_type result{};
      if (!compat::decode(std::as_bytes(std::span{answer}), result))
        throw_not_decodable(Name.view(), type_text<R>(), "result",
                            answer.size());
      return result;
    }
  }

private:
  bool idempotent_ = false;
};

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
    what.check_inspect();
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

#include "troupe/trip.hpp"
