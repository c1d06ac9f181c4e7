#include "troupe/worker.hpp"

#include <pthread.h>

#include <csignal>

#include <fmt/format.h>

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
}

caf::behavior worker::make_behavior() {
  return {
      [this](wake_atom) { work(); },
  };
}

void worker::on_exit() {
  self_ = nullptr;
  if (auto cell = std::exchange(cell_, nullptr)) {
    cell->close_resource();
    home_->lost(*cell, std::move(later_.work));
  }
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
    cell_->open_resource_at_start();
    found = home_->next(*cell_, nullptr, leave_reason::exhausted);
  }
  for (;;) {
    auto woken = std::chrono::steady_clock::now();
    auto mark = woken;
    cell_->stay_awake(false);
    while (found.work) {
      home_->take_up(*cell_, *found.work);
      auto why = found.work->participate(*cell_, false);
      auto ended = std::chrono::steady_clock::now();
      cell_->add_busy_time(ended - std::exchange(mark, ended));
      cell_->stay_awake(!home_->cooperative() && ended - woken < wake_time);
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
      if (!found.work && !found.retire)
        return;
      continue;
    }
    if (home_->spin().count() > 0)
      found = cell_->spin(home_->spin());
    else if (cell_->stays_awake())
      found = cell_->look_again(wake_time);
    if (!found.work && !found.retire)
      found = cell_->linger(linger_time);
    if (!found.work && !found.retire)
      return;
  }
}

} // namespace troupe
