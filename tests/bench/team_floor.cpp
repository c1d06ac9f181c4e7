// The floor: threads that claim from one atomic counter. No queue, no order, no
// cancelling, no failure; whatever does more than this can at best be as fast,
// if it claims one request at a time.

#include <atomic>
#include <thread>
#include <utility>

#include "team.hpp"

namespace bench {

namespace {

/// Threads that all do the same when told, and can be told again.
class claimers {
public:
  template <class Claim>
  claimers(std::size_t count, Claim claim) {
    for (std::size_t i = 0; i < count; ++i)
      threads_.emplace_back([this, claim] {
        for (std::uint32_t seen = 0;;) {
          generation_.wait(seen);
          seen = generation_.load();
          if (stopped_)
            return;
          claim();
        }
      });
  }

  ~claimers() {
    stopped_ = true;
    wake();
    for (auto& one : threads_)
      one.join();
  }

  void wake() {
    ++generation_;
    generation_.notify_all();
  }

private:
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<bool> stopped_{false};
  std::vector<std::thread> threads_;
};

/// The claim counter of one batch after another. Between two batches it is
/// shut: every claim then lies beyond any batch.
class claim_counter {
public:
  /// Returns when no thread uses what belongs to the last batch any more.
  void shut() {
    next_ = beyond_any;
    // A thread that slept through the last batch may still look at it.
    while (inside_.load() != 0)
      std::this_thread::yield();
  }

  void open(std::size_t count) {
    count_.store(count, std::memory_order_relaxed);
    finished_ = 0;
    sum_ = 0;
    next_ = 0;
  }

  /// Calls `each` for every index that this thread could claim.
  template <class Each>
  void claim(Each each) {
    ++inside_;
    std::size_t mine = 0;
    std::uint64_t sum = 0;
    std::size_t count = 0;
    for (;; ++mine) {
      auto i = next_.fetch_add(1);
      // Only now: a claim below `beyond_any` belongs to the batch that is open.
      count = count_.load(std::memory_order_relaxed);
      if (i >= count)
        break;
      sum += i;
      each(i);
    }
    sum_ += sum;
    const auto last = mine != 0 && finished_.fetch_add(mine) + mine == count;
    --inside_;
    if (last) {
      done_ = 1;
      done_.notify_one();
    }
  }

  void wait() {
    done_.wait(0);
    done_ = 0;
  }

  /// Returns whether every index was claimed once, judged by their sum.
  [[nodiscard]] bool adds_up() const {
    auto count = std::uint64_t{count_.load()};
    return sum_.load() == count * (count - 1) / 2;
  }

private:
  static constexpr std::size_t beyond_any = ~std::size_t{0} / 2;

  // The threads hammer on `next_`; what they only read must not move with it.
  alignas(64) std::atomic<std::size_t> next_{beyond_any};
  alignas(64) std::atomic<std::size_t> count_{0};
  std::atomic<std::size_t> finished_{0};
  std::atomic<std::uint64_t> sum_{0};
  std::atomic<std::size_t> inside_{0};
  std::atomic<int> done_{0};
};

class bare_floor_team : public team {
public:
  explicit bare_floor_team(std::size_t workers)
      : claimers_{workers, [this] { counter_.claim([](std::size_t) {}); }} {}

  void start(std::span<const std::uint64_t> inputs) override {
    counter_.shut();
    counter_.open(inputs.size());
    claimers_.wake();
  }

  std::vector<std::uint64_t> finish() override {
    counter_.wait();
    return {};
  }

  void check(const std::vector<std::uint64_t>& /*results*/,
             const work& /*what*/,
             std::span<const std::uint64_t> /*inputs*/) override {
    if (!counter_.adds_up())
      throw std::logic_error{"the claims of the floor do not add up"};
  }

private:
  claim_counter counter_;
  claimers claimers_;
};

template <class Call>
class floor_team : public team {
public:
  floor_team(Call call, std::size_t workers)
      : call_{call}, claimers_{workers, [this] {
                                 counter_.claim([this](std::size_t i) {
                                   results_[i] = call_(inputs_[i]);
                                 });
                               }} {}

  void start(std::span<const std::uint64_t> inputs) override {
    counter_.shut();
    inputs_ = inputs;
    results_.resize(inputs.size());
    counter_.open(inputs.size());
    claimers_.wake();
  }

  std::vector<std::uint64_t> finish() override {
    counter_.wait();
    return std::move(results_);
  }

  /// Two threads and one word between them.
  std::vector<std::uint64_t> round_trips(std::size_t count) override {
    std::vector<std::uint64_t> results(count);
    std::atomic<std::uint32_t> asked{0};
    std::atomic<std::uint32_t> answered{0};
    std::thread answering{[&] {
      for (std::uint32_t i = 0; i < count; ++i) {
        asked.wait(i);
        results[i] = call_(i);
        answered = i + 1;
        answered.notify_one();
      }
    }};
    for (std::uint32_t i = 0; i < count; ++i) {
      asked = i + 1;
      asked.notify_one();
      answered.wait(i);
    }
    answering.join();
    return results;
  }

private:
  Call call_;
  std::span<const std::uint64_t> inputs_;
  std::vector<std::uint64_t> results_;
  claim_counter counter_;
  claimers claimers_;
};

} // namespace

std::unique_ptr<team> make_bare_floor(const team_options& options) {
  return std::make_unique<bare_floor_team>(options.workers);
}

std::unique_ptr<team> make_floor(const team_options& options) {
  return std::visit(
      [&](auto call) -> std::unique_ptr<team> {
        return std::make_unique<floor_team<decltype(call)>>(call,
                                                            options.workers);
      },
      options.what);
}

} // namespace bench
