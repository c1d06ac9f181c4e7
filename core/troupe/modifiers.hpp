// What can be set about an operation besides its label, token and deadline:
// where it stands in the queue, how many of its requests run at once, whether
// failed ones are tried again, and who hears how far it is.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "troupe/ref_counted.hpp"

namespace troupe {

// -- order and share ----------------------------------------------------------

/// Where a batch stands among others. A higher one goes first, but after it has
/// had eight turns, a lower one has one: a request, or some for 200 us. Those
/// of one class have turns one after another. At a key, whoever came first is
/// first, of whatever class.
enum class priority : std::uint8_t { high, normal, low };

/// How many classes of priority there are.
inline constexpr std::size_t priorities = 3;

/// At most `limit` requests with the same key run at once in one pool.
struct key_limit {
  std::string key;
  std::uint32_t limit = 1;
};

// -- retry --------------------------------------------------------------------

/// When and how often a failed request is tried again. No worker is held while
/// the next attempt waits.
///
/// Shape:  attempt n + 1 waits `backoff * factor^(n - 1)`, at most
///         `max_backoff`, of which the share `jitter` is random.
/// Source: tenacity's wait_exponential_jitter; "full jitter" is `jitter = 1`.
struct retry_policy {
  /// All attempts, the first one included: from 1.
  unsigned attempts = 3;

  /// The wait before the second attempt: from 0.
  std::chrono::nanoseconds backoff = std::chrono::milliseconds{100};

  /// By how much each wait is longer than the one before: from 1.
  double factor = 2;

  std::chrono::nanoseconds max_backoff = std::chrono::seconds{30};

  /// Which part of a wait is random, so that those who failed together do not
  /// come back together: 0 to 1.
  double jitter = 0.5;

  /// Whether to try again after this exception; none: after each. Is called on
  /// a worker; one that throws means no.
  std::function<bool(const std::exception_ptr&)> when = {};
};

/// Returns a predicate for `retry_policy::when` that holds for exceptions of
/// these types.
template <class... Exceptions>
std::function<bool(const std::exception_ptr&)> retry_on() {
  return [](const std::exception_ptr& what) {
    auto matches = [&]<class E>(std::type_identity<E>) {
      try {
        std::rethrow_exception(what);
      } catch (const E&) {
        return true;
      } catch (...) {
        return false;
      }
    };
    return (matches(std::type_identity<Exceptions>{}) || ...);
  };
}

/// Returns how long to wait after `attempts` attempts have failed; `random` is
/// a number from 0 up to 1.
std::chrono::nanoseconds backoff_after(const retry_policy& policy,
                                       unsigned attempts,
                                       double random) noexcept;

// -- progress -----------------------------------------------------------------

/// How far an operation is.
struct progress {
  /// Requests, or parts of a gather, that have an outcome; some of them failed.
  std::uint64_t done = 0;
  std::uint64_t failed = 0;

  /// Requests that run right now.
  std::uint64_t running = 0;

  std::uint64_t total = 0;
};

/// Calls a function with the progress, now and then, from whichever thread
/// makes progress; never two calls at once. Thread-safe.
class progress_meter final : public ref_counted {
public:
  /// The least time between two calls.
  static constexpr auto interval = std::chrono::milliseconds{50};

  explicit progress_meter(std::function<void(const progress&)> fn);

  /// Before the start.
  void add_total(std::uint64_t parts) noexcept;

  void add_done(std::uint64_t parts, std::uint64_t failed) noexcept;

  void add_running(std::int64_t workers) noexcept;

  /// Calls the function for the last time, unless it is the function that
  /// calls this; later calls of anything do nothing. What has no outcome by
  /// then has failed.
  void finish() noexcept;

private:
  progress now() const noexcept;
  bool is_calling() const noexcept;
  void call(const progress& what) noexcept;

  std::function<void(const progress&)> fn_;
  std::atomic<std::uint64_t> total_{0};
  std::atomic<std::uint64_t> done_{0};
  std::atomic<std::uint64_t> failed_{0};
  std::atomic<std::int64_t> running_{0};
  // When the function may be called again, in ticks of the steady clock.
  std::atomic<std::int64_t> next_call_;
  std::mutex calling_;
  // The thread on which it is being called.
  std::atomic<std::thread::id> caller_;
  bool finished_ = false;
};

// -- tags ---------------------------------------------------------------------

/// The key-value pairs of an operation, such as {"tenant", "42"}.
using tag_list = std::vector<std::pair<std::string, std::string>>;

/// Returns the value of `key`, or an empty text.
std::string_view find_tag(const tag_list& tags, std::string_view key) noexcept;

/// Adds a pair in front, in place of one with that key; if it is that of a
/// larger operation, at the end, unless there is one.
void set_tag(tag_list& tags, std::pair<std::string, std::string> tag,
             bool of_whole);

/// Returns " (key=value, ...)", or an empty text for no tags.
std::string to_text(const tag_list& tags);

// -- all of them --------------------------------------------------------------

/// What one call of a modifier sets; the rest is left as it is.
struct modifiers {
  std::optional<troupe::priority> priority = {};
  std::optional<std::uint32_t> max_in_flight = {};
  std::optional<key_limit> key = {};
  std::shared_ptr<const retry_policy> retry = {};
  ref_ptr<progress_meter> progress = {};
  std::optional<std::pair<std::string, std::string>> tag = {};

  /// Whether they are those of a larger operation: what a part has set itself
  /// stays, and of two limits the stricter one counts.
  bool of_whole = false;
};

} // namespace troupe
