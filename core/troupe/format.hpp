// Lets fmt print what the pool tells about itself, so that
// `fmt::print("{}", pool.stats())` shows a table. Apart, because fmt's header
// is a heavy one.

#pragma once

#include <fmt/format.h>

#include "troupe/advisor.hpp"
#include "troupe/stats.hpp"

template <>
struct fmt::formatter<troupe::pool_stats> : fmt::formatter<std::string> {
  template <class Context>
  auto format(const troupe::pool_stats& x, Context& ctx) const {
    return fmt::formatter<std::string>::format(troupe::to_string(x), ctx);
  }
};

template <>
struct fmt::formatter<troupe::advice> : fmt::formatter<std::string> {
  template <class Context>
  auto format(const troupe::advice& x, Context& ctx) const {
    return fmt::formatter<std::string>::format(x.text, ctx);
  }
};
