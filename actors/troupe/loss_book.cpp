#include "troupe/loss_book.hpp"

#include <algorithm>
#include <functional>
#include <string_view>

#include <fmt/format.h>

namespace troupe {

namespace {

// How many lost requests are remembered.
constexpr std::size_t most_losses = 256;

} // namespace

unsigned loss_book::note_lost(const request_key& which,
                              const std::string& why) {
  std::lock_guard guard{mutex_};
  auto at = std::find_if(losses_.begin(), losses_.end(),
                         [&](const loss& x) { return x.who == which; });
  if (at != losses_.end()) {
    at->why += fmt::format(", {}", why);
    return ++at->count;
  }
  if (losses_.size() == most_losses)
    losses_.pop_front();
  losses_.push_back({which, 1, why});
  has_losses_.store(true, std::memory_order_release);
  return 1;
}

std::string loss_book::why_not_again(const request_key& which) const {
  std::lock_guard guard{mutex_};
  for (const auto& x : losses_)
    if (x.who == which && x.count >= most_)
      return fmt::format("it has ended {} {} ({})", x.count,
                         x.count == 1 ? one_ : many_, x.why);
  return {};
}

std::size_t hash_of(const procedure_info& what,
                    const compat::byte_buffer& arguments) {
  std::string_view bytes{reinterpret_cast<const char*>(arguments.data()),
                         arguments.size()};
  return std::hash<std::string_view>{}(bytes)
         ^ (std::hash<std::string_view>{}(what.name) << 1);
}

} // namespace troupe
