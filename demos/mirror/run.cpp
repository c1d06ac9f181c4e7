// Mirroring; see the header.
#include "run.hpp"

#include "parts/text.hpp"
#include "troupe/http_client.hpp"

#include <chrono>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <utility>

namespace mirror {

namespace {

// How many files are asked for at once, most of them waiting for a worker or
// for their host: so many of a host that has no room may stand in the list
// before those of others wait for them.
constexpr std::size_t under_way = 1000;

// How many URLs are read at a time, and how many may wait to be asked for.
constexpr std::size_t read_ahead = 64;

// How long a run that was stopped counts the URLs that it will not ask for.
constexpr auto counting_time = std::chrono::seconds{1};

// A server that is restarted is back after a second or so; three attempts are
// spread over about that.
constexpr auto first_backoff = std::chrono::milliseconds{250};

// An answer that is not the file.
class refused : public std::runtime_error {
public:
  explicit refused(long status)
      : std::runtime_error{"the server answered with status "
                           + std::to_string(status)},
        may_pass_{status >= 500 || status == 429} {}

  bool may_pass() const noexcept { return may_pass_; }

private:
  bool may_pass_;
};

// The request was asked to stop, and did.
class stopped : public std::exception {};

bool may_pass(const std::exception_ptr& why) {
  try {
    std::rethrow_exception(why);
  } catch (const refused& error) {
    return error.may_pass();
  } catch (const troupe::http_error& error) {
    return error.may_pass();
  } catch (...) {
    return false;
  }
}

// Why a request failed, in words that follow its URL.
std::string cause_of(const std::exception& error) {
  auto* of_client = dynamic_cast<const troupe::http_error*>(&error);
  return of_client ? of_client->cause() : error.what();
}

troupe::pool_options with_clients() {
  troupe::pool_options result{.name = "mirror"};
  result.resource = troupe::make_resource<troupe::http_client>(
      [] { return troupe::http_client{}; });
  return result;
}

} // namespace

// -- one file -----------------------------------------------------------------

// What a worker does for one file. Called again for each attempt; a hedge is a
// copy of it.
class run::fetch_call {
public:
  fetch_call(download what, const run& owner,
             std::shared_ptr<std::atomic<bool>> begun)
      : what_{std::move(what)},
        into_{owner.into_},
        live_{owner.live_},
        stop_run_{owner.stop_},
        begun_{std::move(begun)} {}

  std::uint64_t operator()(troupe::context& context) {
    // What ends the run ends all requests, one after another: this one may
    // have got the room that another one has just left.
    if (stop_run_.stop_requested()
        || context.deadline() <= std::chrono::steady_clock::now())
      throw stopped{};
    if (std::exchange(called_, true))
      ++live_->retried;
    else if (begun_->exchange(true))
      ++live_->hedged;
    auto& client = context.resource<troupe::http_client>();
    auto stop = context.stop_token();
    try {
      parts::part file{*into_};
      auto answer = client.get(
          what_.url, stop, [&](std::string_view bytes) { file.write(bytes); });
      if (answer.status < 200 || answer.status >= 300)
        throw refused{answer.status};
      if (stop.stop_requested())
        throw stopped{};
      file.keep_as(what_.where.path);
      return answer.bytes;
    } catch (const std::exception&) {
      // Whatever it looks like: a connection that was shut down looks broken.
      if (stop.stop_requested())
        throw stopped{};
      throw;
    }
  }

private:
  download what_;
  std::shared_ptr<const parts::folder> into_;
  std::shared_ptr<live> live_;
  std::stop_token stop_run_;
  // Shared by a request and its hedge.
  std::shared_ptr<std::atomic<bool>> begun_;
  bool called_ = false;
};

troupe::operation<std::uint64_t>
run::fetch(const download& what,
           const std::shared_ptr<std::atomic<bool>>& begun) const {
  auto request = pool_.run(fetch_call{what, *this, begun});
  // First, so that what follows is set for both copies.
  if (how_.hedge_after)
    request.hedge_after(*how_.hedge_after);
  request.label(what.url)
      .key(what.where.host, how_.per_host)
      .retry({.attempts = how_.attempts,
              .backoff = first_backoff,
              .when = may_pass})
      .stop_with(stop_);
  if (deadline_)
    request.deadline(*deadline_);
  return request;
}

bool run::is_cut(const std::exception_ptr& why) {
  try {
    std::rethrow_exception(why);
  } catch (const stopped&) {
    return true;
  } catch (const troupe::failure& error) {
    return error.code() == troupe::ec::cancelled
           || error.code() == troupe::ec::deadline_exceeded;
  } catch (...) {
    return false;
  }
}

// -- all of them --------------------------------------------------------------

run::run(caf::actor_system& sys, settings how,
         std::shared_ptr<const parts::folder> into,
         std::shared_ptr<url_source> source, std::stop_token stop,
         failure_sink on_failure)
    : how_{how},
      into_{std::move(into)},
      source_{std::move(source)},
      stop_{std::move(stop)},
      on_failure_{std::move(on_failure)},
      sys_{sys},
      pool_{sys, with_clients()},
      reader_{sys, troupe::pool_options{.name = "list", .workers = 1}},
      missing_{sys, read_ahead} {}

parts::progress run::look() const {
  auto good = live_->fetched + live_->there;
  auto failed = live_->failed.load();
  parts::progress result{.done = good + failed, .failed = failed, .part = {}};
  auto position = live_->position.load();
  auto handed_out = static_cast<double>(live_->handed_out.load());
  if (position >= 0 && handed_out > 0)
    result.part = position * static_cast<double>(result.done) / handed_out;
  return result;
}

// Reads until there is something to fetch, or to tell.
run::found run::read_some(url_source& source, const parts::folder& into) {
  found result;
  // One that may have to be waited for is asked for before the next is read.
  auto most = source.may_block() ? 1 : read_ahead;
  while (result.missing.size() < most && result.bad.size() < most
         && result.there < 100 * most) {
    auto next = source.next();
    if (!next) {
      result.last = true;
      break;
    }
    try {
      if (!next->problem.empty())
        throw std::runtime_error{next->problem};
      auto where = place_of(next->url);
      if (into.has(where.path))
        ++result.there;
      else
        result.missing.push_back({std::move(next->url), std::move(where)});
    } catch (const std::exception& error) {
      next->problem = error.what();
      result.bad.push_back(std::move(*next));
    }
  }
  return result;
}

troupe::task<void> run::read(caf::event_based_actor*) {
  for (auto last = false; !last;) {
    auto reading = reader_.run([source = source_, into = into_,
                                counts = live_](troupe::context& context) {
      auto hook = context.on_cancel([&source] { source->close(); });
      auto got = read_some(*source, *into);
      counts->handed_out = source->count();
      counts->position = source->position().value_or(-1);
      return got;
    });
    reading.stop_with(stop_);
    if (deadline_)
      reading.deadline(*deadline_);
    found got;
    try {
      got = co_await std::move(reading);
    } catch (const troupe::failure&) {
      if (!is_cut(std::current_exception()))
        throw;
      got.last = true;
      list_was_cut_ = true;
    }
    live_->there += got.there;
    for (const auto& what : got.bad)
      fail(what.url, what.problem);
    for (auto& what : got.missing) {
      auto pushing = missing_.push(std::move(what));
      co_await std::move(pushing);
    }
    last = got.last;
  }
  missing_.close();
}

troupe::task<void> run::fetch_all(caf::event_based_actor*) {
  for (;;) {
    auto popping = missing_.pop();
    auto what = co_await std::move(popping);
    if (!what)
      break;
    auto begun = std::make_shared<std::atomic<bool>>(false);
    auto request = fetch(*what, begun);
    try {
      auto bytes = co_await std::move(request);
      live_->bytes += bytes;
      ++live_->fetched;
    } catch (const std::exception& error) {
      if (!is_cut(std::current_exception()))
        fail(what->url, cause_of(error));
      else if (*begun)
        ++live_->stopped;
    }
  }
}

void run::fail(const std::string& url, const std::string& cause) {
  ++live_->failed;
  on_failure_(url, cause);
}

ending run::execute() {
  auto begin = std::chrono::steady_clock::now();
  if (how_.deadline)
    deadline_ = begin + *how_.deadline;
  auto everything = [this](caf::event_based_actor* self) -> troupe::task<void> {
    std::vector<troupe::task<void>> tasks;
    tasks.push_back(read(self));
    for (std::size_t i = 0; i < under_way; ++i)
      tasks.push_back(fetch_all(self));
    auto all = troupe::gather(std::move(tasks));
    co_await std::move(all);
  };
  troupe::run(sys_, everything);
  // What a deadline or a signal has left behind returns soon: it was asked to
  // stop. If it does not, the user should know what the program waits for.
  for (const auto& left : pool_.shutdown().get().still_running)
    std::fprintf(
        stderr, "mirror: still running after %s: %s\n",
        parts::human(std::chrono::steady_clock::now() - left.since).c_str(),
        parts::printable(left.label).c_str());
  reader_.shutdown().get();
  ending result;
  result.elapsed = std::chrono::steady_clock::now() - begin;
  result.fetched = live_->fetched;
  result.there = live_->there;
  result.failed = live_->failed;
  result.stopped = live_->stopped;
  result.bytes = live_->bytes;
  result.hedged = live_->hedged;
  result.retried = live_->retried;
  count_rest(result);
  return result;
}

void run::count_rest(ending& end) {
  auto late = std::chrono::steady_clock::now() + counting_time;
  end.at_least = list_was_cut_ && source_->may_block();
  while (list_was_cut_ && !end.at_least && source_->next())
    end.at_least = std::chrono::steady_clock::now() > late;
  end.never_started =
      source_->count() - end.fetched - end.there - end.failed - end.stopped;
}

} // namespace mirror
