// What users hold: a handle to one coordinator and its workers, with functions
// that make operations out of blocking calls.

#pragma once

#include <chrono>
#include <concepts>
#include <memory>
#include <ranges>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <caf/fwd.hpp>

#include "troupe/completion.hpp"
#include "troupe/map_batch.hpp"
#include "troupe/operation.hpp"
#include "troupe/options.hpp"
#include "troupe/run_batch.hpp"
#include "troupe/stats.hpp"

namespace troupe {

template <class T>
class stream;

/// A handle to a pool of workers. Cheap to copy; usable from any thread. Copies
/// share the pool.
///
/// When the last copy is gone and nothing is outstanding, the pool ends by
/// itself; the destructor never blocks. A pool must not outlive its system.
/// Source: concurrent.futures.ThreadPoolExecutor.
class pool {
public:
  // -- construction -----------------------------------------------------------

  /// Starts a pool with what the configuration says: a coordinator at once,
  /// workers as they are needed, `min-workers` of them right away.
  ///
  /// Errors: throws `failure` with `ec::invalid_option`, or with
  ///         `ec::resource_unavailable` if the system refuses a thread; then
  ///         nothing was started.
  explicit pool(caf::actor_system& system);

  /// Starts a pool for which `troupe.pools.NAME.*` goes over `troupe.*`.
  ///
  /// Errors: as above.
  // A template, so that `pool{sys, {.workers = 8}}` means options.
  template <std::convertible_to<std::string> Name>
  pool(caf::actor_system& system, Name&& name)
      : pool{system, pool_options{.name = std::forward<Name>(name)}} {}

  /// Starts a pool; options that are set go over the configuration.
  ///
  /// Errors: as above.
  pool(caf::actor_system& system, const pool_options& options);

  // -- requests ---------------------------------------------------------------

  /// Makes one blocking call: `fn(args...)` or `fn(context&, args...)`.
  ///
  /// Shape:  one request, whose result is decayed. Function and arguments are
  ///         decay-copied in, and may be moved once more when the call starts;
  ///         `std::ref` refers.
  /// Errors: whatever `fn` throws; `failure` if it never ran. Throws `failure`
  ///         with `ec::invalid_option` for a null function.
  /// Source: loop.run_in_executor, asyncio.to_thread.
  template <class F, class... Ts>
  requires request_function<std::decay_t<F>, std::decay_t<Ts>...>
  auto run(F&& fn, Ts&&... xs) const {
    using type = run_batch<std::decay_t<F>, std::decay_t<Ts>...>;
    using result = typename type::result_type;
    refuse_null(fn, "run");
    // What is made inside a request inherits from that.
    if constexpr (can_be_light<std::decay_t<F>, std::decay_t<Ts>...>)
      if (!worker_cell::current_batch()) {
        using light = bound_call<std::decay_t<F>, std::decay_t<Ts>...>;
        return operation<result>{
            std::make_unique<light>(std::forward<F>(fn),
                                    std::forward<Ts>(xs)...),
            home()};
      }
    auto made = make_ref<type>(std::forward<F>(fn), std::forward<Ts>(xs)...);
    bind(*made);
    return operation<result>{std::move(made)};
  }

  /// Calls a procedure: here, or where the pool makes its calls. `map` and the
  /// others take a procedure as they take any function.
  ///
  /// Shape:  one request. The arguments are converted to those of the procedure
  ///         right here.
  /// Errors: as `run`; and `failure` with `ec::unknown_procedure` if the pool
  ///         does not know it, or knows it by another signature.
  template <class Procedure, class... Ts>
  requires requires { typename Procedure::arguments; }
  auto call(const Procedure& what, Ts&&... xs) const {
    static_assert(Procedure::template accepts<Ts...>,
                  "these are not the arguments of the procedure");
    return std::apply(
        [&](auto&&... converted) { return run(what, std::move(converted)...); },
        typename Procedure::arguments(std::forward<Ts>(xs)...));
  }

  /// Calls `fn` for each element: `fn(element)` or `fn(context&, element)`.
  ///
  /// Shape:  n elements in, n results out, in order; nothing for void. Elements
  ///         arrive as lvalues, or as rvalues if `fn` takes only these. Ranges
  ///         are copied or moved in; views refer to what they refer to. One
  ///         `fn` is shared by all calls, which run concurrently.
  /// Errors: the first failure by arrival; what has not started then never
  ///         will, what runs is asked to stop, and the failure is delivered
  ///         when all that had started has returned. Throws `failure` with
  ///         `ec::invalid_option` for more than `batch::max_size` elements.
  /// Source: Executor.map.
  template <std::ranges::input_range Range, class F>
  auto map(Range&& range, F&& fn) const {
    refuse_null(fn, "map");
    auto made = make_map(std::forward<Range>(range), std::forward<F>(fn));
    bind(*made);
    using value = typename std::remove_reference_t<decltype(*made)>::value_type;
    return operation<map_result_t<value>>{std::move(made)};
  }

  /// Calls `fn` for each element of any input range, also an endless one, and
  /// streams the results in input order. Pulls elements when the next result is
  /// asked for, on that thread: one, then on until that result is there.
  ///
  /// Shape:  one result per element; std::monostate for void. Elements are kept
  ///         by value. One `fn` is shared by all calls.
  /// Units:  at most `max_in_flight` elements are pulled and not yet read,
  ///         whether they wait, run or are complete; from 1 to 1,048,576, 0
  ///         for four per worker.
  /// Errors: `next` throws what the call for that element threw; the stream
  ///         goes on behind it. What the range throws comes once, after all
  ///         that was pulled before, and ends the stream. Throws `failure` with
  ///         `ec::invalid_option` for a larger `max_in_flight`.
  /// Source: Executor.map with buffersize; multiprocessing.Pool.imap.
  template <std::ranges::input_range Range, class F>
  auto imap(Range&& range, F&& fn, std::size_t max_in_flight = 0) const;

  /// As `imap`, but streams the results in order of completion.
  ///
  /// Source: multiprocessing.Pool.imap_unordered.
  template <std::ranges::input_range Range, class F>
  auto imap_unordered(Range&& range, F&& fn,
                      std::size_t max_in_flight = 0) const;

  // -- properties and control -------------------------------------------------

  /// Returns the options in effect, and where each was set.
  effective_options options() const;

  /// Returns a snapshot. Does not block.
  pool_stats stats() const;

  /// Changes the greatest number of workers. Does not block: new workers start
  /// as they are needed, surplus ones end when they are between requests.
  ///
  /// A pool that sizes itself keeps to that number from then on, until it is
  /// resized to `automatic`; any pool can be.
  /// Errors: throws `failure` with `ec::invalid_option` for what is neither
  ///         `automatic` nor a count from 1 to `defaults::workers_limit`.
  void resize(std::size_t workers) const;

  /// Refuses new submissions, except those of running requests, and waits until
  /// all that was admitted is done, for `timeout` at the longest. Then refuses
  /// those of running requests, too, cancels what is queued, asks what runs to
  /// stop and calls its hooks, and tells what still runs, without waiting for
  /// it.
  ///
  /// Shape:  one receipt, which has each request in exactly one bucket. The
  ///         first call counts; later ones get the same.
  /// Units:  `timeout` is elapsed time from the start of the operation.
  /// Errors: `ec::pool_stopped` if something else ended the pool first; else
  ///         none of its own. It cannot be cancelled.
  operation<receipt> shutdown(std::chrono::nanoseconds timeout) const;

  /// As above, with the pool's `drain-timeout`.
  operation<receipt> shutdown() const;

  /// Returns the coordinator, which takes the messages of messages.hpp.
  caf::actor actor() const;

protected:
  /// Starts a pool with just these options.
  // In this order, so that `pool{sys, {.workers = 8}}` can only mean the other.
  pool(effective_options options, caf::actor_system& system);

private:
  struct lease;

  home_share home() const;

  void bind(batch& made) const;

  std::shared_ptr<lease> lease_;
};

} // namespace troupe

#include "troupe/stream.hpp"
