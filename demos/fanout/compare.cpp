// Tables of measured sizes; see the header.
#include "compare.hpp"

#include "parts/text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace fanout {

namespace {

constexpr double longest_bar = 40;

} // namespace

std::string table(const std::vector<measured>& rows) {
  auto text =
      fmt::format("{:>7}  {:>8}  {:>8}  {:>5}  {:>8}  {:>6}\n", "workers",
                  "elapsed", "speed-up", "busy", "requests", "failed");
  if (rows.empty())
    return text;
  auto slower = [](const measured& lhs, const measured& rhs) {
    return lhs.elapsed < rhs.elapsed;
  };
  auto slowest = std::max_element(rows.begin(), rows.end(), slower)->elapsed;
  auto ratio = [](auto lhs, auto rhs) {
    return rhs.count() == 0 ? 1.0
                            : static_cast<double>(lhs.count())
                                  / static_cast<double>(rhs.count());
  };
  for (const auto& row : rows) {
    auto bar = ratio(row.elapsed, slowest) * longest_bar;
    text += fmt::format("{:>7}  {:>8}  {:>7.1f}x  {:>3.0f} %  {:>8}  {:>6}  "
                        "{}\n",
                        row.workers, parts::human(row.elapsed),
                        ratio(rows.front().elapsed, row.elapsed),
                        row.busy * 100, parts::human_count(row.requests),
                        parts::human_count(row.failed),
                        std::string(std::max<std::size_t>(
                                        1, static_cast<std::size_t>(bar + 0.5)),
                                    '#'));
  }
  return text;
}

std::string json(const measured& row) {
  auto ms = std::chrono::duration<double, std::milli>{row.elapsed}.count();
  return fmt::format("{{\"workers\":{},\"ms\":{:.3f},\"busy\":{:.3f},"
                     "\"requests\":{},\"failed\":{}}}",
                     row.workers, ms, row.busy, row.requests, row.failed);
}

} // namespace fanout
