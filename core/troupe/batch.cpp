#include "troupe/batch.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "troupe/call_time.hpp"
#include "troupe/dispatcher.hpp"
#include "troupe/final_failure.hpp"
#include "troupe/trace.hpp"
#include "troupe/wait_graph.hpp"
#include "troupe/worker_cell.hpp"

namespace troupe {

namespace {

// How long the requests claimed at once should take together. Long enough to
// make the cost of claiming disappear, short enough to stay fair; a slow one
// among them holds nobody up, since the others can be stolen.
constexpr auto chunk_time = std::chrono::microseconds{10};

// Most requests claimed at once. At 2 ns each this is `chunk_time`.
constexpr std::uint32_t max_chunk = 4096;

// The same for requests that travel together, to where a message there and back
// takes some 40 us: long enough for that to hardly count, and short enough for
// those to wait who are in the message of a slow one.
constexpr auto trip_time = std::chrono::microseconds{300};

// How long a worker that shares its thread works before it lets others have it:
// as long as they may have to wait for it. A guess, a tenth of what people
// notice.
constexpr auto slice_time = std::chrono::milliseconds{10};

// How long a worker stays with a batch while another one has a turn: some
// hundred times what it costs to change.
constexpr auto turn_time = std::chrono::microseconds{200};

// Whether the requests are measured and traced: TROUPE_STATISTICS of the build.
// Off, to see what that costs.
constexpr bool measured = TROUPE_STATISTICS;

// Below this, claiming in chunks saves less than the lanes cost.
constexpr std::uint32_t min_size_for_lanes = 64;

// Batches whose completion was told to somebody in this process; numbers them.
std::atomic<std::uint64_t> completions{0};

// Ends "it was to be tried again when".
std::string_view calling_off(ec why) noexcept {
  switch (why) {
  case ec::deadline_exceeded:
    return "its deadline passed";
  case ec::pool_stopped:
    return "the pool stopped";
  case ec::owner_gone:
    return "the actor that asked for it ended";
  default:
    return "that was called off";
  }
}

// Whether an attempt that failed so has begun its call. Not always: one of a
// procedure may have waited in vain for a process.
bool has_begun(const std::exception_ptr& attempt) {
  try {
    std::rethrow_exception(attempt);
  } catch (const failure& err) {
    return err.started();
  } catch (...) {
    return true;
  }
}

// Whether whoever made the call says that there must be no other attempt.
bool was_last(const std::exception_ptr& attempt, const batch& owner) {
  try {
    std::rethrow_exception(attempt);
  } catch (const final_failure& err) {
    return err.is_final_for(owner);
  } catch (...) {
    return false;
  }
}

// What the last attempt failed with, for whoever asks whether the call may have
// had effects.
std::exception_ptr with_attempt_before(const std::exception_ptr& last) {
  try {
    std::rethrow_exception(last);
  } catch (const failure& err) {
    return std::make_exception_ptr(failure{
        err.code(), std::string{err.what()} + "; an attempt before had begun",
        true, err.label(), err.worker()});
  } catch (...) {
    return last;
  }
}

} // namespace

// The requests that failed and are to be tried again.
struct batch::retry_book {
  explicit retry_book(std::shared_ptr<const retry_policy> how)
      : policy{std::move(how)} {}

  struct history {
    // How often the request has run.
    unsigned attempts = 1;
    // Whether its call has begun in one of those: not if it was for a process
    // that could not be had.
    bool begun = false;
  };

  bool begun_before(std::uint32_t index) {
    std::lock_guard guard{mutex};
    auto found = requests.find(index);
    return found != requests.end() && found->second.begun;
  }

  const std::shared_ptr<const retry_policy> policy;
  std::mutex mutex;
  // By index, for those that failed.
  std::map<std::uint32_t, history> requests;
  // Why the last attempt failed, for those that wait for the next one.
  std::map<std::uint32_t, failure_ptr> waiting;
  // Those whose next attempt is due, in that order.
  std::deque<std::uint32_t> due;
  bool over = false;
};

// Lets a shutdown find a batch of which nothing is left but an attempt to come,
// until the timer has called for that or has been dropped.
struct batch::retry_hold {
  explicit retry_hold(batch& waiting) : work{&waiting} {
    work->home_->await_retry(waiting);
  }
  retry_hold(const retry_hold&) = delete;
  retry_hold& operator=(const retry_hold&) = delete;
  ~retry_hold() { work->home_->end_retry(*work); }

  const ref_ptr<batch> work;
};

// What few batches need. Allocated on first use, by the submitter or by a
// request that asks for its stop token.
struct batch::extras {
  std::string label;
  tag_list tags;
  std::optional<key_limit> key;
  // What it shares with other batches of that key, once it is submitted.
  key_share* shared = nullptr;
  clock::time_point deadline = clock::time_point::max();
  std::unique_ptr<retry_book> retry;
  ref_ptr<progress_meter> progress;
  // How many requests this one was in truth, and how many failed.
  std::optional<std::pair<std::uint32_t, std::uint32_t>> stands_for;
  // Whether the progress is that of this batch, and not of a larger operation.
  bool owns_progress = false;
  ref_ptr<completion_sink> notify;
  std::stop_token token;
  std::stop_source stop;

  struct cancel_batch {
    batch* target;
    void operator()() const noexcept {
      // The token may be stopped while the last reference goes.
      if (target->try_ref()) {
        target->cancel(ec::cancelled);
        target->deref();
      }
    }
  };
  std::optional<std::stop_callback<cancel_batch>> on_stop;
};

// -- construction -------------------------------------------------------------

batch::batch(std::uint32_t size) : size_{size}, barrier_{size} {}

batch::~batch() {
  delete extras_.load(std::memory_order_acquire);
  // Far from what else is looked at here.
  if (size_ > 1)
    delete lanes_.load(std::memory_order_acquire);
}

// -- the submitter's side -----------------------------------------------------

void batch::set_home(ref_ptr<dispatcher> home) noexcept {
  home_ = std::move(home);
}

void batch::set_label(std::string label) {
  ensure_extras().label = std::move(label);
}

void batch::set_stop_token(std::stop_token token) {
  ensure_extras().token = std::move(token);
}

void batch::set_notify(ref_ptr<completion_sink> sink) {
  ensure_extras().notify = std::move(sink);
}

bool batch::modify(const modifiers& mods) {
  auto more = find_extras();
  if (mods.retry && !(mods.of_whole && more && more->retry)) {
    if (!repeatable())
      throw failure{ec::invalid_option,
                    "cannot set .retry: the function takes what it is given by "
                    "rvalue, or cannot be called twice; let it take values or "
                    "references to const"};
    may_repeat_ = true;
    ensure_extras().retry = std::make_unique<retry_book>(mods.retry);
  }
  if (mods.priority && !(mods.of_whole && priority_ != priority::normal))
    priority_ = *mods.priority;
  if (mods.max_in_flight)
    max_in_flight_ = mods.of_whole
                         ? std::min(max_in_flight_, *mods.max_in_flight)
                         : *mods.max_in_flight;
  if (mods.key && !(mods.of_whole && more && more->key))
    ensure_extras().key = mods.key;
  if (mods.progress) {
    report_to(mods.progress);
    ensure_extras().owns_progress = true;
  }
  if (mods.tag)
    set_tag(ensure_extras().tags, *mods.tag, mods.of_whole);
  // Label and tags go with a request into a group; the rest would be lost.
  modified_ = modified_ || mods.retry || mods.priority || mods.key
              || (mods.progress && size_ == 1);
  return true;
}

void batch::report_to(ref_ptr<progress_meter> meter) {
  ensure_extras().progress = std::move(meter);
}

ref_ptr<progress_meter> batch::take_progress() noexcept {
  auto more = find_extras();
  if (!more || !std::exchange(more->owns_progress, false))
    return nullptr;
  return std::exchange(more->progress, nullptr);
}

void batch::end_progress() noexcept {
  auto more = find_extras();
  if (!more || !more->owns_progress)
    return;
  if (!started())
    more->progress->add_total(size_);
  more->progress->finish();
}

void batch::set_deadline(clock::time_point when) noexcept {
  auto& deadline = ensure_extras().deadline;
  deadline = std::min(deadline, when);
}

void batch::copy_settings(const batch& other) {
  home_ = other.home_;
  priority_ = other.priority_;
  max_in_flight_ = other.max_in_flight_;
  may_repeat_ = other.may_repeat_;
  modified_ = other.modified_;
  auto theirs = other.find_extras();
  if (!theirs)
    return;
  auto& more = ensure_extras();
  more.label = theirs->label;
  more.tags = theirs->tags;
  more.key = theirs->key;
  more.deadline = theirs->deadline;
  more.token = theirs->token;
  if (theirs->retry)
    more.retry = std::make_unique<retry_book>(theirs->retry->policy);
}

void batch::inherit(const batch& parent) {
  auto theirs = parent.find_extras();
  if (!theirs || (theirs->label.empty() && theirs->tags.empty()))
    return;
  auto& more = ensure_extras();
  more.label = theirs->label;
  more.tags = theirs->tags;
}

void batch::do_start() {
  submitted_at_ = std::chrono::steady_clock::now();
  if (auto progress = meter())
    progress->add_total(size_);
  if (auto more = find_extras(); more && more->token.stop_possible()) {
    if (more->token.stop_requested()) {
      refuse(ec::cancelled, "the stop token had been stopped already");
      return;
    }
    more->on_stop.emplace(more->token, extras::cancel_batch{this});
  }
  if (measured && trace::active()) {
    auto worker = worker_cell::current();
    trace::submitted({this, submitted_at_},
                     worker ? std::string_view{worker->name()}
                            : std::string_view{},
                     label(), size_);
  }
  if (size_ == 0)
    deliver(submitted_at_);
  else
    home_->submit(*this);
}

void batch::begin_burst() noexcept {
  is_burst_ = true;
  is_private_.store(true, std::memory_order_relaxed);
  submitted_at_ = std::chrono::steady_clock::now();
}

void batch::count_dropped_call(ec why) noexcept {
  home_->count_dropped_call(why);
}

void batch::set_size(std::uint32_t size) noexcept {
  size_ = size;
  barrier_.reset(size);
}

void batch::refuse(ec why, const std::string& text) noexcept {
  if (size_ > 0 && unclaimed_.exchange(size_, std::memory_order_seq_cst) != 0)
    return;
  if (!has_failed_.exchange(true, std::memory_order_acq_rel))
    failure_ =
        make_failure(why, text + tags_text(), false, std::string{label()});
  on_drop({0, size_}, failure_);
  cancelled_count_.fetch_add(size_, std::memory_order_relaxed);
  if (size_ == 0 || barrier_.arrive(size_))
    deliver(std::chrono::steady_clock::now());
}

// -- the worker's side --------------------------------------------------------

// Looks for what is not in `unclaimed_`.
bool batch::has_more_unclaimed() const noexcept {
  if (retries_.load(std::memory_order_seq_cst) > 0)
    return true;
  auto all = lanes_.load(std::memory_order_acquire);
  if (all == nullptr)
    return false;
  // In this order: if both are the same, nothing was on its way in between.
  auto ended = all->moves_ended.load(std::memory_order_seq_cst);
  auto begun = all->moves_begun.load(std::memory_order_seq_cst);
  return begun != ended
         || std::any_of(all->lanes.get(), all->lanes.get() + all->count,
                        [](const lane& l) { return !l.unstarted().empty(); })
         // A range may have moved to a lane that we had passed.
         || all->moves_begun.load(std::memory_order_seq_cst) != begun;
}

std::uint32_t batch::unclaimed() const noexcept {
  auto next = unclaimed_.load(std::memory_order_relaxed);
  return (next < size_ ? size_ - static_cast<std::uint32_t>(next) : 0)
         + retries_.load(std::memory_order_relaxed);
}

// Whether a range is on its way into a lane.
bool batch::moving() const noexcept {
  auto all = lanes_.load(std::memory_order_acquire);
  return all && all->moves_begun.load() != all->moves_ended.load();
}

// Counts what is not claimed and what is claimed and not started.
std::uint32_t batch::unstarted() const noexcept {
  auto sum = unclaimed();
  if (auto all = lanes_.load(std::memory_order_acquire))
    for (std::uint32_t i = 0; i < all->count; ++i) {
      auto range = all->lanes[i].unstarted();
      sum += range.empty() ? 0 : range.size();
    }
  return sum;
}

std::stop_token batch::stop_token() {
  auto token = ensure_extras().stop.get_token();
  // A cancel that came before the extras were there has not seen them.
  if (stopped_.load(std::memory_order_seq_cst))
    ensure_extras().stop.request_stop();
  return token;
}

clock::time_point batch::deadline() const noexcept {
  auto more = find_extras();
  return more ? more->deadline : clock::time_point::max();
}

std::string_view batch::tag(std::string_view key) const noexcept {
  auto more = find_extras();
  return more ? find_tag(more->tags, key) : std::string_view{};
}

std::string batch::tags_text() const {
  auto more = find_extras();
  return more ? to_text(more->tags) : std::string{};
}

void batch::fail(failure_ptr record) noexcept {
  if (!has_failed_.exchange(true, std::memory_order_acq_rel))
    failure_ = std::move(record);
  if (size_ > 1) {
    // So that a deadline that passes later does not count what is dropped here.
    auto none = ec{};
    drop_reason_.compare_exchange_strong(none, ec::request_failed,
                                         std::memory_order_seq_cst);
    drop_unstarted();
  }
}

run_result batch::fail(std::exception_ptr exception, std::uint32_t index,
                       worker_cell& cell) noexcept {
  if (retry_later(exception, index, cell))
    return run_result::again;
  if (auto more = find_extras(); more && more->retry
                                 && more->retry->begun_before(index)
                                 && !has_begun(exception))
    exception = with_attempt_before(exception);
  fail(make_failure(std::move(exception), std::string{label()}, cell.id(),
                    cell.name(), attempts(index), tags_text()));
  return run_result::failed;
}

void batch::settle(std::uint32_t requests, std::uint32_t failed,
                   std::chrono::steady_clock::time_point now) noexcept {
  if (drop_reason_.load(std::memory_order_seq_cst) == ec::deadline_exceeded)
    late_count_.fetch_add(requests, std::memory_order_relaxed);
  else if (failed > 0)
    failed_count_.fetch_add(failed, std::memory_order_relaxed);
  if (auto progress = meter())
    progress->add_done(requests, failed);
  if (barrier_.arrive(requests))
    deliver(now);
}

// -- retries ------------------------------------------------------------------

unsigned batch::attempts(std::uint32_t index) const noexcept {
  auto more = find_extras();
  if (!more || !more->retry)
    return 1;
  auto& book = *more->retry;
  std::lock_guard guard{book.mutex};
  auto found = book.requests.find(index);
  return found == book.requests.end() ? 1 : found->second.attempts;
}

// Puts a request that failed into the book and has it come back later. Returns
// false if this was its last attempt.
bool batch::retry_later(const std::exception_ptr& exception,
                        std::uint32_t index, worker_cell& cell) noexcept {
  auto more = find_extras();
  if (!more || !more->retry)
    return false;
  auto& book = *more->retry;
  if (was_last(exception, *this))
    return false;
  try {
    if (book.policy->when && !book.policy->when(exception))
      return false;
  } catch (...) {
    return false;
  }
  auto made = attempts(index);
  if (made >= book.policy->attempts)
    return false;
  static thread_local std::minstd_rand random{std::random_device{}()};
  auto& clock = home_->time();
  auto when = clock.now()
              + backoff_after(*book.policy, made,
                              std::uniform_real_distribution<>{0, 1}(random));
  if (when >= more->deadline)
    return false;
  {
    std::lock_guard guard{book.mutex};
    if (book.over)
      return false;
    auto& so_far = book.requests[index];
    so_far.attempts = made + 1;
    so_far.begun = so_far.begun || has_begun(exception);
    book.waiting.emplace(index, make_failure(exception, std::string{label()},
                                             cell.id(), cell.name(), made));
  }
  auto hold = std::make_shared<retry_hold>(*this);
  home_->crew().call_at(clock, when,
                        [hold, index] { hold->work->retry_now(index); });
  return true;
}

void batch::retry_now(std::uint32_t index) noexcept {
  auto& book = *find_extras()->retry;
  {
    std::lock_guard guard{book.mutex};
    if (book.over)
      return;
    book.due.push_back(index);
    retries_.fetch_add(1, std::memory_order_seq_cst);
  }
  home_->requeue(*this);
  // All workers may wait, one of them for this.
  wait_graph::call_back(*home_);
  wait_graph::look_again();
}

bool batch::take_retry(index_range& started) noexcept {
  auto& book = *find_extras()->retry;
  std::lock_guard guard{book.mutex};
  if (book.due.empty())
    return false;
  auto index = book.due.front();
  book.due.pop_front();
  book.waiting.erase(index);
  retries_.fetch_sub(1, std::memory_order_seq_cst);
  started = {index, index + 1};
  return true;
}

// What waits for its next attempt has had its last one.
void batch::drop_retries() noexcept {
  auto more = find_extras();
  if (!more || !more->retry)
    return;
  auto& book = *more->retry;
  std::map<std::uint32_t, failure_ptr> dropped;
  {
    std::lock_guard guard{book.mutex};
    book.over = true;
    book.due.clear();
    retries_.store(0, std::memory_order_seq_cst);
    dropped.swap(book.waiting);
    // Their next attempt is not made.
    for (auto& [index, last] : dropped)
      --book.requests[index].attempts;
  }
  if (dropped.empty())
    return;
  if (!has_failed_.exchange(true, std::memory_order_acq_rel)) {
    const auto& last = *dropped.begin()->second;
    auto reason = drop_reason_.load(std::memory_order_seq_cst);
    failure_ = make_failure(reason,
                            "it was to be tried again when "
                                + std::string{calling_off(reason)}
                                + "; before: " + last.text + tags_text(),
                            true, {}, last.worker);
  }
  auto n = static_cast<std::uint32_t>(dropped.size());
  settle(n, n, std::chrono::steady_clock::now());
}

bool batch::stands_for_others() const noexcept {
  auto more = find_extras();
  return more && more->stands_for;
}

progress_meter* batch::meter() const noexcept {
  auto more = find_extras();
  return more ? more->progress.get() : nullptr;
}

// The last worker has ended without a word: what the barrier misses has been
// claimed and will not return.
void batch::lose(const worker_cell& cell) noexcept {
  ref_ptr<batch> keep{this};
  auto why = make_failure(
      ec::worker_lost, "worker " + cell.name() + " ended while it ran the call",
      true, std::string{label()}, cell.id());
  fail(why);
  auto lost = on_drop({0, size_}, why);
  if (auto n = barrier_.remaining(); n > 0)
    settle(n, std::min(n, lost), std::chrono::steady_clock::now());
}

// -- everybody's side ---------------------------------------------------------

void batch::cancel(ec why) noexcept {
  ref_ptr<batch> keep{this};
  auto none = ec{};
  drop_reason_.compare_exchange_strong(none, why, std::memory_order_seq_cst);
  drop_unstarted();
  if (home_)
    home_->withdraw(*this);
}

void batch::give_up(failure_ptr why) noexcept {
  ref_ptr<batch> keep{this};
  auto code = why->code;
  if (!has_failed_.exchange(true, std::memory_order_acq_rel))
    failure_ = std::move(why);
  cancel(code);
}

void batch::drop_unstarted() noexcept {
  stopped_.store(true, std::memory_order_seq_cst);
  auto next = unclaimed_.exchange(size_, std::memory_order_seq_cst);
  if (next < size_)
    drop({static_cast<std::uint32_t>(next), size_});
  if (auto all = lanes_.load(std::memory_order_seq_cst))
    for (std::uint32_t i = 0; i < all->count; ++i)
      drop(all->lanes[i].drop());
  if (auto more = extras_.load(std::memory_order_seq_cst))
    more->stop.request_stop();
  drop_retries();
}

std::string batch::drop_text(ec why) const {
  switch (why) {
  case ec::owner_gone:
    return "the actor that asked for it has ended";
  case ec::pool_stopped:
    return "the pool stopped before a worker took it";
  case ec::deadline_exceeded:
    return home_->late_text();
  case ec::resource_unavailable:
    return home_->outage_text();
  default:
    return "it was cancelled before it was complete";
  }
}

// The barrier cannot reach zero before these are counted, so whoever counts
// them still has the time to say why.
void batch::drop(index_range requests) noexcept {
  if (requests.empty())
    return;
  cancelled_count_.fetch_add(requests.size(), std::memory_order_relaxed);
  auto first = !has_failed_.exchange(true, std::memory_order_acq_rel);
  if (first || is_burst_) {
    auto why = drop_reason_.load(std::memory_order_seq_cst);
    if (is_burst_)
      on_drop(requests,
              make_failure(why, drop_text(why), false, std::string{label()}));
    // Of the others, some may have run.
    if (first)
      failure_ = make_failure(why, drop_text(why) + tags_text(),
                              requests.size() < size_, std::string{label()});
  }
  if (auto progress = meter())
    progress->add_done(requests.size(), requests.size());
  if (barrier_.arrive(requests.size()))
    deliver(std::chrono::steady_clock::now());
}

void batch::settle_unwanted(std::uint32_t index) noexcept {
  on_drop({index, index + 1},
          make_failure(ec::owner_gone, drop_text(ec::owner_gone), false,
                       std::string{label()}));
  cancelled_count_.fetch_add(1, std::memory_order_relaxed);
  if (barrier_.arrive(1))
    deliver(std::chrono::steady_clock::now());
}

// Returns why the worker on the calling thread cannot run requests of this
// batch inside the one that waits for them; null if it can.
const char* batch::obstacle_to_help(const worker_cell& cell) const noexcept {
  if (cell.resource_in_use())
    return "the request that waits uses the worker's resource";
  if (!cell.may_nest())
    return "its requests are nested so deep that half of its stack is used up";
  return nullptr;
}

void batch::help() noexcept {
  auto cell = worker_cell::current();
  if (cell == nullptr || &cell->home() != home_.get() || done())
    return;
  cell->measure_stack();
  if (obstacle_to_help(*cell) != nullptr)
    return;
  // Those with limits of their own only as far as these allow.
  auto limited = wanted_key() != nullptr || max_in_flight_ < max_size;
  if (limited && !home_->join(*this))
    return;
  {
    worker_cell::nested_scope scope{*cell};
    nested_part part{*cell, *this};
    participate(*cell, true);
  }
  if (limited)
    home_->part(*this);
  home_->withdraw(*this);
}

bool batch::hangs(hang_check& check) noexcept {
  using hang = dispatcher::hang;
  auto where = home_->check_hang(*this, check);
  if (where == hang::none)
    return false;
  auto& cell = check.waiting().cell();
  auto is_own = &cell.home() == home_.get();
  auto obstacle = is_own ? obstacle_to_help(cell) : nullptr;
  if (where == hang::unless_helped && is_own && obstacle == nullptr) {
    // Something of it is due again, since the worker looked last.
    check.want_help();
    return false;
  }
  auto text =
      where == hang::at_key
          ? fmt::format("the key '{}' of the pool '{}' (limit {})",
                        wanted_key()->key, home_->name(), wanted_key()->limit)
          : fmt::format("the pool '{}'", home_->name());
  if (obstacle && where != hang::at_key)
    text += fmt::format(" and cannot help itself: {}", obstacle);
  check.waits_for(std::move(text));
  if (has_unclaimed())
    check.offer(ref_ptr<batch>{this});
  return true;
}

std::chrono::nanoseconds batch::spin() const noexcept {
  return home_ ? home_->spin() : std::chrono::nanoseconds{0};
}

clock& batch::time() const noexcept {
  return home_ ? home_->time() : steady_clock();
}

// -- properties ---------------------------------------------------------------

std::string_view batch::label() const noexcept {
  auto more = find_extras();
  return more ? std::string_view{more->label} : std::string_view{};
}

std::uint64_t batch::new_id() noexcept {
  return completions.fetch_add(1, std::memory_order_relaxed) + 1;
}

completion batch::summary() const {
  auto result = counts();
  auto id = id_.load(std::memory_order_relaxed);
  if (id == 0) {
    auto made = new_id();
    if (id_.compare_exchange_strong(id, made, std::memory_order_relaxed))
      id = made;
  }
  result.id = id;
  result.label = label();
  result.elapsed = elapsed_;
  return result;
}

const key_limit* batch::wanted_key() const noexcept {
  auto more = find_extras();
  return more && more->key ? &*more->key : nullptr;
}

key_share* batch::shared_key() const noexcept {
  return find_extras()->shared;
}

void batch::set_key(key_share* found) noexcept {
  find_extras()->shared = found;
  holds_key_ = found != nullptr;
}

void batch::stand_for(std::uint32_t requests, std::uint32_t failed) noexcept {
  auto& more = ensure_extras();
  more.stands_for = std::pair{requests, failed};
}

completion batch::counts() const noexcept {
  completion result;
  if (auto more = find_extras(); more && more->stands_for) {
    result.requests = more->stands_for->first;
    result.failed = more->stands_for->second;
    result.succeeded = result.requests - result.failed;
    return result;
  }
  result.requests = size_;
  result.failed = failed_count_.load(std::memory_order_relaxed);
  auto dropped = cancelled_count_.load(std::memory_order_relaxed);
  auto expired =
      drop_reason_.load(std::memory_order_relaxed) == ec::deadline_exceeded;
  result.cancelled = expired ? 0 : dropped;
  result.expired = expired ? dropped + late() : 0;
  result.succeeded = result.requests - result.failed - dropped - late();
  return result;
}

std::uint32_t batch::late() const noexcept {
  return late_count_.load(std::memory_order_relaxed);
}

call_report batch::report() const noexcept {
  if (in_group_)
    return {waited_, elapsed_, worker_, 0};
  if (failed() && !failed()->started)
    return {elapsed_, {}, 0, 0};
  return {waited_, elapsed_ - waited_, worker_, attempts(0)};
}

bool batch::asked_to_stop() const noexcept {
  if (in_group_)
    return member_stopped_;
  auto why = drop_reason_.load(std::memory_order_acquire);
  // A failed sibling counts as nobody's wish.
  return why != ec{} && why != ec::request_failed;
}

void batch::note_begin(const worker_cell& cell) noexcept {
  // Of several attempts, the first.
  if (!measured_ || worker_ != 0)
    return;
  worker_ = cell.id();
  waited_ = std::chrono::steady_clock::now() - submitted_at_;
}

bool batch::begin_member(std::chrono::nanoseconds waited, int worker) noexcept {
  // Before it is seen to run.
  waited_ = waited;
  worker_ = worker;
  auto expected = member_state::waiting;
  return member_.compare_exchange_strong(expected, member_state::running,
                                         std::memory_order_acq_rel);
}

void batch::end_member(std::chrono::nanoseconds ran, bool stopped) noexcept {
  elapsed_ = ran;
  member_stopped_ = stopped;
  member_.store(member_state::ended, std::memory_order_release);
}

bool batch::drop_member() noexcept {
  auto expected = member_state::waiting;
  return member_.compare_exchange_strong(expected, member_state::dropped,
                                         std::memory_order_acq_rel)
         || expected == member_state::dropped;
}

bool batch::plain() const noexcept {
  auto more = find_extras();
  return size_ == 1 && !started() && !modified_
         && (!more || (!more->notify && !more->token.stop_possible()));
}

batch::extras* batch::find_extras() const noexcept {
  return extras_.load(std::memory_order_acquire);
}

batch::extras& batch::ensure_extras() {
  auto found = find_extras();
  if (found)
    return *found;
  auto made = std::make_unique<extras>();
  if (extras_.compare_exchange_strong(found, made.get(),
                                      std::memory_order_seq_cst))
    return *made.release();
  return *found;
}

batch::lane_array* batch::ensure_lanes() noexcept {
  auto found = lanes_.load(std::memory_order_acquire);
  if (found || size_ < (is_burst_ ? 2 : min_size_for_lanes))
    return found;
  // A worker without a lane claims one request at a time, so any number is
  // correct; this one fits all workers and some nested callers.
  auto made = std::make_unique<lane_array>(
      is_burst_
          ? 2
          : std::min(static_cast<std::uint32_t>(home_->most_workers()) + 4,
                     size_ / 16));
  if (lanes_.compare_exchange_strong(found, made.get(),
                                     std::memory_order_seq_cst))
    return made.release();
  return found;
}

// Whoever brings the barrier to zero holds a reference: a worker that of its
// hand-off, the owner or who cancels one of their own.
void batch::deliver(std::chrono::steady_clock::time_point now) noexcept {
  destroy_input();
  // One that was cancelled before its start took no time.
  if (submitted_at_ != std::chrono::steady_clock::time_point{})
    elapsed_ = now - submitted_at_;
  if (home_)
    home_->account(*this);
  auto more = find_extras();
  auto notify = more ? std::move(more->notify) : nullptr;
  if (more && more->owns_progress)
    more->progress->finish();
  complete();
  if (notify)
    notify->on_operation_complete();
}

// A deadline that passes, or a token that is stopped, may free a worker for
// this batch before it reaches the batch itself.
void batch::drop_if_unwanted() noexcept {
  auto more = find_extras();
  if (!more)
    return;
  if (more->token.stop_requested())
    cancel(ec::cancelled);
  else if (more->deadline != clock::time_point::max()
           && time().now() >= more->deadline)
    cancel(ec::deadline_exceeded);
}

// -- share --------------------------------------------------------------------

batch::share::share(batch& owner, worker_cell& cell, bool nested) noexcept
    : batch_{owner},
      cell_{cell},
      nested_{nested},
      max_chunk_{max_chunk},
      chunk_time_{chunk_time} {
  owner.drop_if_unwanted();
  if (auto progress = owner.meter())
    progress->add_running(1);
  mark_ = nested ? std::chrono::steady_clock::now() : cell.mark();
  if constexpr (measured) {
    label_ = cell.home().number_of(owner.label());
    if (!nested)
      cell.record().begin(mark_, cell.home().live_workers());
  }
  // A single request cannot be interrupted.
  if (owner.size() == 1 || nested)
    return;
  // They are tiny, as far as anybody knows.
  if (owner.is_burst_)
    chunk_ = max_chunk_;
  attention_ = &cell.home().attention(owner.priority_);
  slice_ = cell.home().cooperative() ? slice_time : turn_time;
  slice_end_ = mark_ + slice_;
}

batch::share::~share() {
  if (lane_) {
    lane_->disown();
    if (attention_)
      cell_.use_lane(worker_cell::no_lane);
  }
  if constexpr (measured)
    if (!nested_)
      if (cell_.record().end(label_, mark_))
        judge();
  if (auto progress = batch_.meter())
    progress->add_running(-1);
}

bool batch::share::claim(index_range& started) noexcept {
  in_lane_ = false;
  cell_.count_claim();
  auto& next = batch_.unclaimed_;
  auto size = batch_.size_;
  retried_ = batch_.retries_.load(std::memory_order_relaxed) > 0
             && batch_.take_retry(started);
  if (retried_)
    return true;
  if (next.load(std::memory_order_relaxed) >= size)
    return steal(started);
  if (chunk_ == 1 || own_lane() == nullptr) {
    auto index = next.fetch_add(1, std::memory_order_seq_cst);
    if (index >= size)
      return steal(started);
    auto begin = static_cast<std::uint32_t>(index);
    started = {begin, begin + 1};
    return true;
  }
  // Towards the end, leave something for the others.
  auto workers = std::max<std::uint32_t>(1, batch_.home_->live_workers());
  auto fair = batch_.unclaimed() / (2 * workers) + 1;
  auto want = batch_.is_burst_ ? chunk_ : std::min(chunk_, fair);
  auto& all = *batch_.lanes_.load(std::memory_order_acquire);
  all.moves_begun.fetch_add(1, std::memory_order_seq_cst);
  auto index = next.fetch_add(want, std::memory_order_seq_cst);
  auto got = index < size;
  if (got)
    lane_->publish({static_cast<std::uint32_t>(index),
                    static_cast<std::uint32_t>(
                        std::min<std::uint64_t>(index + want, size))});
  all.moves_ended.fetch_add(1, std::memory_order_seq_cst);
  if (!got)
    return steal(started);
  use_lane();
  return true;
}

// The own lane has something. Called after the move, since others wait for its
// end, and what is dropped here may be the last of the batch.
void batch::share::use_lane() noexcept {
  in_lane_ = true;
  // A cancel may have looked at this lane before the range was there.
  if (batch_.stopped_.load(std::memory_order_seq_cst))
    batch_.drop(lane_->drop());
}

bool batch::share::steal(index_range& started) noexcept {
  auto all = batch_.lanes_.load(std::memory_order_acquire);
  if (all == nullptr)
    return false;
  // What is in a lane is meant to take `chunk_time`. Its owner will mostly be
  // through before a theft, which costs as much as many tiny requests, is worth
  // it; if a slow request holds the owner up, this is how long the others wait.
  std::optional<std::chrono::steady_clock::time_point> patience;
  for (;;) {
    auto patient = false;
    auto saw_some = false;
    auto ended = all->moves_ended.load(std::memory_order_seq_cst);
    auto begun = all->moves_begun.load(std::memory_order_seq_cst);
    for (std::uint32_t i = 0; i < all->count; ++i) {
      auto& victim = all->lanes[i];
      if (&victim == lane_ || victim.unstarted().empty())
        continue;
      if (!std::exchange(saw_some, true)) {
        auto now = std::chrono::steady_clock::now();
        if (!patience)
          patience = now + 2 * chunk_time;
        patient = now < *patience;
      }
      if (patient)
        continue;
      if (own_lane() == nullptr) {
        started = victim.steal_one();
        if (!started.empty())
          return true;
        continue;
      }
      all->moves_begun.fetch_add(1, std::memory_order_seq_cst);
      auto loot = victim.steal_half();
      // A single one is started at once. In a lane it could be stolen before
      // its owner comes to start it, and back, and so on without end; of more
      // than one a thief leaves some.
      if (loot.size() > 1)
        lane_->publish(loot);
      all->moves_ended.fetch_add(1, std::memory_order_seq_cst);
      if (loot.size() > 1) {
        use_lane();
        return true;
      }
      if (!loot.empty()) {
        started = loot;
        return true;
      }
    }
    // What was on its way while we looked may be in a lane by now.
    if (!saw_some && begun == ended
        && all->moves_begun.load(std::memory_order_seq_cst) == begun)
      return false;
    std::this_thread::yield();
  }
}

void batch::share::travel(std::uint32_t most) noexcept {
  max_chunk_ = std::min(most, max_chunk);
  chunk_time_ = trip_time;
  // A turn has to hold more than one trip, or they would never grow.
  if (attention_) {
    slice_ = std::max<std::chrono::nanoseconds>(slice_, slice_time);
    slice_end_ = mark_ + slice_;
  }
}

void batch::share::give_back(std::uint32_t first, bool calling) noexcept {
  lane_->give_back(first);
  // As in `use_lane`.
  if (batch_.stopped_.load(std::memory_order_seq_cst)) {
    batch_.drop(lane_->drop());
    return;
  }
  if (!calling)
    return;
  // As for an attempt that is due: others may have found nothing to claim.
  batch_.home_->requeue(batch_);
  wait_graph::call_back(*batch_.home_);
  wait_graph::look_again();
}

lane* batch::share::own_lane() noexcept {
  if (lane_ != nullptr)
    return lane_;
  auto all = batch_.ensure_lanes();
  if (all == nullptr)
    return nullptr;
  for (std::uint32_t i = 0; i < all->count; ++i) {
    auto& candidate = all->lanes[i];
    if (candidate.try_own()) {
      // A former owner may have left requests here when it yielded: they stay
      // for whoever steals, and the lane is free once they are gone.
      if (!candidate.unstarted().empty()) {
        candidate.disown();
        continue;
      }
      // What it runs in there is what its batch is seen to get on with; not
      // that of a batch inside another one's wait.
      if (attention_)
        cell_.use_lane(i);
      return lane_ = &candidate;
    }
  }
  return nullptr;
}

bool batch::share::take_attention() const noexcept {
  return cell_.home().take_attention(batch_.priority_);
}

// Asked between claims only: nothing that was claimed is left behind.
bool batch::share::end_slice() noexcept {
  if (cell_.home().cooperative())
    return true;
  slice_end_ = mark_ + slice_;
  return !batch_.is_private() && cell_.home().ends_turn(batch_);
}

// There is more known of how requests of this label compute.
void batch::share::judge() noexcept {
  if (auto seen = cell_.record().find(label_))
    cell_.home().judge(label_, *seen);
}

// Looks at the clock were made for the claims anyway; what is measured of
// requests that were claimed together costs as much as one of them would.
void batch::share::measure(std::uint32_t ran,
                           std::chrono::steady_clock::time_point now) noexcept {
  auto& record = cell_.record();
  auto spent = now - mark_;
  if (!retried_ && ran > 0)
    record.started(label_, mark_ - batch_.submitted_at_, ran);
  if (batch_.stands_for_others()) {
    // Who ran those has measured them.
  } else if (ran > 1 && spent > 4 * chunk_time_ && spent > 4 * ran * each_) {
    // Tiny requests were expected, and there was a slow one among them.
    record.returned(label_, each_, ran - 1);
    record.returned(label_, spent - (ran - 1) * each_, 1);
  } else if (ran > 0) {
    each_ = spent / ran;
    record.returned(label_, each_, ran);
  }
  if (!nested_ && record.advance(label_, now))
    judge();
}

// For the trace, which somebody has asked for.
void batch::share::draw(std::uint32_t ran, std::uint32_t failed,
                        std::chrono::steady_clock::time_point now) noexcept {
  if (ran == 0)
    return;
  trace::ran({&batch_, batch_.submitted_at_},
             {.lane = cell_.name(),
              .label = batch_.label(),
              .begin = mark_,
              .end = now,
              .requests = ran,
              .failed = failed,
              .first = !std::exchange(drawn_, true)});
}

void batch::share::tune(std::uint32_t ran, std::uint32_t failed,
                        std::optional<std::chrono::nanoseconds> took) noexcept {
  auto now = std::chrono::steady_clock::now();
  if constexpr (measured)
    measure(ran, now);
  auto spent = now - mark_;
  if (measured && trace::active()) {
    draw(ran, failed, now);
    // It takes longer than many a request, and is no part of the next one.
    now = std::chrono::steady_clock::now();
  }
  mark_ = now;
  cell_.set_mark(now);
  if (!took)
    took = std::exchange(last_call_time, std::nullopt);
  // The longer they are on their way, the more go together: for as long over
  // there, so that half of the time is theirs.
  auto made_in = took ? std::clamp(*took, std::chrono::nanoseconds{0},
                                   std::chrono::nanoseconds{spent})
                      : std::chrono::nanoseconds{spent};
  auto enough =
      std::max<std::chrono::nanoseconds>(chunk_time_, spent - made_in);
  auto each = std::max<std::int64_t>(1, made_in.count() / std::max(1u, ran));
  auto fit = static_cast<std::uint64_t>(enough.count() / each);
  chunk_ = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(fit, 1, std::min(max_chunk_, chunk_ * 4)));
}

} // namespace troupe
