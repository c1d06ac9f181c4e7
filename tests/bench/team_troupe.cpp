// troupe, as its users write it: `map` over a span, `gather` of a vector of
// operations, `run` for one request at a time by all three ways to wait.

#include <atomic>
#include <chrono>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <ranges>
#include <stop_token>
#include <utility>

#include <fmt/format.h>

#include "team.hpp"

#include "troupe/troupe.hpp"

namespace bench {

namespace {

/// An actor system with the scheduler policy that the row asks for.
class configured_system {
public:
  explicit configured_system(const std::string& policy) {
    auto option = fmt::format("--{}scheduler.policy={}",
                              troupe::compat::config_prefix, policy);
    std::string program = "offload_bench";
    char* arguments[] = {program.data(), option.data(), nullptr};
    if (config_.parse_command_line(2, arguments))
      throw std::runtime_error{"CAF refuses the scheduler policy " + policy};
    system_.emplace(config_);
  }

  caf::actor_system& operator*() { return *system_; }

private:
  troupe::config config_;
  std::optional<caf::actor_system> system_;
};

troupe::pool_options pool_options_for(const team_options& options) {
  troupe::pool_options result;
  result.name = "bench";
  result.workers = options.workers;
  // Warm: all workers stay.
  result.min_workers = options.workers;
  result.spin = options.spin;
  return result;
}

template <class Call>
class troupe_team : public team {
public:
  troupe_team(Call call, const team_options& options)
      : call_{call},
        system_{options.policy},
        pool_{*system_, pool_options_for(options)} {}

  void start(std::span<const std::uint64_t> inputs) override {
    under_way_.emplace(pool_.map(inputs, call_).start());
  }

  std::vector<std::uint64_t> finish() override {
    auto results = under_way_->get();
    under_way_.reset();
    return results;
  }

  std::vector<std::uint64_t> gather_different(std::size_t count) override {
    std::vector<troupe::operation<std::uint64_t>> operations;
    operations.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
      with_different_call(i, [&](auto call) {
        operations.push_back(pool_.run(std::move(call)));
      });
    return troupe::gather(std::move(operations)).get();
  }

  std::vector<std::uint64_t> round_trips(std::size_t count) override {
    std::vector<std::uint64_t> results;
    for (std::uint64_t i = 0; i < count; ++i)
      results.push_back(pool_.run(call_, i).get());
    return results;
  }

  void stream(std::uint64_t count,
              const std::function<void(std::uint64_t)>& consume) override {
    auto results = pool_.imap(
        std::views::iota(std::uint64_t{0}, count),
        [call = call_](std::uint64_t x) { return call(x); }, 1'024);
    for (auto x : results)
      consume(x);
  }

  double urgent_delay() override {
    using clock = std::chrono::steady_clock;
    auto submitted = clock::now();
    auto started = pool_.run([] { return clock::now(); })
                       .priority(troupe::priority::high)
                       .get();
    return std::chrono::duration<double>{started - submitted}.count();
  }

  void give_up() override {
    stop_.request_stop();
    try {
      under_way_->get();
    } catch (const troupe::failure& why) {
      if (why.code() != troupe::ec::cancelled)
        throw;
    }
    under_way_.reset();
  }

protected:
  // Without a token, which costs something by itself.
  auto map_of(std::span<const std::uint64_t> inputs) {
    return pool_.map(inputs, call_);
  }

  Call call_;
  // In this order: the pool must not outlive its system, nor an operation its
  // pool.
  configured_system system_;
  troupe::pool pool_;
  std::optional<troupe::operation<std::vector<std::uint64_t>>> under_way_;
  std::stop_source stop_;
};

// -- with modifiers -----------------------------------------------------------

template <class Call>
class troupe_deadline_team : public troupe_team<Call> {
public:
  using troupe_team<Call>::troupe_team;

  void start(std::span<const std::uint64_t> inputs) override {
    this->under_way_.emplace(
        this->map_of(inputs).timeout(std::chrono::hours{1}).start());
  }
};

template <class Call>
class troupe_token_team : public troupe_team<Call> {
public:
  using troupe_team<Call>::troupe_team;

  void start(std::span<const std::uint64_t> inputs) override {
    this->under_way_.emplace(
        this->map_of(inputs).stop_with(this->stop_.get_token()).start());
  }
};

template <class Call>
class troupe_settled_team : public troupe_team<Call> {
public:
  using troupe_team<Call>::troupe_team;

  std::vector<std::uint64_t> gather_different(std::size_t count) override {
    std::vector<troupe::operation<std::uint64_t>> operations;
    operations.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
      with_different_call(i, [&](auto call) {
        operations.push_back(this->pool_.run(std::move(call)));
      });
    auto outcomes = troupe::gather_settled(std::move(operations)).get();
    std::vector<std::uint64_t> results;
    results.reserve(count);
    for (auto& one : outcomes)
      results.push_back(one.value());
    return results;
  }
};

// -- without results ----------------------------------------------------------

/// Numbers that threads add up, each by itself.
class thread_sums {
public:
  static void add(std::uint64_t x) {
    thread_local slot& mine = make();
    // Nobody else writes it.
    mine.sum.store(mine.sum.load(std::memory_order_relaxed) + x,
                   std::memory_order_relaxed);
  }

  /// Returns the sum of all threads since the last call. What was added before
  /// must have been waited for.
  static std::uint64_t take() {
    std::lock_guard guard{mutex_};
    std::uint64_t result = 0;
    for (auto& one : slots_)
      result += one.sum.exchange(0, std::memory_order_relaxed);
    return result;
  }

private:
  struct alignas(64) slot {
    std::atomic<std::uint64_t> sum{0};
  };

  static slot& make() {
    std::lock_guard guard{mutex_};
    return slots_.emplace_back();
  }

  static inline std::mutex mutex_;
  static inline std::deque<slot> slots_;
};

template <class Call>
class troupe_void_team : public troupe_team<Call> {
public:
  using troupe_team<Call>::troupe_team;

  void start(std::span<const std::uint64_t> inputs) override {
    started_.emplace(this->pool_
                         .map(inputs,
                              [call = this->call_](std::uint64_t x) {
                                thread_sums::add(call(x));
                              })
                         .start());
  }

  std::vector<std::uint64_t> finish() override {
    started_->get();
    started_.reset();
    return {};
  }

  void check(const std::vector<std::uint64_t>& /*results*/, const work& what,
             std::span<const std::uint64_t> inputs) override {
    auto missing = thread_sums::take();
    for (auto x : inputs)
      missing -= bench::expected(what, x);
    if (missing != 0)
      throw std::logic_error{"the calls of a map do not add up"};
  }

private:
  std::optional<troupe::operation<void>> started_;
};

// -- from an event-based actor ------------------------------------------------

/// Asks for 0, 1, … one after another and hands over all the answers.
template <class Call>
class asker : public caf::event_based_actor {
public:
  using answers = std::promise<std::vector<std::uint64_t>>;

  asker(caf::actor_config& cfg, troupe::pool pool, Call call, std::size_t count,
        answers* to)
      : caf::event_based_actor{cfg},
        pool_{std::move(pool)},
        call_{call},
        count_{count},
        to_{to} {}

  caf::behavior make_behavior() override {
    next();
    // Lives on for the outstanding operation alone.
    return {};
  }

private:
  void next() {
    if (results_.size() == count_) {
      to_->set_value(std::move(results_));
      quit();
      return;
    }
    pool_.run(call_, std::uint64_t{results_.size()})
        .then(
            this,
            [this](std::uint64_t result) {
              results_.push_back(result);
              next();
            },
            [this](const caf::error& problem) {
              to_->set_exception(std::make_exception_ptr(
                  std::runtime_error{troupe::describe(problem)}));
              quit();
            });
  }

  troupe::pool pool_;
  Call call_;
  std::size_t count_;
  answers* to_;
  std::vector<std::uint64_t> results_;
};

/// Asks for everything at once and hands over all the answers.
template <class Call>
class crowd_asker : public caf::event_based_actor {
public:
  using answers = std::promise<std::vector<std::uint64_t>>;

  crowd_asker(caf::actor_config& cfg, troupe::pool pool, Call call,
              std::span<const std::uint64_t> inputs, answers* to)
      : caf::event_based_actor{cfg},
        pool_{std::move(pool)},
        call_{call},
        inputs_{inputs},
        results_(inputs.size()),
        to_{to} {}

  caf::behavior make_behavior() override {
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      pool_.run(call_, inputs_[i])
          .then(
              this,
              [this, i](std::uint64_t result) {
                results_[i] = result;
                if (++arrived_ == results_.size())
                  to_->set_value(std::move(results_));
              },
              [this](const caf::error& problem) {
                to_->set_exception(std::make_exception_ptr(
                    std::runtime_error{troupe::describe(problem)}));
                quit();
              });
    return {};
  }

private:
  troupe::pool pool_;
  Call call_;
  std::span<const std::uint64_t> inputs_;
  std::vector<std::uint64_t> results_;
  std::size_t arrived_ = 0;
  answers* to_;
};

template <class Call>
class troupe_then_team : public troupe_team<Call> {
public:
  using troupe_team<Call>::troupe_team;

  std::vector<std::uint64_t>
  one_by_one(std::span<const std::uint64_t> inputs) override {
    typename crowd_asker<Call>::answers answers;
    (*this->system_)
        .template spawn<crowd_asker<Call>>(this->pool_, this->call_, inputs,
                                           &answers);
    return answers.get_future().get();
  }

  std::vector<std::uint64_t> round_trips(std::size_t count) override {
    typename asker<Call>::answers answers;
    (*this->system_)
        .template spawn<asker<Call>>(this->pool_, this->call_, count, &answers);
    return answers.get_future().get();
  }
};

// -- from a task --------------------------------------------------------------

template <class Call>
troupe::task<std::vector<std::uint64_t>>
ask_in_task(caf::event_based_actor*, troupe::pool pool, Call call,
            std::size_t count) {
  std::vector<std::uint64_t> results;
  for (std::uint64_t i = 0; i < count; ++i)
    results.push_back(co_await pool.run(call, i));
  co_return results;
}

template <class Call>
troupe::task<std::vector<std::uint64_t>>
ask_for_all(caf::event_based_actor*, troupe::pool pool, Call call,
            std::span<const std::uint64_t> inputs) {
  std::vector<troupe::operation<std::uint64_t>> outstanding;
  outstanding.reserve(inputs.size());
  for (auto x : inputs)
    outstanding.push_back(pool.run(call, x).start());
  std::vector<std::uint64_t> results;
  results.reserve(inputs.size());
  for (auto& one : outstanding)
    results.push_back(co_await std::move(one));
  co_return results;
}

template <class Call>
class troupe_task_team : public troupe_team<Call> {
public:
  using troupe_team<Call>::troupe_team;

  std::vector<std::uint64_t>
  one_by_one(std::span<const std::uint64_t> inputs) override {
    return troupe::run(*this->system_, ask_for_all<Call>, this->pool_,
                       this->call_, inputs);
  }

  std::vector<std::uint64_t> round_trips(std::size_t count) override {
    return troupe::run(*this->system_, ask_in_task<Call>, this->pool_,
                       this->call_, count);
  }
};

template <template <class> class Team>
std::unique_ptr<team> make(const team_options& options) {
  return std::visit(
      [&](auto call) -> std::unique_ptr<team> {
        return std::make_unique<Team<decltype(call)>>(call, options);
      },
      options.what);
}

} // namespace

std::unique_ptr<team> make_troupe(const team_options& options) {
  return make<troupe_team>(options);
}

std::unique_ptr<team> make_troupe_void(const team_options& options) {
  return make<troupe_void_team>(options);
}

std::unique_ptr<team> make_troupe_then(const team_options& options) {
  return make<troupe_then_team>(options);
}

std::unique_ptr<team> make_troupe_task(const team_options& options) {
  return make<troupe_task_team>(options);
}

std::unique_ptr<team> make_troupe_deadline(const team_options& options) {
  return make<troupe_deadline_team>(options);
}

std::unique_ptr<team> make_troupe_token(const team_options& options) {
  return make<troupe_token_team>(options);
}

std::unique_ptr<team> make_troupe_settled(const team_options& options) {
  return make<troupe_settled_team>(options);
}

std::shared_ptr<void> make_idle_system(const team_options& options) {
  return std::make_shared<configured_system>(options.policy);
}

} // namespace bench
