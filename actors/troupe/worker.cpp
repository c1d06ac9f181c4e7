#include "troupe/worker.hpp"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <mutex>

#include <fmt/format.h>

#include "troupe/error.hpp"
#include "troupe/log.hpp"
#include "troupe/messages.hpp"

namespace troupe {

namespace {

// How long an idle worker waits for the next batch before it goes back to its
// mailbox. An upper bound for how long a message to an idle worker can wait,
// and longer than the pauses of a caller who makes one request after another.
constexpr auto linger_time = std::chrono::milliseconds{50};

// What it takes to wake a thread on another processor of a virtual machine. A
// worker that was woken for less work than this looks around for as long,
// before it makes somebody wake it again.
constexpr auto wake_time = std::chrono::microseconds{25};

} // namespace

worker::worker(caf::actor_config& cfg, ref_ptr<dispatcher> home,
               actor_cell* cell)
    : caf::event_based_actor(cfg), home_{std::move(home)}, cell_{cell} {
  // Not later: nobody else holds on to a worker before its thread has begun.
  self_ = caf::strong_actor_ptr{ctrl()};
  set_exception_handler(
      [this](caf::scheduled_actor*, std::exception_ptr& why) -> caf::error {
        // CAF itself may throw when the worker has ended already.
        if (cell_)
          write_log(
              log_level::error, home_->name(),
              fmt::format("worker {} ends: {}", cell_->name(), describe(why)));
        return caf::make_error(caf::sec::runtime_error);
      });
}

caf::behavior worker::make_behavior() {
  launched_ = true;
  return {
      [this](wake_atom) { work(); },
  };
}

void worker::on_exit() {
  self_ = nullptr;
  if (cell_ == nullptr)
    return;
  if (launched_)
    end();
  else
    home_->put_back(*cell_);
  cell_ = nullptr;
}

void worker::end() {
  worker_cell::bind_thread bound{*cell_};
  cell_->close_resource();
  if (hooked_) {
    try {
      home_->made_with().on_worker_stop(cell_->id());
    } catch (...) {
      write_log(log_level::error, home_->name(),
                fmt::format("worker {}: on_worker_stop threw {}", cell_->name(),
                            describe(std::current_exception())));
    }
  }
  home_->lost(*cell_, std::move(later_.work));
}

// Returns false if the worker must not take requests.
bool worker::run_start_hook() {
  const auto& options = home_->made_with();
  try {
    if (options.on_worker_start)
      options.on_worker_start(cell_->id());
  } catch (...) {
    home_->start_failed(*cell_, "on_worker_start threw "
                                    + describe(std::current_exception()));
    return false;
  }
  hooked_ = static_cast<bool>(options.on_worker_stop);
  return true;
}

// Signals belong to the threads that wait for them: a handler that interrupts a
// worker would make its blocking call fail with EINTR.
void worker::begin_thread() {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGINT);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  // At most 15 characters; the number tells more than the end of the name.
  auto number = fmt::format("-{}", cell_->id());
  auto text = home_->name().substr(0, 15 - number.size()) + number;
  pthread_setname_np(pthread_self(), text.c_str());
  cell_->set_thread(static_cast<std::uint64_t>(::gettid()));
}

void worker::work() {
  worker_cell::bind_thread bound{*cell_};
  worker_cell::hand_off found;
  if (started_) {
    found = later_.work ? std::exchange(later_, {}) : cell_->take();
  } else {
    started_ = true;
    if (!home_->cooperative())
      begin_thread();
    if (!run_start_hook()) {
      quit();
      return;
    }
    found = home_->next(*cell_, nullptr, leave_reason::exhausted);
  }
  try {
    serve(found);
  } catch (...) {
    // The dispatcher must still find it, to give it to another worker.
    if (found.work)
      later_ = std::move(found);
    throw;
  }
}

void worker::serve(worker_cell::hand_off& found) {
  for (;;) {
    auto woken = std::chrono::steady_clock::now();
    cell_->set_mark(woken);
    cell_->stay_awake(false);
    while (found.work || found.again) {
      if (found.again || !home_->take_up(*cell_, *found.work)) {
        found = home_->next(*cell_, nullptr, leave_reason::exhausted);
        cell_->set_mark(std::chrono::steady_clock::now());
        continue;
      }
      auto why = found.work->participate(*cell_, false);
      cell_->stay_awake(!home_->cooperative()
                        && cell_->mark() - woken < wake_time);
      found = home_->next(*cell_, found.work, why);
      if (home_->cooperative() && found.work) {
        later_ = std::move(found);
        compat::tell(caf::actor_cast<caf::actor>(self_), wake_atom_v);
        return;
      }
    }
    if (found.retire) {
      quit();
      return;
    }
    if (home_->cooperative()) {
      // Idle: the hand-off comes with a message.
      found = cell_->spin(std::chrono::nanoseconds{0});
      if (found.empty())
        return;
      continue;
    }
    if (home_->spin().count() > 0)
      found = cell_->spin(home_->spin());
    else if (cell_->stays_awake())
      found = cell_->look_again(wake_time);
    if (found.empty())
      found = cell_->linger(linger_time);
    if (found.empty())
      return;
  }
}

// CAF creates the threads of its actors with the default of the process. Only
// ever raised: whoever starts a thread meanwhile gets more than it asked for,
// which harms nobody; less could.
void raise_stack_size(std::size_t bytes) {
  static std::mutex mutex;
  std::lock_guard guard{mutex};
  pthread_attr_t now;
  std::size_t size = 0;
  auto code = pthread_getattr_default_np(&now);
  if (code == 0) {
    pthread_attr_getstacksize(&now, &size);
    if (size < bytes) {
      code = pthread_attr_setstacksize(&now, bytes);
      if (code == 0)
        code = pthread_setattr_default_np(&now);
    }
    pthread_attr_destroy(&now);
  }
  if (code != 0)
    throw failure{ec::invalid_option,
                  fmt::format("pool_options.stack_size = '{}': {}", bytes,
                              std::strerror(code))};
}

} // namespace troupe
