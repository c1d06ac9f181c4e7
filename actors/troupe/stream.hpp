// Results one after another, read as they come: `pool::imap`, in input order or
// in order of completion, and `as_completed`. One reader, who blocks, awaits or
// is called back; any number of threads that bring results.

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <ranges>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "troupe/gather.hpp"
#include "troupe/operation.hpp"
#include "troupe/pool.hpp"

namespace troupe {

// -- sources ------------------------------------------------------------------

/// Decides whether a thread looks for a result for some microseconds before it
/// sleeps: as long as that mostly was enough. Elements that take as little time
/// as a wake-up are worth it; for the others, looking is given up soon.
class short_wait {
public:
  /// Looks until `is_there()`, for as long as it is worth it. Returns what that
  /// said last.
  template <class Predicate>
  bool wait_for(Predicate is_there) noexcept {
    if (skip_ > 0) {
      --skip_;
      return false;
    }
    auto until = std::chrono::steady_clock::now() + patience;
    do {
      // Whoever brings it may be on this very processor.
      std::this_thread::yield();
      if (is_there()) {
        penalty_ = 1;
        return true;
      }
    } while (std::chrono::steady_clock::now() < until);
    skip_ = penalty_ = std::min(2 * penalty_, 16u);
    return false;
  }

private:
  // About what going to sleep and being woken cost. A guess.
  static constexpr auto patience = std::chrono::microseconds{5};

  unsigned skip_ = 0;
  unsigned penalty_ = 1;
};

/// One result on its way to the reader.
struct stream_node {
  /// Links those that are complete and not read, the latest first.
  stream_node* next = nullptr;

  /// Why there is no value; null if there is one.
  failure_ptr why;
};

/// Where the results of a stream come from, and who waits for them.
///
/// Invariant: `pop` and `release` are called by one thread at a time: by the
///            reader while nobody waits, else by whoever holds the mutex. So
///            the reader takes what is there without a lock.
class stream_core : public ref_counted {
public:
  /// A wait for the next result.
  class step : public plain_op {
  public:
    explicit step(ref_ptr<stream_core> from) : from_{std::move(from)} {}

    void help() noexcept override { from_->help(); }

  protected:
    void begin() override { from_->add(*this); }

    void stop(ec why) noexcept override { from_->forget(*this, why); }

    stream_core& from() const noexcept { return *from_; }

  private:
    friend class stream_core;

    /// Moves the value out of `node`.
    virtual void accept(stream_node& node) = 0;

    ref_ptr<stream_core> from_;
    step* next_ = nullptr;
    bool queued_ = false;
  };

  // -- the reader's side ------------------------------------------------------

  /// Has more work begun, as far as there is room for its results: something if
  /// `at_least_one` says so, and on until the next result is there. With
  /// `for_waiter`, there is room for one more than those who wait.
  virtual void pull(bool at_least_one, bool for_waiter = false) noexcept = 0;

  /// Begins nothing more, drops what has not started and asks what runs to
  /// stop. The stream has ended then.
  virtual void stop() noexcept = 0;

  virtual void set_stop_token(std::stop_token token) = 0;

  /// Returns whether there is something to read, for who waits alone.
  virtual bool is_there() const noexcept = 0;

  /// Gives a worker that waits for its own pool the chance to do the work.
  virtual void help() noexcept = 0;

  // -- the side of those who bring results ------------------------------------

  /// Tells those who wait that there may be something to read.
  void serve() noexcept {
    if (waiting() > 0)
      serve_waiters();
  }

  /// Returns how many wait.
  std::size_t waiting() const noexcept {
    return waiting_.load(std::memory_order_seq_cst);
  }

protected:
  /// What there is to read.
  enum class next_is : std::uint8_t { pending, value, failure, end };

  /// Returns the next result, or null if it is not there yet.
  virtual stream_node* pop() noexcept = 0;

  /// Says that a popped node was read.
  virtual void release(stream_node& node) noexcept = 0;

  /// Returns whether nothing is left to read, and nothing will come.
  virtual bool exhausted() const noexcept = 0;

  /// How many may wait at once.
  virtual std::size_t most_waiting() const noexcept {
    return static_cast<std::size_t>(-1);
  }

  /// Returns, once, the failure with which an exhausted stream ends, or null.
  virtual failure_ptr take_last_failure() noexcept { return nullptr; }

  /// Looks for the next result without waiting.
  next_is look(stream_node*& node, failure_ptr& why) noexcept;

private:
  void add(step& waiter);
  void forget(step& waiter, ec why) noexcept;
  void serve_waiters() noexcept;
  step* match_waiters() noexcept;
  static void finish_all(step* served) noexcept;

  // The reader's.
  short_wait patience_;
  std::mutex mutex_;
  step* first_ = nullptr;
  step* last_ = nullptr;
  std::atomic<std::size_t> waiting_{0};
};

/// A source of values of type `T`.
template <class T>
class stream_source : public stream_core {
public:
  /// Moves the value out of a node that has one.
  virtual void move_out(stream_node& node, std::optional<T>& to) = 0;

  /// Takes the next result if it is there. Returns false if not; else `to` has
  /// it, or is empty at the end, or `why` says why there is none.
  bool try_next(std::optional<T>& to, failure_ptr& why) {
    to.reset();
    stream_node* node = nullptr;
    if (this->waiting() > 0)
      return false;
    auto found = this->look(node, why);
    if (found == stream_core::next_is::value) {
      // Released even if the move throws.
      struct releaser {
        stream_source& from;
        stream_node& node;
        ~releaser() { from.release(node); }
      } guard{*this, *node};
      move_out(*node, to);
    }
    return found != stream_core::next_is::pending;
  }

  /// Waits for the next result of this source.
  class typed_step final : public stream_core::step {
  public:
    using stream_core::step::step;

    void* result() override { return &result_; }

  private:
    void accept(stream_node& node) override {
      static_cast<stream_source&>(this->from()).move_out(node, result_);
    }

    std::optional<T> result_;
  };
};

// -- stream -------------------------------------------------------------------

/// Results one after another. Belongs to one reader at a time. A stream that
/// goes before its end is stopped.
///
/// Shape:  one result per element or operation, then the end: as a range for
///         blocking readers, by `next` for everybody, by `each` for actors.
/// Errors: a failed element throws from `next` (or from the iterator); the next
///         call goes on with the one behind it. A range that throws ends the
///         stream: after what was pulled before, its exception is thrown once.
template <class T>
class [[nodiscard]] stream {
public:
  explicit stream(ref_ptr<stream_source<T>> source)
      : source_{std::move(source)} {}

  stream(stream&&) noexcept = default;

  stream& operator=(stream&& other) noexcept {
    stream{std::move(*this)};
    source_ = std::move(other.source_);
    current_ = std::move(other.current_);
    begun_ = other.begun_;
    return *this;
  }

  ~stream() { stop(); }

  /// Begins nothing more, cancels what has not started, and asks what runs to
  /// stop. Does not wait for it. The stream has ended then.
  void stop() noexcept {
    if (source_)
      source_->stop();
  }

  /// Begins nothing more and cancels what has not started once `token` is
  /// stopped. `next` then throws `failure` with `ec::cancelled` for each
  /// element that never ran and once for those never pulled, then yields
  /// nothing.
  ///
  /// Errors: throws `failure` with `ec::invalid_option` after the first `next`.
  stream stop_with(std::stop_token token) && {
    stop_with(std::move(token));
    return std::move(*this);
  }

  stream& stop_with(std::stop_token token) & {
    if (begun_)
      throw failure{ec::invalid_option,
                    "cannot set .stop_with of a stream that is being read; set "
                    "it before the first next"};
    source().set_stop_token(std::move(token));
    return *this;
  }

  /// Returns the next result; nothing after the last one.
  ///
  /// Several may be waited for at once; they are served in the order in which
  /// they began to wait. Cancelling the wait loses no result: whoever waits
  /// next gets it.
  ///
  /// Errors: what the element threw. `failure` with `ec::already_consumed` if
  ///         `each` has taken the stream over.
  operation<std::optional<T>> next() {
    begun_ = true;
    source().pull(true);
    return operation<std::optional<T>>{
        make_ref<typename stream_source<T>::typed_step>(source_)};
  }

  /// Has `on_value(T)` called in `self` for every result, one after another,
  /// `on_error(caf::error)` for each failure, and `on_end()` after the last
  /// one. Takes the stream over; if the actor ends first, the stream is
  /// stopped. To be called on the thread of `self`, as `operation::then`.
  template <class OnValue, class OnError, class OnEnd>
  void each(caf::event_based_actor* self, OnValue on_value, OnError on_error,
            OnEnd on_end);

  template <class OnValue, class OnError>
  void each(caf::event_based_actor* self, OnValue on_value, OnError on_error) {
    each(self, std::move(on_value), std::move(on_error), [] {});
  }

  /// As above; a failure ends the actor, with the failure as its reason.
  template <class OnValue>
  void each(caf::event_based_actor* self, OnValue on_value) {
    each(self, std::move(on_value),
         [self](caf::error why) { self->quit(std::move(why)); });
  }

  /// Reads the stream by blocking, as a range.
  class iterator {
  public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;

    explicit iterator(stream& from) : from_{&from} { ++*this; }

    T& operator*() const { return *from_->current_; }

    iterator& operator++() {
      from_->advance();
      return *this;
    }

    void operator++(int) { ++*this; }

    friend bool operator==(const iterator& x, std::default_sentinel_t) {
      return x.at_end();
    }

  private:
    bool at_end() const { return !from_->current_; }

    stream* from_ = nullptr;
  };

  iterator begin() { return iterator{*this}; }

  std::default_sentinel_t end() const { return std::default_sentinel; }

private:
  stream_source<T>& source() const {
    if (!source_)
      throw failure{ec::already_consumed,
                    "the stream was moved or taken over by each before; it has "
                    "one reader"};
    return *source_;
  }

  void advance() {
    auto& from = source();
    begun_ = true;
    from.pull(true);
    failure_ptr why;
    if (!from.try_next(current_, why))
      current_ =
          operation<std::optional<T>>{
              make_ref<typename stream_source<T>::typed_step>(source_)}
              .get();
    else if (why)
      rethrow(*why);
  }

  ref_ptr<stream_source<T>> source_;
  std::optional<T> current_;
  bool begun_ = false;
};

// -- each ---------------------------------------------------------------------

/// Has a loop in an actor go on in a later message, and knows whether the actor
/// has quit. For that actor's thread.
class actor_turns {
public:
  explicit actor_turns(caf::event_based_actor* self) noexcept : self_{self} {}

  actor_turns(const actor_turns&) = delete;
  actor_turns& operator=(const actor_turns&) = delete;

  /// Expects a message that calls `go_on`, and keeps it until then, or until
  /// the actor quits.
  void arm(std::function<void()> go_on);

  /// Sends the message that is expected.
  void send();

  /// Returns whether the actor has quit since `arm`.
  bool has_quit() const noexcept { return *quit_; }

  caf::event_based_actor* self() const noexcept { return self_; }

private:
  caf::event_based_actor* self_;
  caf::message_id expected_;
  std::shared_ptr<bool> quit_;
};

/// Reads a stream on behalf of callbacks in an actor. Kept by what that actor
/// waits for.
template <class T, class OnValue, class OnError, class OnEnd>
class stream_loop : public std::enable_shared_from_this<
                        stream_loop<T, OnValue, OnError, OnEnd>> {
public:
  stream_loop(caf::event_based_actor* self, ref_ptr<stream_source<T>> source,
              OnValue on_value, OnError on_error, OnEnd on_end)
      : turns_{self},
        source_{std::move(source)},
        on_value_(std::move(on_value)),
        on_error_(std::move(on_error)),
        on_end_(std::move(on_end)) {}

  ~stream_loop() { source_->stop(); }

  void begin() {
    turns_.arm([loop = this->shared_from_this()] { loop->go_on(); });
    source_->pull(true);
    wait();
  }

private:
  // What is there already needs no message, but not for ever: the actor may
  // have others to answer.
  static constexpr int most_at_once = 64;

  void go_on() {
    // The message that tells the end of the loop.
    if (ended_)
      return;
    turns_.arm([loop = this->shared_from_this()] { loop->go_on(); });
    run();
  }

  void run() {
    for (int i = 0; i < most_at_once && !turns_.has_quit() && !ended_; ++i) {
      source_->pull(true);
      std::optional<T> x;
      failure_ptr why;
      if (!source_->try_next(x, why)) {
        wait();
        return;
      }
      if (why)
        on_error_(to_error(why));
      else
        pass_on(std::move(x));
    }
    if (!turns_.has_quit())
      turns_.send();
  }

  void wait() {
    auto loop = this->shared_from_this();
    operation<std::optional<T>>{
        make_ref<typename stream_source<T>::typed_step>(source_)}
        .then(
            turns_.self(),
            [loop](std::optional<T> x) {
              if (loop->turns_.has_quit())
                return;
              loop->pass_on(std::move(x));
              loop->run();
            },
            [loop](caf::error why) {
              if (loop->turns_.has_quit())
                return;
              loop->on_error_(std::move(why));
              loop->run();
            });
  }

  void pass_on(std::optional<T> x) {
    if (x) {
      on_value_(std::move(*x));
    } else {
      ended_ = true;
      on_end_();
    }
  }

  actor_turns turns_;
  ref_ptr<stream_source<T>> source_;
  OnValue on_value_;
  OnError on_error_;
  OnEnd on_end_;
  bool ended_ = false;
};

template <class T>
template <class OnValue, class OnError, class OnEnd>
void stream<T>::each(caf::event_based_actor* self, OnValue on_value,
                     OnError on_error, OnEnd on_end) {
  source();
  using loop = stream_loop<T, OnValue, OnError, OnEnd>;
  std::make_shared<loop>(self, std::move(source_), std::move(on_value),
                         std::move(on_error), std::move(on_end))
      ->begin();
}

// -- imap ---------------------------------------------------------------------

/// What all imaps have in common: slots for the elements under way, which the
/// reader fills in order and workers empty; and pumps, requests that do so, one
/// per worker rather than one per element.
///
/// Invariants: (1) If an element waits to be claimed, then a pump looks for
///                 elements or is about to, or as many pumps as may be are busy
///                 with others and will look when they are through.
///             (2) A slot belongs to the reader until it is published, then to
///                 whoever claims it, then, when it is complete, to whoever
///                 pops it.
///             (3) The range is touched on the reader's thread only.
class imap_core {
public:
  /// The most elements that may be under way.
  static constexpr std::size_t max_window = std::size_t{1} << 20;

  /// How many results beyond the window may be waited for at once.
  static constexpr std::size_t extra_slots = 64;

  /// How many elements are under way for each worker unless told otherwise: one
  /// that runs, and some that wait for their turn or to be read. A guess.
  static constexpr std::size_t default_per_worker = 4;

  struct slot : stream_node {
    std::atomic<bool> complete{false};
    std::uint32_t id = 0;
    /// When it was published; known only while there is a trace.
    std::chrono::steady_clock::time_point published{};
  };

  imap_core(stream_core& face, pool home, std::size_t max_in_flight,
            bool in_order);

  imap_core(const imap_core&) = delete;
  imap_core& operator=(const imap_core&) = delete;

protected:
  ~imap_core();

  // -- what the typed part does -----------------------------------------------

  /// Calls the function for the element in `where`, and stores the result or
  /// the failure there.
  virtual void call(slot& where, context& ctx) noexcept = 0;

  /// Drops the element in `where`, which will not be called.
  virtual void drop(slot& where) noexcept = 0;

  /// Moves the next element of the range into `where`. Returns false at the
  /// end. On the reader's thread, as the two that follow.
  virtual bool pull_into(slot& where) = 0;

  /// Destroys the range.
  virtual void drop_range() noexcept = 0;

  /// Makes the slot for `id`, for the first element that needs it.
  virtual slot& slot_at(std::uint32_t id) = 0;

  // -- the members of stream_core ---------------------------------------------

  void do_pull(bool at_least_one, bool for_waiter) noexcept;

  void do_stop() noexcept;

  void do_set_stop_token(std::stop_token token);

  void do_help() noexcept;

  stream_node* do_pop() noexcept;

  void do_release(slot& node) noexcept;

  bool next_is_there() const noexcept;

  bool is_exhausted() const noexcept {
    return range_ended_.load(std::memory_order_acquire)
           && (stopped_.load(std::memory_order_acquire)
               || released_.load(std::memory_order_acquire)
                      == published_.load(std::memory_order_acquire));
  }

  failure_ptr take_end() noexcept { return std::exchange(end_, nullptr); }

  std::size_t capacity() const noexcept { return capacity_; }

private:
  class pump;

  struct on_token {
    imap_core* target;
    void operator()() const noexcept;
  };

  static failure_ptr stopped();

  void end_range(failure_ptr why) noexcept;
  void publish(slot& next) noexcept;
  bool has_unclaimed() const noexcept;
  slot* claim() noexcept;
  slot* claim_patiently() noexcept;
  void need_pump() noexcept;
  void work(context& ctx) noexcept;
  void complete(slot& where) noexcept;
  void pump_refused(const failure_ptr& why) noexcept;
  void drop_unclaimed(const failure_ptr& why) noexcept;
  void cut_off() noexcept;

  stream_core& face_;
  const pool home_;
  const std::size_t window_;
  const std::size_t capacity_;
  const bool in_order_;
  std::optional<std::stop_callback<on_token>> on_stop_;
  // How the stream ends; read once the range has ended.
  failure_ptr end_;
  std::atomic<bool> range_ended_{false};
  // The reader wants nothing more.
  std::atomic<bool> stopped_{false};

  // Those that are complete, in order of completion; for who pops.
  stream_node* ready_ = nullptr;
  // Element n is in the slot `order_[n % capacity_]`; the one that was read as
  // number n has left the slot `free_[n % capacity_]`.
  std::unique_ptr<std::uint32_t[]> free_;
  std::unique_ptr<std::atomic<slot*>[]> order_;
  std::atomic<std::uint64_t> released_{0};

  // How many elements were published, on a line that only the reader writes,
  // and claimed.
  alignas(64) std::atomic<std::uint64_t> published_{0};
  alignas(64) std::atomic<std::uint64_t> claimed_{0};
  // Pumps that look for elements, or have been submitted and will; and all.
  std::atomic<std::size_t> looking_{0};
  std::atomic<std::size_t> pumping_{0};
  // Those that are complete, the latest first, if not in order of input.
  std::atomic<stream_node*> complete_{nullptr};
  // Nothing that was not claimed before runs any more.
  std::atomic<bool> cut_off_{false};
  // The pool takes nothing more.
  std::atomic<bool> refused_{false};
  std::atomic<dispatcher*> dispatcher_{nullptr};
  std::mutex mutex_;
  pump* pumps_ = nullptr;
};

/// Whether a range holds its elements itself, so that nobody else sees what
/// becomes of them: as those do whose elements are as const as they are.
template <class Range>
concept owns_elements =
    !std::ranges::view<
        Range> && std::ranges::range<const Range> && std::is_lvalue_reference_v<std::ranges::range_reference_t<Range>> && !std::is_same_v<std::ranges::range_reference_t<const Range>, std::ranges::range_reference_t<Range>>;

/// The results of `Fn` for the elements of `Range`.
template <class Range, class Fn>
class imap_source final
    : public stream_source<gathered_t<request_result_t<
          Fn&, element_argument_t<
                   Fn, std::array<std::ranges::range_value_t<Range>, 1>>>>>,
      private imap_core {
public:
  using element = std::ranges::range_value_t<Range>;
  // Elements are called where they are kept, so as those of an array.
  using argument = element_argument_t<Fn, std::array<element, 1>>;
  using call_type = request_result_t<Fn&, argument>;
  using value = gathered_t<call_type>;

  template <class R, class F>
  imap_source(pool home, R&& range, F&& fn, std::size_t max_in_flight,
              bool in_order)
      : imap_core{*this, std::move(home), max_in_flight, in_order},
        range_{std::in_place, std::forward<R>(range)},
        fn_(std::forward<F>(fn)) {}

  // -- reading ----------------------------------------------------------------

  void pull(bool at_least_one, bool for_waiter) noexcept override {
    do_pull(at_least_one, for_waiter);
  }

  void stop() noexcept override { do_stop(); }

  void set_stop_token(std::stop_token token) override {
    do_set_stop_token(std::move(token));
  }

  bool is_there() const noexcept override { return next_is_there(); }

  void help() noexcept override { do_help(); }

  void move_out(stream_node& node, std::optional<value>& to) override {
    auto& from = static_cast<typed_slot&>(node);
    to.emplace(std::move(*from.result));
    from.result.reset();
  }

private:
  struct typed_slot : imap_core::slot {
    std::optional<element> input;
    std::optional<value> result;
  };

  // Slots are made as they are needed, some at once.
  static constexpr std::size_t block_size = 64;

  stream_node* pop() noexcept override { return do_pop(); }

  void release(stream_node& node) noexcept override {
    do_release(static_cast<imap_core::slot&>(node));
  }

  bool exhausted() const noexcept override { return is_exhausted(); }

  failure_ptr take_last_failure() noexcept override { return take_end(); }

  std::size_t most_waiting() const noexcept override { return capacity(); }

  // -- for imap_core ----------------------------------------------------------

  void call(imap_core::slot& where, context& ctx) noexcept override {
    auto& it = static_cast<typed_slot&>(where);
    try {
      if constexpr (std::is_void_v<call_type>) {
        call_request(ctx, fn_, static_cast<argument>(*it.input));
        it.result.emplace();
      } else {
        it.result.emplace(
            call_request(ctx, fn_, static_cast<argument>(*it.input)));
      }
    } catch (...) {
      it.why = make_failure(std::current_exception(), {}, ctx.worker(),
                            ctx.cell().name());
    }
    it.input.reset();
  }

  void drop(imap_core::slot& where) noexcept override {
    static_cast<typed_slot&>(where).input.reset();
  }

  bool pull_into(imap_core::slot& where) override {
    // Advances late: the elements of a lazy range may be expensive.
    if (!at_)
      at_.emplace(std::ranges::begin(*range_));
    else
      ++*at_;
    if (*at_ == std::ranges::end(*range_))
      return false;
    auto& input = static_cast<typed_slot&>(where).input;
    if constexpr (owns_elements<Range>)
      input.emplace(std::ranges::iter_move(*at_));
    else
      input.emplace(**at_);
    return true;
  }

  void drop_range() noexcept override {
    at_.reset();
    range_.reset();
  }

  imap_core::slot& slot_at(std::uint32_t id) override {
    auto block = id / block_size;
    if (block >= slots_.size())
      slots_.resize(block + 1);
    if (!slots_[block]) {
      slots_[block] = std::make_unique<typed_slot[]>(block_size);
      for (std::uint32_t i = 0; i < block_size; ++i)
        slots_[block][i].id =
            static_cast<std::uint32_t>(block * block_size + i);
    }
    return slots_[block][id % block_size];
  }

  std::optional<Range> range_;
  std::optional<std::ranges::iterator_t<Range>> at_;
  Fn fn_;
  std::vector<std::unique_ptr<typed_slot[]>> slots_;
};

template <std::ranges::input_range Range, class F>
auto pool::imap(Range&& range, F&& fn, std::size_t max_in_flight) const {
  refuse_null(fn, "stream");
  using source = imap_source<std::remove_cvref_t<Range>, std::decay_t<F>>;
  return stream<typename source::value>{
      make_ref<source>(*this, std::forward<Range>(range), std::forward<F>(fn),
                       max_in_flight, true)};
}

template <std::ranges::input_range Range, class F>
auto pool::imap_unordered(Range&& range, F&& fn,
                          std::size_t max_in_flight) const {
  refuse_null(fn, "stream");
  using source = imap_source<std::remove_cvref_t<Range>, std::decay_t<F>>;
  return stream<typename source::value>{
      make_ref<source>(*this, std::forward<Range>(range), std::forward<F>(fn),
                       max_in_flight, false)};
}

} // namespace troupe
