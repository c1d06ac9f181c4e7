// Fanning out; see the header.
#include "run.hpp"

#include "clients.hpp"

#include "troupe/troupe.hpp"

#include <ranges>
#include <utility>

namespace fanout {

namespace {

using clients_ptr = std::unique_ptr<clients>;

// How long an interrupted run counts the targets that it will not start.
constexpr auto counting_time = std::chrono::seconds{1};

} // namespace

result run::live::ask(troupe::context& context, target what) {
  ++started;
  auto& own = *context.resource<clients_ptr>();
  auto stop = context.stop_token();
  auto hook = context.on_cancel([&own] { own.interrupt(); });
  auto answer = own.ask(std::move(what), stop);
  ++done;
  if (!answer.ok())
    ++failed;
  return answer;
}

troupe::pool_options run::options(std::optional<std::size_t> workers) const {
  troupe::pool_options result{.name = "fanout"};
  result.workers = workers;
  result.min_workers = workers;
  result.resource = troupe::make_resource<clients_ptr>([live = live_] {
    ++live->workers;
    return std::make_unique<clients>();
  });
  return result;
}

run::run(caf::actor_system& sys, std::optional<std::size_t> workers,
         std::stop_token stop)
    : sys_{sys},
      stop_{std::move(stop)},
      pool_{sys, options(workers)},
      observer_{observe(sys, pool_.actor())} {}

progress run::look() const {
  progress result{.done = live_->done, .failed = live_->failed, .part = {}};
  if (auto part = live_->part.load(); part >= 0)
    result.part = part;
  return result;
}

ending run::batch(const std::vector<target>& targets, const consumer& consume) {
  auto begin = std::chrono::steady_clock::now();
  // Requests leave their results here instead of returning them: a batch that
  // is stopped has no results to return, but those that were done count.
  auto results =
      std::make_shared<std::vector<std::optional<result>>>(targets.size());
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

ending run::stream(target_source& source, const consumer& consume) {
  auto begin = std::chrono::steady_clock::now();
  {
    auto ask = [live = live_](troupe::context& context, target& what) {
      return live->ask(context, std::move(what));
    };
    auto view = std::ranges::subrange{source.begin(), source.end()};
    auto results = pool_.imap(view, ask).stop_with(stop_);
    auto next = [&results]() -> std::optional<result> {
      for (;;) {
        try {
          return results.next().get();
        } catch (const troupe::failure& why) {
          // Told by never_started; those behind may have run.
          if (why.code() != troupe::ec::cancelled)
            throw;
        }
      }
    };
    while (auto answer = next()) {
      live_->part = answer->what.position.value_or(-1);
      consume(*answer);
    }
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
  auto stats = pool_.stats();
  result.workers = live_->workers;
  auto offered = static_cast<double>(result.workers)
                 * static_cast<double>(result.elapsed.count());
  if (offered > 0)
    result.busy = static_cast<double>(stats.busy_time.count()) / offered;
  // Ends the pool first: what it has completed, it has told by then.
  auto receipt = pool_.shutdown(pool_.options().drain_timeout).get();
  for (const auto& left : receipt.still_running)
    result.still_running.push_back(left.label);
  result.observed = dismiss(sys_, observer_);
  return result;
}

} // namespace fanout
