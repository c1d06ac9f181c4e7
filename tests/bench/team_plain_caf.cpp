// CAF without troupe, as a CAF user would offload: detached actors that make
// the calls, one message a request, dealt round robin, one message back. Leans
// on troupe only for the spellings that differ between CAF's versions.

#include <future>
#include <optional>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "team.hpp"

#include "troupe/caf_compat.hpp"

namespace bench {

namespace {

using troupe::compat::ask;
using troupe::compat::forever;
using troupe::compat::tell;

/// Answers `(index, input, collector)` with a message to the collector, and
/// `(input)` with a response; `(index, kind, a, b, c, collector)` stands for
/// calls that differ.
template <class Call>
class offloader : public caf::event_based_actor {
public:
  offloader(caf::actor_config& cfg, Call call)
      : caf::event_based_actor{cfg}, call_{call} {}

  caf::behavior make_behavior() override {
    return {
        [this](std::uint64_t i, std::uint64_t input, const caf::actor& to) {
          tell(to, i, call_(input));
        },
        [this](std::uint64_t input) -> caf::result<std::uint64_t> {
          return call_(input);
        },
        [](std::uint64_t i, std::uint64_t kind, std::uint64_t a,
           std::uint64_t b, std::uint64_t c, const caf::actor& to) {
          tell(to, i,
               kind == 0 ? a + 1 : (kind == 1 ? a * 31 + b : (a ^ b) + c));
        },
    };
  }

private:
  Call call_;
};

/// Asks for 0, 1, … one after another and hands over all the answers.
class asker : public caf::event_based_actor {
public:
  asker(caf::actor_config& cfg, caf::actor worker, std::size_t count,
        std::promise<std::vector<std::uint64_t>>* answers)
      : caf::event_based_actor{cfg},
        worker_{std::move(worker)},
        count_{count},
        answers_{answers} {}

  caf::behavior make_behavior() override {
    next();
    return {[](caf::unit_t) {}};
  }

private:
  void next() {
    if (results_.size() == count_) {
      answers_->set_value(std::move(results_));
      quit();
      return;
    }
    ask(this, worker_, forever, std::uint64_t{results_.size()})
        .then(
            [this](std::uint64_t result) {
              results_.push_back(result);
              next();
            },
            [this](const caf::error&) {
              answers_->set_value({});
              quit();
            });
  }

  caf::actor worker_;
  std::size_t count_;
  std::promise<std::vector<std::uint64_t>>* answers_;
  std::vector<std::uint64_t> results_;
};

/// An actor system with the scheduler policy that the row asks for.
class configured_system {
public:
  explicit configured_system(const std::string& policy) {
    auto option = fmt::format("--{}scheduler.policy={}",
                              troupe::compat::config_prefix, policy);
    std::istringstream no_file;
    auto problem = config_.parse(std::vector{std::move(option)}, no_file);
    if (problem != caf::none)
      throw std::runtime_error{"CAF refuses the scheduler policy " + policy};
    system_.emplace(config_);
  }

  caf::actor_system& operator*() { return *system_; }
  caf::actor_system* operator->() { return &*system_; }

private:
  caf::actor_system_config config_;
  std::optional<caf::actor_system> system_;
};

template <class Call>
class plain_caf_team : public team {
public:
  plain_caf_team(Call call, const team_options& options)
      : system_{options.policy}, self_{std::in_place, *system_} {
    for (std::size_t i = 0; i < options.workers; ++i)
      workers_.push_back(system_->spawn<offloader<Call>, caf::detached>(call));
  }

  ~plain_caf_team() override {
    for (auto& one : workers_)
      caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
    workers_.clear();
    self_.reset();
  }

  void start(std::span<const std::uint64_t> inputs) override {
    pending_ = inputs.size();
    for (std::size_t i = 0; i < inputs.size(); ++i)
      tell(workers_[i % workers_.size()], std::uint64_t{i}, inputs[i],
           collector());
  }

  std::vector<std::uint64_t> finish() override { return collect(pending_); }

  std::vector<std::uint64_t> gather_different(std::size_t count) override {
    for (std::uint64_t i = 0; i < count; ++i)
      tell(workers_[i % workers_.size()], i, i % 3, i,
           i % 3 == 1 ? i ^ 0x5555 : i << 3, i >> 1, collector());
    return collect(count);
  }

  std::vector<std::uint64_t> round_trips(std::size_t count) override {
    std::vector<std::uint64_t> results;
    for (std::uint64_t i = 0; i < count; ++i)
      ask(*self_, workers_.front(), forever, i)
          .receive([&](std::uint64_t result) { results.push_back(result); },
                   [](const caf::error&) {
                     throw std::runtime_error{"a plain CAF request failed"};
                   });
    return results;
  }

protected:
  [[nodiscard]] caf::actor collector() const {
    return caf::actor_cast<caf::actor>(*self_);
  }

  std::vector<std::uint64_t> collect(std::size_t count) {
    std::vector<std::uint64_t> results(count);
    for (std::size_t i = 0; i < count; ++i)
      (*self_)->receive([&](std::uint64_t index, std::uint64_t result) {
        results[index] = result;
      });
    return results;
  }

  configured_system system_;
  std::optional<caf::scoped_actor> self_;
  std::vector<caf::actor> workers_;
  std::size_t pending_ = 0;
};

template <class Call>
class plain_caf_actor_team : public plain_caf_team<Call> {
public:
  using plain_caf_team<Call>::plain_caf_team;

  std::vector<std::uint64_t> round_trips(std::size_t count) override {
    std::promise<std::vector<std::uint64_t>> answers;
    this->system_->template spawn<asker>(this->workers_.front(), count,
                                         &answers);
    return answers.get_future().get();
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

std::unique_ptr<team> make_plain_caf(const team_options& options) {
  return make<plain_caf_team>(options);
}

std::unique_ptr<team> make_plain_caf_actor(const team_options& options) {
  return make<plain_caf_actor_team>(options);
}

} // namespace bench
