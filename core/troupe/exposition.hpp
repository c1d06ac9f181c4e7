// Statistics of pools as machines read them: in the text format of Prometheus,
// and as JSON for the live page. Text only; who serves it is the business of
// dashboard.hpp.

#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "troupe/stats.hpp"

namespace troupe {

/// Returns what `pools` say about themselves, as a scrape wants it. Pools of
/// the same name are told apart by a number behind it.
///
/// Shape:  names begin with `troupe_`; what only grows ends in `_total`; labels
///         are `pool`, and `label` where requests are counted: at most 66 for
///         each pool.
/// Units:  seconds.
/// Source: Prometheus text format 0.0.4.
std::string metrics_text(std::span<const pool_stats> pools);

/// One value of what `metrics_text` has.
struct metric_sample {
  using label_list = std::vector<std::pair<std::string_view, std::string>>;

  /// Without `troupe_`; of a histogram with what its values end in, such as
  /// `_bucket`.
  std::string name;
  std::string_view help;

  /// Whether it only grows; otherwise it goes up and down.
  bool counts = false;
  label_list labels;
  double value = 0;
};

/// Calls `visit` for each value of `metrics_text`, in its order.
void visit_metrics(std::span<const pool_stats> pools,
                   const std::function<void(const metric_sample&)>& visit);

/// The content type of that text.
inline constexpr const char metrics_content_type[] =
    "text/plain; version=0.0.4; charset=utf-8";

/// Returns what `now` says about its pools as one line of JSON, for a page that
/// shows it. Where `before` has an earlier snapshot of the same pool, what is
/// said of times and outcomes "lately" is about the time between the two.
///
/// Shape:  an array of objects, in the order of `now`.
/// Units:  seconds.
std::string stats_json(std::span<const pool_stats> now,
                       std::span<const pool_stats> before);

} // namespace troupe
