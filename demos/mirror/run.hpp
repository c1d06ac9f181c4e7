// One run of mirror: a list that is read while it is worked on, a pool whose
// workers own an HTTP client each, and tasks that fetch what is missing. This
// is where the demo meets troupe.
#pragma once

#include "parts/folder.hpp"
#include "place.hpp"
#include "url_source.hpp"

#include "parts/progress_bar.hpp"

#include "troupe/troupe.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace mirror {

/// How a run goes about it.
struct settings {
  /// How many files are fetched from one host at once.
  std::uint32_t per_host = 4;
  /// How often a file is asked for if its failures may pass.
  unsigned attempts = 3;
  /// When a second request is sent for a file that is slow; nothing: never.
  std::optional<std::chrono::nanoseconds> hedge_after;
  /// How long all of it may take.
  std::optional<std::chrono::nanoseconds> deadline;
};

/// How a run ended. Each URL counts once: as fetched, there, failed, stopped or
/// never started.
struct ending {
  std::chrono::nanoseconds elapsed{0};
  std::size_t fetched = 0;
  std::size_t there = 0;
  std::size_t failed = 0;
  /// Under way when the run was stopped.
  std::size_t stopped = 0;
  std::size_t never_started = 0;
  /// More than `never_started` that could not be counted.
  bool at_least = false;
  /// Of the files that were fetched.
  std::uint64_t bytes = 0;
  /// Second requests for what was slow, and requests after a failure.
  std::size_t hedged = 0;
  std::size_t retried = 0;
};

/// Mirrors once.
class run {
public:
  /// Hears of a URL that failed, and why.
  using failure_sink =
      std::function<void(const std::string& url, const std::string& cause)>;

  /// @param stop ends the run early: nothing new is started, what runs is asked
  ///        to stop.
  run(caf::actor_system& sys, settings how,
      std::shared_ptr<const parts::folder> into,
      std::shared_ptr<url_source> source, std::stop_token stop,
      failure_sink on_failure);

  /// Returns how far it is. Callable from any thread.
  parts::progress look() const;

  /// Fetches all that is missing, and blocks until that is done.
  ///
  /// Units:  a bounded number of URLs is in memory at once.
  /// Errors: URLs that fail are counted. Throws if the list cannot be read, and
  ///         what `on_failure` throws.
  ending execute();

private:
  // One file to fetch.
  struct download {
    std::string url;
    place where;
  };

  // What a look at the list has brought.
  struct found {
    std::vector<download> missing;
    std::vector<url_source::entry> bad;
    std::size_t there = 0;
    bool last = false;
  };

  // What is counted while requests run. They may outlive the run.
  struct live {
    std::atomic<std::size_t> fetched = 0;
    std::atomic<std::size_t> there = 0;
    std::atomic<std::size_t> failed = 0;
    std::atomic<std::size_t> stopped = 0;
    std::atomic<std::uint64_t> bytes = 0;
    std::atomic<std::size_t> hedged = 0;
    std::atomic<std::size_t> retried = 0;
    // URLs that were handed out, and the part of the list that they are; less
    // than 0: unknown.
    std::atomic<std::size_t> handed_out = 0;
    std::atomic<double> position = -1;
  };

  class fetch_call;

  static found read_some(url_source& source, const parts::folder& into);

  troupe::task<void> read(caf::event_based_actor* self);

  troupe::task<void> fetch_all(caf::event_based_actor* self);

  troupe::operation<std::uint64_t>
  fetch(const download& what,
        const std::shared_ptr<std::atomic<bool>>& begun) const;

  // Whether this is how a request ends that was stopped, rather than failed.
  static bool is_cut(const std::exception_ptr& why);

  void fail(const std::string& url, const std::string& cause);

  void count_rest(ending& end);

  settings how_;
  std::shared_ptr<const parts::folder> into_;
  std::shared_ptr<url_source> source_;
  std::stop_token stop_;
  failure_sink on_failure_;
  std::optional<troupe::clock::time_point> deadline_;
  std::shared_ptr<live> live_ = std::make_shared<live>();
  caf::actor_system& sys_;
  troupe::pool pool_;
  troupe::pool reader_;
  troupe::channel<download> missing_;
  // The list was not read to its end.
  bool list_was_cut_ = false;
};

} // namespace mirror
