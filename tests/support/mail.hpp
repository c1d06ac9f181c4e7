// Requests by plain messages, from a test to an actor.

#pragma once

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include <caf/all.hpp>

#include "troupe/messages.hpp"
#include "troupe/pool.hpp"

namespace test {

/// What came of a request by message.
template <class T>
struct answer {
  std::optional<T> value;
  caf::error error;

  troupe::ec code() const {
    return error == caf::none ? troupe::ec{} : troupe::failure_of(error)->code;
  }
};

/// Sends a request and blocks for its answer.
template <class T, class... Ts>
answer<T> request(caf::actor_system& sys, const caf::actor& to, Ts... xs) {
  caf::scoped_actor self{sys};
  answer<T> result;
  auto fail = [&](caf::error why) { result.error = std::move(why); };
  auto asked = [&] {
    return troupe::compat::ask(self, to, troupe::compat::forever, xs...);
  };
  if constexpr (std::is_same_v<T, std::monostate>)
    asked().receive([&] { result.value.emplace(); }, fail);
  else
    asked().receive([&](T& x) { result.value = std::move(x); }, fail);
  return result;
}

/// Returns when the coordinator has read what it was told before: whether it
/// answers, for it may have ended instead.
inline bool catch_up(caf::actor_system& sys, const troupe::pool& pool) {
  return request<troupe::pool_stats>(sys, pool.actor(), troupe::stats_atom_v)
      .value.has_value();
}

} // namespace test
