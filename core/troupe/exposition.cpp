#include "troupe/exposition.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <iterator>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "troupe/advisor.hpp"
#include "troupe/escape.hpp"

namespace troupe {

namespace {

// In seconds: from what a tiny request waits to what a stuck one runs.
constexpr std::array<double, 14> bounds = {
    1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1, 5, 10, 60, 600};

double seconds(std::chrono::nanoseconds value) {
  return std::chrono::duration<double>{value}.count();
}

std::chrono::nanoseconds nanoseconds(double value) {
  return std::chrono::nanoseconds{std::llround(value * 1e9)};
}

using label_list = metric_sample::label_list;

// Names what the values that follow belong to, and takes them.
class sink {
public:
  virtual ~sink() = default;

  virtual void family(std::string_view name, std::string_view type,
                      std::string_view help) = 0;

  virtual void value(std::string_view suffix, const label_list& labels,
                     double x) = 0;

  void distribution(label_list labels, const histogram& of) {
    auto n = static_cast<double>(of.count());
    labels.emplace_back("le", "");
    for (auto bound : bounds) {
      labels.back().second = fmt::format("{}", bound);
      value("_bucket", labels,
            static_cast<double>(of.count_up_to(nanoseconds(bound))));
    }
    labels.back().second = "+Inf";
    value("_bucket", labels, n);
    labels.pop_back();
    value("_sum", labels, seconds(of.sum()));
    value("_count", labels, n);
  }
};

class text_writer final : public sink {
public:
  void family(std::string_view name, std::string_view type,
              std::string_view help) override {
    name_ = name;
    fmt::format_to(out(), "# HELP troupe_{} {}\n# TYPE troupe_{} {}\n", name,
                   help, name, type);
  }

  void value(std::string_view suffix, const label_list& labels,
             double x) override {
    fmt::format_to(out(), "troupe_{}{}", name_, suffix);
    auto before = '{';
    for (const auto& [key, of] : labels)
      fmt::format_to(out(), "{}{}={}", std::exchange(before, ','), key,
                     metric_label(of));
    fmt::format_to(out(), "}} {}\n", x);
  }

  std::string text;

private:
  std::back_insert_iterator<std::string> out() {
    return std::back_inserter(text);
  }

  std::string_view name_;
};

class sampler final : public sink {
public:
  explicit sampler(const std::function<void(const metric_sample&)>& visit)
      : visit_{visit} {}

  void family(std::string_view name, std::string_view type,
              std::string_view help) override {
    name_ = name;
    sample_.counts = type != "gauge";
    sample_.help = help;
  }

  void value(std::string_view suffix, const label_list& labels,
             double x) override {
    sample_.name = fmt::format("{}{}", name_, suffix);
    sample_.labels = labels;
    sample_.value = x;
    visit_(sample_);
  }

private:
  const std::function<void(const metric_sample&)>& visit_;
  std::string_view name_;
  metric_sample sample_;
};

/// What the labels of a pool are; the same for all its metrics.
struct named_pool {
  const pool_stats* stats;
  label_list labels;
};

std::vector<named_pool> name(std::span<const pool_stats> pools) {
  std::map<std::string, int> seen;
  std::vector<named_pool> result;
  for (const auto& x : pools) {
    auto n = ++seen[x.name];
    auto shown = n == 1 ? x.name : fmt::format("{}#{}", x.name, n);
    result.push_back({&x, {{"pool", shown}}});
  }
  return result;
}

label_list with(label_list labels, std::string_view key,
                std::string_view text) {
  labels.emplace_back(key, text);
  return labels;
}

void write_metrics(std::span<const pool_stats> pools, sink& to) {
  auto all = name(pools);

  auto each = [&](std::string_view metric, std::string_view type,
                  std::string_view help,
                  const std::function<double(const pool_stats&)>& of) {
    to.family(metric, type, help);
    for (const auto& x : all)
      to.value("", x.labels, of(*x.stats));
  };
  auto each_label =
      [&](std::string_view metric, std::string_view type, std::string_view help,
          const std::function<void(const label_stats&, const label_list&)>&
              write) {
        to.family(metric, type, help);
        for (const auto& x : all)
          for (const auto& of : x.stats->labels)
            write(of, with(x.labels, "label", of.label));
      };

  to.family("workers", "gauge", "Workers by what they do.");
  for (const auto& x : all) {
    const auto& of = *x.stats;
    auto other = of.workers - std::min(of.workers, of.busy + of.idle);
    for (auto [state, n] :
         {std::pair{"busy", of.busy}, {"idle", of.idle}, {"starting", other}})
      to.value("", with(x.labels, "state", state), static_cast<double>(n));
  }
  each("stuck_workers", "gauge",
       "Workers whose call has run for longer than max-run-time.",
       [](auto& x) { return static_cast<double>(x.stuck); });
  each("lost_workers_total", "counter",
       "Workers that ended without having been told to and were replaced.",
       [](auto& x) { return static_cast<double>(x.workers_lost); });
  each("workers_limit", "gauge", "The most workers that the pool may have.",
       [](auto& x) { return static_cast<double>(x.max_workers); });
  each("worker_busy_seconds_total", "counter",
       "Time that workers have spent on requests.",
       [](auto& x) { return seconds(x.busy_time); });
  each("longest_running_seconds", "gauge",
       "How long the request has been running that has run longest.",
       [](auto& x) { return seconds(x.longest_running); });
  each("queued_submissions", "gauge",
       "Submissions that no worker has begun with.",
       [](auto& x) { return static_cast<double>(x.queued + x.waiting); });
  each("oldest_queued_seconds", "gauge",
       "How long the oldest of these has waited.",
       [](auto& x) { return seconds(x.oldest_queued); });
  each("submissions_total", "counter", "Submissions that were admitted.",
       [](auto& x) { return static_cast<double>(x.submissions); });
  each("submissions_refused_total", "counter",
       "Submissions refused, because the queue was full or the pool stopped.",
       [](auto& x) { return static_cast<double>(x.refused); });
  each("submissions_blocked_total", "counter",
       "Submissions that had to wait for room at their key.",
       [](auto& x) { return static_cast<double>(x.blocked_by_key); });
  each("submitted_requests_total", "counter",
       "Requests in the submissions that were admitted.",
       [](auto& x) { return static_cast<double>(x.arrived); });

  each_label("requests_total", "counter",
             "Requests of complete batches, by what came of them.",
             [&](const label_stats& of, const label_list& labels) {
               for (auto [outcome, n] : {std::pair{"succeeded", of.succeeded},
                                         {"failed", of.failed},
                                         {"cancelled", of.cancelled},
                                         {"expired", of.expired}})
                 to.value("", with(labels, "outcome", outcome),
                          static_cast<double>(n));
             });
  each_label("late_requests_total", "counter",
             "Requests that ran to their end after their deadline.",
             [&](const label_stats& of, const label_list& labels) {
               to.value("", labels, static_cast<double>(of.late));
             });
  each_label("request_wait_seconds", "histogram",
             "Time from the submit of a request to its start.",
             [&](const label_stats& of, const label_list& labels) {
               to.distribution(labels, of.waited);
             });
  each_label("request_run_seconds", "histogram",
             "Time from the start of a request to its end.",
             [&](const label_stats& of, const label_list& labels) {
               to.distribution(labels, of.ran);
             });
  each_label("request_cpu_seconds_total", "counter",
             "CPU time of requests, as far as it was sampled.",
             [&](const label_stats& of, const label_list& labels) {
               to.value("", labels, seconds(of.computed));
             });
  each_label("request_sampled_seconds_total", "counter",
             "Running time of the requests whose CPU time was sampled.",
             [&](const label_stats& of, const label_list& labels) {
               to.value("", labels, seconds(of.sampled));
             });
}

} // namespace

std::string metrics_text(std::span<const pool_stats> pools) {
  text_writer to;
  write_metrics(pools, to);
  return std::move(to.text);
}

void visit_metrics(std::span<const pool_stats> pools,
                   const std::function<void(const metric_sample&)>& visit) {
  sampler to{visit};
  write_metrics(pools, to);
}

// -- JSON ---------------------------------------------------------------------

namespace {

std::string json_times(const histogram& of) {
  return fmt::format(R"({{"n":{},"p50":{},"p90":{},"p99":{},"max":{}}})",
                     of.count(), seconds(of.quantile(0.5)),
                     seconds(of.quantile(0.9)), seconds(of.quantile(0.99)),
                     seconds(of.max()));
}

std::string json_label(const label_stats& of) {
  auto share = of.cpu_share();
  return fmt::format(
      R"({{"label":{},"succeeded":{},"failed":{},"cancelled":{},"expired":{},)"
      R"("late":{},"waited":{},"ran":{},"cpu":{},"kind":{}}})",
      json_string(of.label), of.succeeded, of.failed, of.cancelled, of.expired,
      of.late, json_times(of.waited), json_times(of.ran),
      share ? fmt::format("{}", *share) : "null", json_string(of.bound()));
}

std::string json_worker(const worker_stats& of) {
  return fmt::format(
      R"({{"id":{},"busy":{},"stuck":{},"label":{},"running":{}}})", of.id,
      of.busy, of.stuck, json_string(of.label), seconds(of.running));
}

template <class T>
std::string json_list(const std::vector<T>& of, std::string (*one)(const T&)) {
  std::string result;
  for (const auto& x : of) {
    if (!result.empty())
      result += ',';
    result += one(x);
  }
  return result;
}

// Pools come and go; of two snapshots, the same one is as much older as the
// snapshots are apart, and has at least the same counts.
const pool_stats* find_earlier(const pool_stats& now,
                               std::span<const pool_stats> before) {
  for (const auto& x : before)
    if (x.name == now.name && x.age <= now.age && x.arrived <= now.arrived
        && x.batches <= now.batches)
      return &x;
  return nullptr;
}

std::string json_pool(const pool_stats& now, const pool_stats* before) {
  auto all = now.total();
  auto earlier = before ? before->total() : label_stats{};
  auto span = seconds(now.age - (before ? before->age : now.age));
  auto ended = [](const label_stats& of) {
    return of.succeeded + of.failed + of.expired;
  };
  // A pool that was mistaken for another one has a rate of nothing.
  auto rate = span > 0 && ended(all) >= ended(earlier)
                  ? static_cast<double>(ended(all) - ended(earlier)) / span
                  : 0.0;
  return fmt::format(
      R"({{"pool":{},"workers":{},"limit":{},"busy":{},"idle":{},"stuck":{},)"
      R"("queued":{},"oldest":{},"longest":{},"busy_1s":{},"busy_10s":{},)"
      R"("busy_60s":{},"refused":{},"rate":{},"waited":{},"ran":{},)"
      R"("advice":{},"labels":[{}],"team":[{}]}})",
      json_string(now.name), now.workers, now.max_workers, now.busy, now.idle,
      now.stuck, now.queued + now.waiting, seconds(now.oldest_queued),
      seconds(now.longest_running), now.busy_1s, now.busy_10s, now.busy_60s,
      now.refused, rate, json_times(all.waited.since(earlier.waited)),
      json_times(all.ran.since(earlier.ran)), json_string(advise(now).sentence),
      json_list(now.labels, json_label), json_list(now.team, json_worker));
}

} // namespace

std::string stats_json(std::span<const pool_stats> now,
                       std::span<const pool_stats> before) {
  std::string result;
  for (const auto& x : now) {
    result += result.empty() ? "[" : ",";
    result += json_pool(x, find_earlier(x, before));
  }
  return result.empty() ? "[]" : result + "]";
}

} // namespace troupe
