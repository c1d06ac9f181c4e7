#include "troupe/process_link.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "troupe/dispatcher.hpp"
#include "troupe/final_failure.hpp"
#include "troupe/readable.hpp"
#include "troupe/remote_failure.hpp"
#include "troupe/timer.hpp"

namespace troupe {

namespace {

using std::chrono::steady_clock;

// How long after its start a process may end and still count as one that could
// not be started. A guess.
constexpr auto short_life = std::chrono::seconds{1};

// The pause after the second failed start in a row; each further one doubles
// it. Guesses: far above what a start costs, far below what a person notices.
constexpr auto first_backoff = std::chrono::milliseconds{10};
constexpr auto longest_backoff = std::chrono::seconds{1};

// How often a call looks for a process that lives until it takes calls: one may
// be killed by somebody while it starts.
constexpr unsigned start_attempts = 3;

// How long a message of calls may take before those that have not begun are
// taken back, so that they are not held up by a slow one. A guess: a few times
// what the calls of a message are meant to take.
constexpr auto message_patience = std::chrono::milliseconds{1};

} // namespace

// -- helpers of a call --------------------------------------------------------

void process_link::stopper::stop(stop_why reason) noexcept {
  auto none = stop_why::not_at_all;
  if (why.compare_exchange_strong(none, reason))
    ::eventfd_write(event->get(), 1);
}

void process_link::stopper::finish() noexcept {
  auto none = stop_why::not_at_all;
  if (why.compare_exchange_strong(none, stop_why::over))
    return;
  // Whoever stopped it has written, or is about to.
  pollfd written{event->get(), POLLIN, 0};
  while (::poll(&written, 1, -1) < 0 && errno == EINTR) {
  }
  eventfd_t ignored = 0;
  ::eventfd_read(event->get(), &ignored);
}

// While it lives, the worker sees to its process itself.
class process_link::call_scope {
public:
  call_scope(process_link& link, stopper& stop) noexcept
      : link_{link}, stop_{stop} {
    std::lock_guard guard{link_.mutex_};
    link_.busy_ = true;
  }

  call_scope(const call_scope&) = delete;
  call_scope& operator=(const call_scope&) = delete;

  ~call_scope() {
    stop_.finish();
    std::shared_ptr<worker_process> ended;
    {
      std::lock_guard guard{link_.mutex_};
      link_.busy_ = false;
      if (link_.process_ && link_.process_->ended())
        ended = std::move(link_.process_);
    }
    // At once, so that the next call finds it ready.
    link_.prepare();
  }

private:
  process_link& link_;
  stopper& stop_;
};

// -- the process --------------------------------------------------------------

process_link::process_link(process_room& room, std::string worker)
    : room_{room},
      worker_{std::move(worker)},
      event_{std::make_shared<unique_fd>(
          ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))} {
  if (event_->get() < 0)
    throw std::system_error{errno, std::generic_category(),
                            "cannot watch a worker process"};
}

// Under the lock.
std::shared_ptr<worker_process> process_link::start() {
  auto made = worker_process::start(room_.settings.plan, worker_);
  room_.started.fetch_add(1, std::memory_order_relaxed);
  room_.keeper.watch(made, [link = weak_from_this(), process = made.get()] {
    if (auto alive = link.lock())
      alive->process_ended(*process);
  });
  // Fits into the socket's buffer, so this does not wait.
  compat::byte_buffer meta;
  compat::encode(meta, frame_version, room_.settings.max_message);
  frame_stream{made->socket(), -1, 0}.send(frame_kind::greeting, meta);
  return made;
}

void process_link::prepare() noexcept {
  std::lock_guard guard{mutex_};
  if (process_ || closed_ || busy_ || steady_clock::now() < not_before_)
    return;
  try {
    process_ = start();
  } catch (const std::exception&) {
    // The next call tries again, and can tell somebody.
    note_failed_start();
  }
}

// On the keeper's thread. A process that ends while nobody calls it is
// replaced, unless it was of no use.
void process_link::process_ended(const worker_process& which) noexcept {
  {
    std::lock_guard guard{mutex_};
    if (process_.get() != &which || busy_ || closed_)
      return;
    room_.lost.fetch_add(1, std::memory_order_relaxed);
    if (!which.ready.load()
        && steady_clock::now() - which.started_at() < short_life)
      note_failed_start();
    process_.reset();
    if (failed_starts_ > 0)
      return;
  }
  prepare();
}

void process_link::note_failed_start() noexcept {
  ++failed_starts_;
  if (failed_starts_ < 2)
    return;
  auto doublings = std::min(failed_starts_ - 2, 16u);
  not_before_ = steady_clock::now()
                + std::min<std::chrono::nanoseconds>(
                    longest_backoff, first_backoff * (1 << doublings));
}

void process_link::close() noexcept {
  std::shared_ptr<worker_process> process;
  {
    std::lock_guard guard{mutex_};
    closed_ = true;
    process = std::move(process_);
  }
  if (process)
    room_.keeper.retire(process);
}

// -- calls --------------------------------------------------------------------

compat::byte_buffer process_link::call(context& ctx, const procedure_info& what,
                                       const compat::byte_buffer& arguments) {
  auto key = process_room::key_of(worker_cell::current_batch());
  refuse(what, arguments, key);
  auto stop = std::make_shared<stopper>(event_);
  call_scope busy{*this, *stop};
  auto hook =
      ctx.on_cancel([&stop]() noexcept { stop->stop(stop_why::cancelled); });
  return call_up_to_twice(ctx, what, arguments, stop, key, 1);
}

// Throws if the call must not be made at all.
void process_link::refuse(const procedure_info& what,
                          const compat::byte_buffer& arguments,
                          request_key& key) const {
  const auto& settings = room_.settings;
  if (arguments.size() > settings.max_message) {
    auto [has, most] = readable_bytes(arguments.size(), settings.max_message);
    throw failure{ec::too_large,
                  fmt::format("the arguments of procedure '{}' are {}, more "
                              "than max_message = {}; it was not called",
                              what.name, has, most)};
  }
  if (!key.may_come_again() || !room_.has_losses())
    return;
  key.arguments = hash_of(what, arguments);
  if (auto why = room_.why_not_again(key); !why.empty())
    throw final_failure{
        ec::worker_lost,
        fmt::format("procedure '{}' is not run again: {}", what.name, why),
        true, key.owner};
}

compat::byte_buffer
process_link::call_up_to_twice(context& ctx, const procedure_info& what,
                               const compat::byte_buffer& arguments,
                               const std::shared_ptr<stopper>& stop,
                               request_key key, unsigned attempt) {
  for (;; ++attempt) {
    try {
      return call_once(ctx, what, arguments, stop);
    } catch (const lost_process& lost) {
      if (auto why = note_lost(what, arguments, lost, key, attempt, *stop))
        std::rethrow_exception(why);
    } catch (const failure& why) {
      if (attempt == 1 || why.started())
        throw;
      // Not this time, but the time before.
      throw failure{
          why.code(),
          fmt::format("{}; it had run once, and was lost then", why.what()),
          true};
    }
  }
}

// The process ended while it ran the call. Returns what that one fails with;
// null if it shall be run again.
std::exception_ptr process_link::note_lost(const procedure_info& what,
                                           const compat::byte_buffer& arguments,
                                           const lost_process& lost,
                                           request_key& key, unsigned attempt,
                                           const stopper& stop) {
  auto count = attempt;
  if (key.may_come_again()) {
    key.arguments = hash_of(what, arguments);
    count = room_.note_lost(key, lost.why);
  }
  if (what.idempotent && attempt == 1 && count < room_.settings.max_lost
      && !stop.stopped())
    return nullptr;
  auto text = lost.text;
  if (attempt > 1)
    text += "; it had been run twice, since it is idempotent";
  // Now, and not when it comes again, so that nobody waits for that.
  if (auto why = room_.why_not_again(key); !why.empty())
    return std::make_exception_ptr(final_failure{
        ec::worker_lost, fmt::format("{}; it is not run again: {}", text, why),
        true, key.owner});
  return std::make_exception_ptr(failure{ec::worker_lost, text, true});
}

compat::byte_buffer
process_link::call_once(context& ctx, const procedure_info& what,
                        const compat::byte_buffer& arguments,
                        const std::shared_ptr<stopper>& stop) {
  auto process = ensure_ready(ctx, what, *stop);
  compat::byte_buffer meta;
  compat::encode(meta, std::string{what.name}, std::string{what.signature});
  timer_id timer{};
  auto limit = room_.settings.max_run_time;
  if (limit.count() > 0) {
    auto& clock = ctx.cell().home().time();
    timer = start_timer(clock, clock.now() + limit,
                        [stop] { stop->stop(stop_why::overran); });
  }
  frame answer;
  auto status = stream(*process).send(frame_kind::call, meta, arguments);
  if (status == frame_status::done)
    status = stream(*process).receive(answer, compat::forever);
  if (limit.count() > 0)
    stop_timer(timer);
  switch (status) {
  case frame_status::done:
    break;
  case frame_status::interrupted:
    throw_stopped(ctx, what, process.get(), *stop, true);
  case frame_status::too_large:
    throw_misbehaved(what, *process, "sent more than it was allowed to", true);
  case frame_status::garbage:
    throw_misbehaved(what, *process, "sent what is not an answer", true);
  default:
    throw_lost(what, *process);
  }
  if (answer.kind != frame_kind::answer)
    throw_misbehaved(what, *process, "sent something else than an answer",
                     true);
  count_answers(process, 1);
  return read_answer(what, *process, std::as_bytes(std::span{answer.meta}),
                     std::move(answer.body));
}

// Lets the process go when it has answered as much as it may.
void process_link::count_answers(const std::shared_ptr<worker_process>& process,
                                 std::uint64_t answers) {
  auto count = process->answered.fetch_add(answers) + answers;
  if (room_.settings.max_requests == 0 || count < room_.settings.max_requests)
    return;
  room_.recycled.fetch_add(1, std::memory_order_relaxed);
  {
    std::lock_guard guard{mutex_};
    process_.reset();
  }
  room_.keeper.retire(process);
}

// Reads what came of a call; throws unless that is a result.
compat::byte_buffer process_link::read_answer(const procedure_info& what,
                                              const worker_process& process,
                                              std::span<const std::byte> meta,
                                              compat::byte_buffer body) const {
  std::uint8_t status = 0;
  std::string text;
  std::string type;
  if (!compat::decode(meta, status, type, text))
    throw failure{ec::bad_message,
                  fmt::format("cannot decode the answer of {} to procedure {}",
                              place(process), what.text()),
                  true};
  switch (static_cast<answer_status>(status)) {
  case answer_status::value:
    return body;
  case answer_status::threw:
    throw remote_failure{type, text, process.pid()};
  case answer_status::unknown:
    throw failure{ec::unknown_procedure,
                  fmt::format("the caller, process {} ({}), asks for procedure "
                              "{}; {} {}",
                              ::getpid(), program_invocation_short_name,
                              what.text(), place(process), text)};
  case answer_status::too_large:
    throw failure{
        ec::too_large,
        fmt::format("the result of procedure '{}' is {}", what.name, text),
        true};
  default:
    throw failure{ec::bad_message,
                  fmt::format("{} refuses the call: {}", place(process), text)};
  }
}

// -- calls that travel together -----------------------------------------------

// Some calls on their way to a process and back.
class process_link::message {
public:
  message(process_link& link, context& ctx, const procedure_info& what,
          call_chunk& chunk, std::size_t n,
          const std::shared_ptr<worker_process>& process,
          const std::shared_ptr<stopper>& stop, const request_key& key)
      : link_{link},
        ctx_{ctx},
        what_{what},
        chunk_{chunk},
        process_{process},
        page_{process->page()},
        stop_{stop},
        key_{key},
        kept_{n} {}

  message(const message&) = delete;
  message& operator=(const message&) = delete;

  ~message() {
    if (timer_)
      stop_timer(*timer_);
  }

  /// Returns how many calls have their outcome, which are all that have begun.
  std::size_t run() {
    try {
      exchange();
    } catch (const lost_process& lost) {
      if (look_back())
        lose(lost);
    } catch (...) {
      // Where nobody wants them any more, calls that have not begun never will.
      if ((look_back() || !stop_->stopped()) && done_ < kept_)
        chunk_.calls[done_++].failure = std::current_exception();
    }
    return done_;
  }

  /// Returns how many calls have not been given back.
  std::size_t kept() const noexcept { return kept_; }

private:
  void exchange() {
    auto limit = link_.room_.settings.max_run_time;
    if (limit.count() > 0)
      sent_at_ = time().now();
    auto stream = link_.stream(*process_);
    auto status = send(stream);
    if (status == frame_status::done)
      status = stream.await(
          limit.count() > 0
              ? std::min<std::chrono::nanoseconds>(limit, message_patience)
              : message_patience);
    if (status == frame_status::timed_out) {
      keep_what_runs();
      status = frame_status::done;
    }
    frame answer;
    if (status == frame_status::done)
      status = stream.receive(answer, compat::forever);
    switch (status) {
    case frame_status::done:
      break;
    case frame_status::interrupted:
      link_.throw_stopped(ctx_, what_, process_.get(), *stop_, true);
    case frame_status::too_large:
      link_.throw_misbehaved(what_, *process_,
                             "sent more than it was allowed to", true);
    case frame_status::garbage:
      link_.throw_misbehaved(what_, *process_, "sent what is not an answer",
                             true);
    default:
      link_.throw_lost(what_, *process_);
    }
    if (answer.kind != frame_kind::answers)
      link_.throw_misbehaved(what_, *process_,
                             "sent something else than answers", true);
    finish(std::move(answer));
  }

  frame_status send(const frame_stream& stream) {
    auto n = static_cast<std::uint32_t>(kept_);
    auto& body = link_.outgoing_;
    body.clear();
    for (const auto& x : chunk_.calls.first(kept_)) {
      auto size = static_cast<std::uint64_t>(x.arguments.size());
      auto bytes =
          reinterpret_cast<const compat::byte_buffer::value_type*>(&size);
      body.insert(body.end(), bytes, bytes + sizeof(size));
      body.insert(body.end(), x.arguments.begin(), x.arguments.end());
    }
    compat::byte_buffer meta;
    compat::encode(meta, std::string{what_.name}, std::string{what_.signature},
                   n, static_cast<std::uint8_t>(chunk_.stop_at_failure));
    page_.open(n);
    auto status = stream.send(frame_kind::calls, meta, body);
    if (body.capacity() > 2 * most_trip_bytes)
      body = {};
    return status;
  }

  // It takes its time. What is there is told, what has not begun is given back,
  // and what runs has the time that a call has. How long it has run already is
  // known of the first one only; of another one it is less than the patience.
  void keep_what_runs() {
    auto sent = kept_;
    kept_ = page_.take_back(1);
    harvest();
    if (done_ > 0)
      chunk_.done(done_);
    if (kept_ < sent)
      chunk_.give_back(kept_);
    auto limit = link_.room_.settings.max_run_time;
    if (limit.count() > 0)
      timer_ =
          start_timer(time(), (kept_ == 1 ? sent_at_ : time().now()) + limit,
                      [stop = stop_] { stop->stop(stop_why::overran); });
  }

  // The process has come to the end of what it could begin.
  void finish(frame answer) {
    auto well = harvest();
    if (!answer.meta.empty() && done_ < kept_)
      take(std::as_bytes(std::span{answer.meta}), std::move(answer.body));
    if (!well || done_ != page_.begun())
      link_.throw_misbehaved(what_, *process_,
                             "left answers that make no sense", true);
    link_.count_answers(process_, done_);
  }

  // The process is gone. Takes the answers that it left. Returns whether a call
  // had begun and has none.
  bool look_back() noexcept {
    page_.take_back(0);
    harvest();
    return std::min<std::size_t>(page_.begun(), kept_) > done_;
  }

  // The process was lost while it ran a call.
  void lose(const lost_process& lost) {
    auto& running = chunk_.calls[done_];
    running.failure =
        link_.note_lost(what_, running.arguments, lost, key_, 1, *stop_);
    if (!running.failure) {
      // The others need not wait for that.
      chunk_.done(done_);
      chunk_.give_back(done_ + 1);
      try {
        running.result = link_.call_up_to_twice(ctx_, what_, running.arguments,
                                                stop_, key_, 2);
      } catch (...) {
        running.failure = std::current_exception();
      }
    }
    ++done_;
  }

  // Takes the answers that are there. Returns false if they make no sense.
  bool harvest() noexcept {
    auto there = std::min<std::size_t>(page_.answered(), kept_);
    page_answer next;
    while (done_ < there) {
      if (!page_.read(next))
        return false;
      auto first = reinterpret_cast<const compat::byte_buffer::value_type*>(
          next.body.data());
      take(next.meta, {first, first + next.body.size()});
    }
    return true;
  }

  void take(std::span<const std::byte> meta,
            compat::byte_buffer body) noexcept {
    auto& x = chunk_.calls[done_++];
    try {
      x.result = link_.read_answer(what_, *process_, meta, std::move(body));
    } catch (...) {
      x.failure = std::current_exception();
    }
  }

  clock& time() const noexcept { return ctx_.cell().home().time(); }

  process_link& link_;
  context& ctx_;
  const procedure_info& what_;
  call_chunk& chunk_;
  const std::shared_ptr<worker_process> process_;
  call_page& page_;
  const std::shared_ptr<stopper>& stop_;
  request_key key_;
  // How many calls were sent and not taken back, and how many of these have
  // their outcome.
  std::size_t kept_;
  std::size_t done_ = 0;
  clock::time_point sent_at_;
  std::optional<timer_id> timer_;
};

std::size_t process_link::call_many(context& ctx, const procedure_info& what,
                                    call_chunk& chunk) {
  auto key = process_room::key_of(worker_cell::current_batch());
  std::size_t allowed = 0;
  try {
    for (; allowed < chunk.calls.size(); ++allowed)
      refuse(what, chunk.calls[allowed].arguments, key);
  } catch (...) {
    // Others go before it.
    if (allowed == 0)
      throw;
  }
  auto stop = std::make_shared<stopper>(event_);
  call_scope busy{*this, *stop};
  auto hook =
      ctx.on_cancel([&stop]() noexcept { stop->stop(stop_why::cancelled); });
  for (auto attempt = 1u; attempt <= start_attempts; ++attempt) {
    auto process = ensure_ready(ctx, what, *stop);
    if (stop->stopped())
      return 0;
    auto n = allowed;
    if (auto most = room_.settings.max_requests; most > 0)
      n = std::min<std::size_t>(n, most - process->answered.load());
    message sent{*this, ctx, what, chunk, n, process, stop, key};
    auto made = sent.run();
    if (made > 0 || stop->stopped())
      return made;
    // What was given back belongs to others.
    allowed = std::min(allowed, sent.kept());
  }
  throw failure{
      ec::worker_lost,
      fmt::format("procedure '{}' was not called: {} worker processes of {} "
                  "ended before they began with it",
                  what.name, start_attempts, room_.settings.plan.owner)};
}

frame_stream
process_link::stream(const worker_process& process) const noexcept {
  return {process.socket(), event_->get(), room_.settings.max_message};
}

// -- a process that takes calls -----------------------------------------------

std::shared_ptr<worker_process>
process_link::ensure_ready(context& ctx, const procedure_info& what,
                           const stopper& stop) {
  for (unsigned attempt = 1;;) {
    std::shared_ptr<worker_process> process;
    {
      std::lock_guard guard{mutex_};
      process = process_;
    }
    if (!process) {
      wait_out_backoff(ctx, what, stop);
      std::lock_guard guard{mutex_};
      try {
        process = process_ = start();
      } catch (...) {
        note_failed_start();
        throw;
      }
    }
    if (!process->ready.load()) {
      if (await_ready(ctx, what, *process, stop, attempt++ == start_attempts))
        return process;
      continue;
    }
    // Whatever is there to be read now was not asked for.
    char byte = 0;
    auto got = ::recv(process->socket(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0)
      throw_misbehaved(what, *process, "spoke before it was asked", false);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return process;
    // It has ended since the last call, and this one has not begun: take
    // another.
    room_.lost.fetch_add(1, std::memory_order_relaxed);
    end(*process);
  }
}

void process_link::wait_out_backoff(context& ctx, const procedure_info& what,
                                    const stopper& stop) {
  for (;;) {
    auto left = not_before_ - steady_clock::now();
    if (left.count() <= 0)
      return;
    pollfd event{event_->get(), POLLIN, 0};
    ::poll(&event, 1,
           static_cast<int>(
               std::chrono::ceil<std::chrono::milliseconds>(left).count()));
    if (stop.stopped())
      throw_stopped(ctx, what, nullptr, stop, false);
  }
}

// Returns false if the process has ended and it is worth to try another one.
bool process_link::await_ready(context& ctx, const procedure_info& what,
                               worker_process& process, const stopper& stop,
                               bool last_attempt) {
  frame hello;
  auto status = stream(process).receive(hello, room_.settings.start_timeout);
  switch (status) {
  case frame_status::done:
    break;
  case frame_status::interrupted:
    throw_stopped(ctx, what, &process, stop, false);
  case frame_status::ended:
    if (!process.wait_for_end(room_.settings.kill_grace))
      end(process);
    if (!last_attempt) {
      drop_failed_start(process, room_.lost);
      return false;
    }
    throw_not_ready(
        what, process, room_.lost,
        fmt::format("ended before it took calls: {}", process.end_text()));
  case frame_status::timed_out:
    throw_not_ready(what, process, room_.ended,
                    fmt::format("did not say within {} that it takes calls",
                                to_text(room_.settings.start_timeout)));
  default:
    throw_not_ready(what, process, room_.ended,
                    "sent something that is no greeting");
  }
  std::uint32_t theirs = 0;
  if (hello.kind != frame_kind::ready
      || !compat::decode(std::as_bytes(std::span{hello.meta}), theirs))
    throw_not_ready(what, process, room_.ended,
                    "sent something that is no greeting");
  if (theirs != frame_version)
    throw_not_ready(what, process, room_.ended,
                    fmt::format("speaks version {}, and this side {}", theirs,
                                frame_version));
  process.ready.store(true);
  std::lock_guard guard{mutex_};
  failed_starts_ = 0;
  return true;
}

// Ends a process that was of no use. `counts_as`: as lost where it has ended by
// itself, else as ended.
void process_link::drop_failed_start(
    worker_process& process, std::atomic<std::uint64_t>& counts_as) noexcept {
  end(process);
  counts_as.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard guard{mutex_};
  note_failed_start();
}

// Ends a process that is of no use any more, and forgets it.
void process_link::end(worker_process& process) noexcept {
  process.end(room_.settings.kill_grace);
  std::lock_guard guard{mutex_};
  if (process_.get() == &process)
    process_.reset();
}

// -- how calls fail -----------------------------------------------------------

std::string process_link::place(const worker_process& process) const {
  return fmt::format("worker process {} ({}) of {}", process.pid(),
                     room_.settings.plan.title, room_.settings.plan.owner);
}

void process_link::throw_lost(const procedure_info& what,
                              worker_process& process) {
  // Its stream has ended; if it has not, it is of no use any more.
  if (!process.wait_for_end(room_.settings.kill_grace))
    end(process);
  room_.lost.fetch_add(1, std::memory_order_relaxed);
  auto why = process.end_text();
  throw lost_process{fmt::format("procedure '{}' was lost with {}: {}",
                                 what.name, place(process), why),
                     why};
}

// A running call cannot be stopped, but its process can. `called`: whether the
// call was sent there, so that it may have begun.
void process_link::throw_stopped(context& ctx, const procedure_info& what,
                                 worker_process* process, const stopper& stop,
                                 bool called) {
  auto end = std::string{"it had no process yet"};
  if (process) {
    this->end(*process);
    room_.ended.fetch_add(1, std::memory_order_relaxed);
    end =
        fmt::format("{} {}was ended for that{}", place(*process),
                    called ? "" : "took no calls yet, and ",
                    process->ended() ? fmt::format(" ({})", process->end_text())
                                     : ", and has not ended yet");
  }
  if (stop.why.load() == stop_why::overran)
    throw failure{ec::deadline_exceeded,
                  fmt::format("procedure '{}' ran longer than max_run_time = "
                              "{}; {}",
                              what.name, to_text(room_.settings.max_run_time),
                              end),
                  true};
  auto late = ctx.cell().home().time().now() >= ctx.deadline();
  throw failure{
      late ? ec::deadline_exceeded : ec::cancelled,
      fmt::format("procedure '{}' was asked to stop; {}", what.name, end),
      called};
}

// `called`: whether a call was sent to it, which may have begun then.
void process_link::throw_misbehaved(const procedure_info& what,
                                    worker_process& process,
                                    const std::string& how, bool called) {
  end(process);
  room_.ended.fetch_add(1, std::memory_order_relaxed);
  throw failure{ec::bad_message,
                fmt::format("procedure '{}' failed: {} {}, and was ended",
                            what.name, place(process), how),
                called};
}

void process_link::throw_not_ready(const procedure_info& what,
                                   worker_process& process,
                                   std::atomic<std::uint64_t>& counts_as,
                                   const std::string& how) {
  drop_failed_start(process, counts_as);
  throw failure{ec::worker_lost,
                fmt::format("procedure '{}' was not called: {} {}; does its "
                            "main call troupe::run_if_worker first?",
                            what.name, place(process), how)};
}

} // namespace troupe
