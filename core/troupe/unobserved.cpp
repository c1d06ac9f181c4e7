#include "troupe/unobserved.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "troupe/dispatcher.hpp"
#include "troupe/log.hpp"
#include "troupe/log_brake.hpp"
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

/// What the log was spared.
struct spared_failures {
  std::mutex mutex;
  log_brake brake;
  std::atomic<unobserved_timer> timer{nullptr};
};

spared_failures& spared() {
  static auto instance = new spared_failures;
  return *instance;
}

void tell_rest(std::string_view pool,
               const std::optional<log_brake::remainder>& rest) {
  if (rest)
    write_log(log_level::error, pool,
              fmt::format("and {} more like it, the last one: {}", rest->lines,
                          rest->last));
}

// Tells what was held back, if its time is over.
void tell_if_due(const std::string& pool) noexcept {
  try {
    auto& all = spared();
    std::optional<log_brake::remainder> rest;
    {
      std::lock_guard guard{all.mutex};
      rest = all.brake.look(pool, std::chrono::steady_clock::now());
    }
    tell_rest(pool, rest);
  } catch (...) {
    // No memory to say so.
  }
}

// Writes the failure to the log, if there were not too many of late.
void log_failure(const unobserved_failure& what) {
  auto& all = spared();
  auto text =
      fmt::format("{}: {}", to_string(what.failure->code), what.failure->text);
  log_brake::decision next;
  {
    std::lock_guard guard{all.mutex};
    next = all.brake.add(what.pool, text, std::chrono::steady_clock::now());
  }
  tell_rest(what.pool, next.before);
  if (next.write)
    write_log(log_level::error, what.pool,
              fmt::format("nobody took this failure: {}", text));
  auto timer = all.timer.load();
  if (next.look_at && timer != nullptr)
    timer(*next.look_at, [pool = what.pool] { tell_if_due(pool); });
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
  log_failure(what);
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

void set_unobserved_timer(unobserved_timer timer) noexcept {
  spared().timer.store(timer);
}

void tell_spared_failures(std::string_view pool) noexcept {
  try {
    for (auto of : {pool, std::string_view{}}) {
      auto& all = spared();
      std::optional<log_brake::remainder> rest;
      {
        std::lock_guard guard{all.mutex};
        rest = all.brake.forget(of);
      }
      tell_rest(of, rest);
    }
  } catch (...) {
    // No memory to say so.
  }
}

} // namespace troupe
