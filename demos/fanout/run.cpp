// Fanning out; see the header.
#include "run.hpp"

#include "feed.hpp"
#include "parts/text.hpp"
#include "targets/clients.hpp"

#include "troupe/troupe.hpp"

#include <chrono>
#include <cstdio>
#include <ranges>
#include <utility>

namespace fanout {

namespace {

// How long an interrupted run counts the targets that it will not start.
constexpr auto counting_time = std::chrono::seconds{1};

} // namespace

targets::result run::live::ask(troupe::context& context, targets::target what) {
  ++started;
  auto& own = context.resource<targets::clients>();
  auto answer = own.ask(std::move(what), context.stop_token());
  busy_ns += answer.took.count();
  ++done;
  if (!answer.ok())
    ++failed;
  return answer;
}

troupe::pool_options run::options(std::optional<std::size_t> workers) const {
  troupe::pool_options result{.name = "fanout"};
  result.workers = workers;
  result.min_workers = workers;
  result.resource = troupe::make_resource<targets::clients>([live = live_] {
    ++live->workers;
    return targets::clients{};
  });
  return result;
}

run::run(caf::actor_system& sys, std::optional<std::size_t> workers,
         std::stop_token stop)
    : sys_{sys},
      stop_{std::move(stop)},
      pool_{sys, options(workers)},
      observer_{observe(sys, pool_.actor())} {}

parts::progress run::look() const {
  parts::progress result{
      .done = live_->done, .failed = live_->failed, .part = {}};
  if (auto part = live_->part.load(); part >= 0)
    result.part = part;
  return result;
}

ending run::batch(const std::vector<targets::target>& targets,
                  const consumer& consume) {
  auto begin = std::chrono::steady_clock::now();
  // Requests leave their results here instead of returning them: a batch that
  // is stopped has no results to return, but those that were done count.
  auto results = std::make_shared<std::vector<std::optional<targets::result>>>(
      targets.size());
  std::vector<troupe::operation<void>> requests;
  requests.reserve(targets.size());
  for (std::size_t i = 0; i < targets.size(); ++i)
    requests.push_back(
        pool_
            .run([live = live_, results, i, total = targets.size(),
                  what = targets[i]](troupe::context& context) {
              (*results)[i] = live->ask(context, what);
              live->part =
                  static_cast<double>(live->done) / static_cast<double>(total);
            })
            .label(targets[i].text));
  try {
    troupe::gather(std::move(requests)).stop_with(stop_).get();
  } catch (const troupe::failure& why) {
    if (why.code() != troupe::ec::cancelled)
      throw;
  }
  auto end = finish(begin);
  for (const auto& answer : *results)
    if (answer)
      consume(*answer);
  if (stop_.stop_requested())
    end.never_started = targets.size() - live_->started;
  return end;
}

ending run::stream(targets::target_source& source, const consumer& consume) {
  auto begin = std::chrono::steady_clock::now();
  auto ask = [live = live_](troupe::context& context, targets::target what) {
    return live->ask(context, std::move(what));
  };
  // Reads until the end, over those that were cancelled before they started:
  // what lies behind may have run.
  auto read = [&](auto next) {
    for (;;) {
      try {
        std::optional<targets::result> answer = next();
        if (!answer)
          break;
        live_->part = answer->what.position.value_or(-1);
        consume(*answer);
      } catch (const troupe::failure& why) {
        if (why.code() != troupe::ec::cancelled)
          throw;
      }
    }
  };
  if (source.may_block()) {
    std::stop_callback close{stop_, [&source] { source.close(); }};
    feed input{
        source, 4 * workers(), [&](targets::target what) {
          return pool_.run(ask, std::move(what)).stop_with(stop_).start();
        }};
    read([&input]() -> std::optional<targets::result> {
      auto request = input.next();
      return request ? std::optional{request->get()} : std::nullopt;
    });
  } else {
    live_->part = 0;
    auto view = std::ranges::subrange{source.begin(), source.end()};
    auto results = pool_.imap(view, ask).stop_with(stop_);
    read([&results] { return results.next().get(); });
  }
  auto end = finish(begin);
  if (stop_.stop_requested()) {
    auto deadline = std::chrono::steady_clock::now() + counting_time;
    while (!end.at_least) {
      end.at_least =
          source.may_block() || std::chrono::steady_clock::now() > deadline;
      if (end.at_least || !source.next())
        break;
    }
    end.never_started = source.count() - live_->started;
  }
  return end;
}

ending run::finish(std::chrono::steady_clock::time_point begin) {
  ending result;
  result.elapsed = std::chrono::steady_clock::now() - begin;
  result.workers = live_->workers;
  auto offered = static_cast<double>(result.workers)
                 * static_cast<double>(result.elapsed.count());
  if (offered > 0)
    result.busy = static_cast<double>(live_->busy_ns.load()) / offered;
  // Ends the pool first: what it has completed, it has told by then. What does
  // not return in time is named, so that the user knows what the program waits
  // for.
  for (const auto& left : pool_.shutdown().get().still_running)
    std::fprintf(
        stderr, "fanout: still running after %s: %s\n",
        parts::human(std::chrono::steady_clock::now() - left.since).c_str(),
        parts::printable(left.label).c_str());
  result.observed = dismiss(sys_, observer_);
  return result;
}

} // namespace fanout
