#include "troupe/home_share.hpp"

#include "troupe/dispatcher.hpp"

namespace troupe {

home_share::home_share(ref_ptr<dispatcher> home) noexcept
    : home_{home.release()} {}

void home_share::drop_others(std::uint32_t n) noexcept {
  if (n > 0)
    let_go(n);
}

bool home_share::takes_calls() const noexcept {
  return home_->takes_calls();
}

home_share home_share::copy() const noexcept {
  return home_share{ref_ptr<dispatcher>{home_}};
}

clock& home_share::time() const noexcept {
  return home_->time();
}

ref_ptr<dispatcher> home_share::take() noexcept {
  return {release(), adopt_ref};
}

void home_share::let_go(std::uint32_t n) noexcept {
  home_->deref(n);
}

} // namespace troupe
