#include "troupe/resource_slot.hpp"

#include <utility>

namespace troupe {

void resource_slot::open(clock::time_point now) {
  value_ = spec_.open();
  opened_at_ = used_at_ = now;
  uses_ = 0;
  stale_ = false;
}

bool resource_slot::close() noexcept {
  discard();
  in_use_ = false;
  return static_cast<bool>(std::exchange(value_, nullptr));
}

resource_slot::fitness resource_slot::examine(clock& time) noexcept {
  // Most resources are not worth a look at the clock.
  if (!stale_ && !depends_on_time())
    return fitness::good;
  auto now = time.now();
  if (stale_ || old(now)) {
    discard();
    return fitness::old;
  }
  if (!spec_.check || now - used_at_ < spec_.rules.check_after)
    return fitness::good;
  auto good = false;
  try {
    good = spec_.check(value_.get());
  } catch (...) {
    // Whatever it is, the resource cannot be used.
  }
  if (!good) {
    discard();
    return fitness::bad;
  }
  used_at_ = now;
  return fitness::good;
}

bool resource_slot::broken() noexcept {
  if (!spec_.broken)
    return false;
  try {
    return spec_.broken(value_.get());
  } catch (...) {
    return true;
  }
}

void resource_slot::end_use(clock& time) noexcept {
  in_use_ = false;
  if (stale_)
    return;
  ++uses_;
  auto most = spec_.rules.recycle_after;
  if ((most > 0 && uses_ >= most) || broken()) {
    discard();
    return;
  }
  if (!depends_on_time())
    return;
  used_at_ = time.now();
  if (old(used_at_))
    discard();
}

} // namespace troupe
