// What can be set about a pool, and how the places where it can be set add up:
// an option in code, over `troupe.pools.NAME.KEY`, over `troupe.KEY`, over the
// default. Plain values and text only; where the text comes from is the
// business of config.hpp.

#pragma once

#include "troupe/clock.hpp"
#include "troupe/defaults.hpp"
#include "troupe/resource.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

class procedure_host;

/// Says what becomes of a submission when the queue is full.
enum class on_full : std::uint8_t {
  /// It waits until there is room: see `operation::start` and `admit`.
  wait,
  /// It fails with `ec::queue_full`.
  reject,
};

/// Returns the word for `policy` as options spell it.
std::string_view to_string(on_full policy) noexcept;

/// Says what the end of the system does about requests that never return.
enum class on_stuck : std::uint8_t {
  /// It waits for them, as for all that runs.
  wait,
  /// It leaves the process by `std::quick_exit(EXIT_FAILURE)` when nothing but
  /// them is left.
  quick_exit,
};

/// Returns the word for `policy` as options spell it.
std::string_view to_string(on_stuck policy) noexcept;

// -- what users set in code ---------------------------------------------------

/// In place of a number of workers: the pool finds it while it runs. See
/// auto_sizer.hpp for how. A number that is no size, as `std::string::npos` is
/// no position; and not what -1 becomes, which is a slip of the finger.
inline constexpr std::size_t automatic =
    std::numeric_limits<std::size_t>::max() - 1;

/// The options of one pool, as set in code. What is left out comes from the
/// configuration, or else from the defaults.
struct pool_options {
  /// Names the pool, its threads and its keys: `troupe.pools.NAME.KEY`. None:
  /// a pool called "troupe" without keys of its own.
  std::string name = {};

  /// The most workers the pool may have: from 1, or `automatic`.
  std::optional<std::size_t> workers = {};

  /// Workers kept when idle: from 0 to `workers`. An automatic pool never has
  /// less.
  std::optional<std::size_t> min_workers = {};

  /// The most workers that an automatic pool gives itself: from 1. Means
  /// nothing to other pools.
  std::optional<std::size_t> workers_limit = {};

  /// An idle worker above the minimum ends after this.
  std::optional<std::chrono::nanoseconds> idle_timeout = {};

  /// Submissions admitted and not yet started: from 1. A map, or a gather of
  /// calls, counts as one.
  std::optional<std::size_t> max_queued = {};

  /// What becomes of a submission when the queue is full.
  std::optional<troupe::on_full> on_full = {};

  /// How long an idle worker looks for the next batch, and a blocked caller for
  /// its outcome, before it sleeps.
  std::optional<std::chrono::nanoseconds> spin = {};

  /// How long `pool::shutdown()` waits for what was admitted before it cancels.
  std::optional<std::chrono::nanoseconds> drain_timeout = {};

  /// A request that runs longer makes its worker stuck: the pool raises an
  /// alarm and may start a spare worker. 0: none ever is. Also the time after
  /// which it is noticed: up to a quarter later.
  std::optional<std::chrono::nanoseconds> max_run_time = {};

  /// How many workers beyond `workers` may stand in for stuck ones: from 0.
  std::optional<std::size_t> max_spares = {};

  /// What becomes of the process when nothing is left but requests that do not
  /// return. With `quick_exit`, once the last handle of the pool is gone (or it
  /// was shut down), `drain_timeout` has passed, every request that runs is
  /// past `max_run_time` (if that is set), and no actor of the system runs but
  /// such workers and their coordinators: each such request is logged, and the
  /// process ends by `std::quick_exit(EXIT_FAILURE)`, without destructors and
  /// without flushing C streams; see `std::at_quick_exit`.
  std::optional<troupe::on_stuck> on_stuck = {};

  /// Bytes of stack that each worker has at the least; 0: what the system gives
  /// to every thread (`ulimit -s`), mostly 8 MiB. A larger size holds for all
  /// threads that this process starts from then on, whoever starts them, since
  /// CAF creates the threads of its actors with the default of the process. A
  /// smaller one changes nothing: memory of a stack is used when it is touched.
  std::optional<std::size_t> stack_size = {};

  /// Is called with the number of the worker, on its thread, before it takes
  /// its first request. A worker whose hook throws takes no request; what was
  /// thrown is logged, and another worker is tried later, after a pause that
  /// doubles each time. While the pool has no other worker, all requests fail
  /// with `ec::resource_unavailable` and the text of what was thrown. Several
  /// workers may call it at once.
  /// Source: ThreadPoolExecutor's initializer, but one failure does not break
  /// the pool for ever.
  std::function<void(int worker)> on_worker_start = {};

  /// Is called with the number of the worker, on its thread, after its last
  /// request and after its resource is closed; not for one whose start failed.
  /// What it throws is logged.
  std::function<void(int worker)> on_worker_stop = {};

  /// What each worker keeps between requests. Made by `make_resource`.
  std::optional<resource_spec> resource = {};

  /// The functions that `pool::call` finds; set a `procedures` here.
  std::shared_ptr<const procedure_host> procedures = {};

  /// Where the pool reads the time; none: the steady clock.
  std::shared_ptr<troupe::clock> clock = {};
};

// -- what holds for a pool ----------------------------------------------------

/// Says where the value of an option was set.
enum class option_origin : std::uint8_t {
  /// Nowhere: it is the default.
  built_in,
  /// `troupe.KEY`
  config,
  /// `troupe.pools.NAME.KEY`
  pool_config,
  /// A member of `pool_options`.
  code,
};

/// The options that a pool works with, and where each was set.
struct effective_options {
  std::string name = {};
  /// Of an automatic pool: what it has now; before it runs, what it begins
  /// with. 0: there may be none at times, and requests wait then; of a pool of
  /// nodes.
  std::size_t workers = defaults::workers();

  /// Whether the pool sizes itself.
  bool automatic = false;
  std::size_t min_workers = defaults::min_workers;
  std::size_t workers_limit = defaults::automatic_limit();
  std::chrono::nanoseconds idle_timeout = defaults::idle_timeout;
  std::size_t max_queued = defaults::max_queued;
  troupe::on_full on_full = troupe::on_full::wait;
  std::chrono::nanoseconds spin = defaults::spin;
  std::chrono::nanoseconds drain_timeout = defaults::drain_timeout;
  std::chrono::nanoseconds max_run_time = defaults::max_run_time;
  std::size_t max_spares = defaults::max_spares;
  troupe::on_stuck on_stuck = troupe::on_stuck::wait;
  std::size_t stack_size = defaults::stack_size;
  std::function<void(int worker)> on_worker_start = {};
  std::function<void(int worker)> on_worker_stop = {};
  std::optional<resource_spec> resource = {};
  std::shared_ptr<const procedure_host> procedures = {};
  std::shared_ptr<troupe::clock> clock = {};

  /// Whether the workers share their threads with other actors, and therefore
  /// come back now and then; see `compute_pool`.
  bool cooperative = false;

  /// Whether the pool may size itself: not if its workers are processes, or
  /// share the cores; then it has one for each core.
  bool may_size_itself = true;

  struct origins {
    option_origin workers = option_origin::built_in;
    option_origin min_workers = option_origin::built_in;
    option_origin workers_limit = option_origin::built_in;
    option_origin idle_timeout = option_origin::built_in;
    option_origin max_queued = option_origin::built_in;
    option_origin on_full = option_origin::built_in;
    option_origin spin = option_origin::built_in;
    option_origin drain_timeout = option_origin::built_in;
    option_origin max_run_time = option_origin::built_in;
    option_origin max_spares = option_origin::built_in;
    option_origin on_stuck = option_origin::built_in;
    option_origin stack_size = option_origin::built_in;
  };
  origins origin = {};
};

/// Maps full keys, such as "troupe.workers" or "troupe.pools.db.workers", to
/// the text of their values.
using option_table = std::map<std::string, std::string>;

/// Works out what holds for the pool that `options` describes.
///
/// Errors: throws `failure` with `ec::invalid_option` if the table has an
///         unknown key or a value that is not accepted (for whichever pool), if
///         a member of `options` is out of range, or if two values contradict
///         each other. The text names key, value and what is accepted.
effective_options resolve(const pool_options& options,
                          const option_table& table);

/// What holds for one option of a pool, and where it was set.
struct explained_option {
  /// Without "troupe.", such as "min-workers".
  std::string_view key;

  /// As the configuration would spell it.
  std::string value;

  option_origin origin = option_origin::built_in;
};

/// Returns all options of the pool that `options` describes, in the order of
/// `option_infos`.
///
/// Errors: throws as `resolve` does for the values that hold.
std::vector<explained_option> explain(const pool_options& options,
                                      const option_table& table);

/// Returns the names of the pools that have keys of their own, in order.
std::vector<std::string> pool_names(const option_table& table);

/// Checks the whole table: what `resolve` finds, for the unnamed pool and for
/// each pool that has keys of its own.
///
/// Errors: as `resolve`.
void check_options(const option_table& table);

/// Checks one key and its value; contradictions take the whole table.
///
/// Errors: as `resolve`.
void check_option(std::string_view key, std::string_view text);

/// Returns the full name of what set `key` (such as "min-workers") for the
/// pool: "default", "troupe.min-workers", "troupe.pools.db.min-workers" or
/// "pool_options.min_workers".
std::string origin_name(option_origin origin, std::string_view key,
                        std::string_view pool);

// -- the keys -----------------------------------------------------------------

/// Says what kind of value a key takes.
enum class option_kind : std::uint8_t { count, duration, word };

/// Describes a key of `troupe` and of `troupe.pools.NAME`.
struct option_info {
  std::string_view key;
  option_kind kind;
  /// What the key means, in a few words.
  std::string_view meaning;
  /// The default, in words.
  std::string_view fallback;
  /// Of a word: those that are accepted, such as "wait|reject". Of a count:
  /// the one that may stand in its place, such as "auto".
  std::string_view words = {};
};

/// Returns all keys, in the order in which they are best explained.
std::span<const option_info> option_infos() noexcept;

/// Finds what `key` ("troupe.workers", "troupe.pools.db.workers") sets; null if
/// there is no such key.
const option_info* find_option(std::string_view key) noexcept;

/// Returns " = 'TEXT': unknown key …" for `key`, with the key that was probably
/// meant and the accepted ones; no text: without the value.
std::string unknown_key(std::string_view key,
                        std::optional<std::string_view> text);

/// Returns what `key` accepts, such as "a whole number from 1 to 65536, or
/// auto".
std::string accepted_values(std::string_view key);

/// Returns the candidate that is most like `word`, if one is so much like it
/// that `word` was probably a slip of the finger.
std::optional<std::string>
closest_match(std::string_view word, std::span<const std::string> candidates);

// -- values as text -----------------------------------------------------------

/// Reads a whole number from `least` to `most`.
///
/// Errors: throws `failure` with `ec::invalid_option`; the text opens with
/// `key`.
std::size_t parse_count(std::string_view key, std::string_view text,
                        std::size_t least, std::size_t most);

/// Reads a whole number of workers from 1, or `auto`, which is `automatic`.
///
/// Errors: as above.
std::size_t parse_workers(std::string_view key, std::string_view text);

/// Reads a duration from 0 to `defaults::duration_limit`: a number, also a
/// decimal one, and its unit (ns, us, ms, s, min, h); 0 needs no unit.
///
/// Errors: throws `failure` with `ec::invalid_option`; the text opens with
/// `key`.
std::chrono::nanoseconds parse_duration(std::string_view key,
                                        std::string_view text);

/// Reads `wait` or `reject`.
///
/// Errors: throws `failure` with `ec::invalid_option`; the text opens with
/// `key`.
on_full parse_on_full(std::string_view key, std::string_view text);

/// Reads `wait` or `quick-exit`.
///
/// Errors: as above.
on_stuck parse_on_stuck(std::string_view key, std::string_view text);

/// Returns `value` in the largest unit that makes it a whole number, such as
/// "1500ms"; `parse_duration` reads it back.
std::string to_text(std::chrono::nanoseconds value);

/// Returns `text` on one line: control characters are written as \xNN.
std::string on_one_line(std::string_view text);

/// Returns `text` on one line, in single quotes.
std::string in_quotes(std::string_view text);

} // namespace troupe
