#include "troupe/unobserved.hpp"

#include <memory>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "troupe/dispatcher.hpp"
#include "troupe/log.hpp"
#include "troupe/op_state.hpp"

namespace troupe {

namespace {

struct current_sink {
  std::mutex mutex;
  std::shared_ptr<const unobserved_sink> sink;
};

// Never destroyed: operations may end after the static objects of main.
current_sink& current() {
  static auto instance = new current_sink;
  return *instance;
}

/// Takes the outcome of all operations that were dropped.
class reporter final : public continuation {
public:
  void on_complete(op_state& op) noexcept override { report_unobserved(op); }
};

void report(const unobserved_failure& what) {
  std::shared_ptr<const unobserved_sink> sink;
  {
    auto& now = current();
    std::lock_guard guard{now.mutex};
    sink = now.sink;
  }
  if (sink) {
    try {
      (*sink)(what);
      return;
    } catch (...) {
      // The failure must not be lost with it.
    }
  }
  write_log(log_level::error, what.pool,
            fmt::format("nobody took this failure: {}: {}",
                        to_string(what.failure->code), what.failure->text));
}

} // namespace

unobserved_sink set_unobserved_sink(unobserved_sink sink) {
  auto next =
      sink ? std::make_shared<const unobserved_sink>(std::move(sink)) : nullptr;
  auto& now = current();
  {
    std::lock_guard guard{now.mutex};
    std::swap(now.sink, next);
  }
  return next ? *next : unobserved_sink{};
}

void leave_unobserved(op_state& op) noexcept {
  if (op.told_elsewhere())
    return;
  static reporter everybody;
  // One that is complete calls nobody.
  if (!op.attach(everybody) && op.done())
    report_unobserved(op);
}

void report_unobserved(const op_state& op) noexcept {
  auto home = op.queue();
  report_unobserved(home ? std::string_view{home->name()} : std::string_view{},
                    op.failed());
}

void report_unobserved(std::string_view pool, const failure_ptr& why) noexcept {
  // Whoever stopped it knows.
  if (!why || why->code == ec::cancelled || why->code == ec::owner_gone)
    return;
  try {
    report({std::string{pool}, why});
  } catch (...) {
    // No memory to say so.
  }
}

} // namespace troupe
