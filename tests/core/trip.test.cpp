// Requests that travel together: which go into one message, what becomes of
// those that a host gives back, and that each is made once. The host is a fake,
// which makes the calls right here and does as the test says.

#include "troupe/trip.hpp"
#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "manual_clock.hpp"
#include "test_procedures.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using test::batch_of;
using test::failure_in;
using test::get;
using test::thread_crew;
using test::twice;
using troupe::call_chunk;
using troupe::ec;
using troupe::make_map_batch;

namespace {

/// Refuses to be encoded if it is negative.
struct fragile {
  int x = 0;
};

template <class Inspector>
auto inspect(Inspector& f, fragile& value) {
  if (value.x < 0)
    throw std::domain_error{"below zero"};
#if TROUPE_CAF_1
  return f.object(value).fields(f.field("x", value.x));
#else
  return f(value.x);
#endif
}

inline constexpr troupe::procedure<"look", int(fragile)> look;

/// Makes calls here, as if it was elsewhere.
class fake_host final : public troupe::procedure_host {
public:
  explicit fake_host(std::uint32_t most = 64) : most_{most} {
    known_.add(twice, [this](int x) {
      {
        std::lock_guard guard{mutex_};
        calls_.push_back(x);
      }
      if (on_call)
        on_call(x);
      return 2 * x;
    });
    known_.add(look, [](fragile what) { return what.x; });
    known_.add(test::echo, [](std::string text) { return text; });
  }

  const troupe::procedure_entry*
  find(const troupe::context&, const troupe::procedure_info&) const override {
    return nullptr;
  }

  troupe::compat::byte_buffer
  call(troupe::context&, const troupe::procedure_info& what,
       const troupe::compat::byte_buffer& arguments) const override {
    return known_.find(what.name)->invoke(std::as_bytes(std::span{arguments}));
  }

  std::uint32_t most_calls() const noexcept override { return most_; }

  std::size_t call_many(troupe::context& ctx,
                        const troupe::procedure_info& what,
                        call_chunk& chunk) const override {
    {
      std::lock_guard guard{mutex_};
      sizes_.push_back(chunk.calls.size());
    }
    if (on_message)
      return on_message(ctx, what, chunk);
    return procedure_host::call_many(ctx, what, chunk);
  }

  /// Makes the calls before `n`, and no other.
  std::size_t make_some(troupe::context& ctx,
                        const troupe::procedure_info& what, call_chunk& chunk,
                        std::size_t n) const {
    for (auto& x : chunk.calls.first(n))
      x.result = call(ctx, what, x.arguments);
    return n;
  }

  std::vector<int> calls() const {
    std::lock_guard guard{mutex_};
    auto result = calls_;
    std::sort(result.begin(), result.end());
    return result;
  }

  std::vector<std::size_t> sizes() const {
    std::lock_guard guard{mutex_};
    return sizes_;
  }

  std::function<void(int)> on_call;
  std::function<std::size_t(troupe::context&, const troupe::procedure_info&,
                            call_chunk&)>
      on_message;

private:
  const std::uint32_t most_;
  troupe::procedures known_;
  mutable std::mutex mutex_;
  mutable std::vector<int> calls_;
  mutable std::vector<std::size_t> sizes_;
};

struct travelling_crew {
  explicit travelling_crew(std::size_t workers, std::uint32_t most = 64)
      : host{std::make_shared<fake_host>(most)},
        clock{std::make_shared<test::manual_clock>()},
        crew{[&] {
          auto result = thread_crew::options_for(workers);
          result.procedures = host;
          result.clock = clock;
          return result;
        }()} {}

  std::shared_ptr<fake_host> host;
  std::shared_ptr<test::manual_clock> clock;
  thread_crew crew;
};

std::vector<int> numbers(int n) {
  std::vector<int> result(static_cast<std::size_t>(n));
  std::iota(result.begin(), result.end(), 0);
  return result;
}

std::vector<int> doubled(int n) {
  auto result = numbers(n);
  for (auto& x : result)
    x *= 2;
  return result;
}

} // namespace

TEST_CASE("tiny requests travel together, and each has its result in its place",
          "[trip]") {
  auto workers = GENERATE(1u, 4u);
  CAPTURE(workers);
  travelling_crew c{workers};
  CHECK(get(c.crew.start(make_map_batch(numbers(20'000), twice)))
        == doubled(20'000));
  CHECK(c.host->calls() == numbers(20'000));
  CHECK(c.host->sizes().size() < 20'000 / 4);
  auto seen = c.crew.stats();
  CHECK(seen.succeeded == 20'000);
  CHECK(seen.failed == 0);
}

TEST_CASE("no more travel together than the host takes", "[trip]") {
  travelling_crew c{2, 7};
  get(c.crew.start(make_map_batch(numbers(5'000), twice)));
  auto sizes = c.host->sizes();
  REQUIRE_FALSE(sizes.empty());
  CHECK(*std::max_element(sizes.begin(), sizes.end()) == 7);
}

TEST_CASE("where each goes by itself, none travel together", "[trip]") {
  travelling_crew c{2, 1};
  CHECK(get(c.crew.start(make_map_batch(numbers(1'000), twice)))
        == doubled(1'000));
  CHECK(c.host->sizes().empty());
}

TEST_CASE("a procedure that is called right here does not travel", "[trip]") {
  auto options = thread_crew::options_for(2);
  std::atomic<int> calls{0};
  troupe::procedures known;
  known.add(twice, [&](int x) {
    ++calls;
    return 2 * x;
  });
  options.procedures = known;
  thread_crew crew{options};
  CHECK(get(crew.start(make_map_batch(numbers(1'000), twice)))
        == doubled(1'000));
  CHECK(calls == 1'000);
}

TEST_CASE("large arguments do not travel with others", "[trip]") {
  travelling_crew c{1};
  std::atomic<std::size_t> most{0};
  c.host->on_message = [&](auto& ctx, auto& what, call_chunk& chunk) {
    std::size_t bytes = 0;
    for (const auto& x : chunk.calls)
      bytes += x.arguments.size();
    if (chunk.calls.size() > 1)
      most = std::max(most.load(), bytes);
    return c.host->make_some(ctx, what, chunk, chunk.calls.size());
  };
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i)
    texts.emplace_back(i % 50 == 49 ? 1'000'000u : 10'000u, 'x');
  CHECK(get(c.crew.start(make_map_batch(texts, test::echo))) == texts);
  CHECK(most > 10'000);
  CHECK(most <= troupe::most_trip_bytes);
}

TEST_CASE("what a host gives back is made again, once", "[trip]") {
  auto workers = GENERATE(1u, 4u);
  CAPTURE(workers);
  travelling_crew c{workers};
  std::atomic<unsigned> messages{0};
  c.host->on_message = [&](auto& ctx, auto& what, call_chunk& chunk) {
    auto some = 1 + (chunk.calls.size() - 1) / (1 + messages++ % 3);
    return c.host->make_some(ctx, what, chunk, some);
  };
  CHECK(get(c.crew.start(make_map_batch(numbers(5'000), twice)))
        == doubled(5'000));
  CHECK(c.host->calls() == numbers(5'000));
  CHECK(c.crew.stats().succeeded == 5'000);
}

// Failure here is a hang: the slow one waits until all others have been made.
TEST_CASE("what is behind a slow one is given back and goes to others",
          "[trip]") {
  travelling_crew c{2};
  std::atomic<bool> slow{false};
  std::atomic<int> made{0};
  c.host->on_call = [&](int) { ++made; };
  c.host->on_message = [&](auto& ctx, auto& what, call_chunk& chunk) {
    auto all = chunk.calls.size();
    if (all < 8 || slow.exchange(true))
      return c.host->make_some(ctx, what, chunk, all);
    c.host->make_some(ctx, what, chunk, 3);
    chunk.done(3);
    chunk.give_back(4);
    while (made < 4'999)
      std::this_thread::yield();
    chunk.calls[3].result = c.host->call(ctx, what, chunk.calls[3].arguments);
    return std::size_t{4};
  };
  CHECK(get(c.crew.start(make_map_batch(numbers(5'000), twice)))
        == doubled(5'000));
  CHECK(slow);
  CHECK(c.host->calls() == numbers(5'000));
}

// -- failures -----------------------------------------------------------------

TEST_CASE("behind one that fails, nothing is made that travels with it",
          "[trip]") {
  travelling_crew c{1};
  c.host->on_call = [](int x) {
    if (x == 1'000)
      throw std::runtime_error{"no"};
  };
  auto made = c.crew.start(make_map_batch(numbers(5'000), twice));
  CHECK_THROWS_WITH(get(made), "no");
  CHECK(c.host->calls() == numbers(1'001));
  auto counts = batch_of(made).summary();
  CHECK(counts.succeeded == 1'000);
  CHECK(counts.failed == 1);
  CHECK(counts.cancelled == 3'999);
}

TEST_CASE("one that is tried again stops no other", "[trip]") {
  travelling_crew c{1};
  std::atomic<int> failures{0};
  c.host->on_call = [&](int x) {
    if (x == 1'000 && ++failures < 3)
      throw std::runtime_error{"not yet"};
  };
  auto made = make_map_batch(numbers(5'000), twice);
  batch_of(made).modify(
      {.retry =
           std::make_shared<const troupe::retry_policy>(troupe::retry_policy{
               .attempts = 3, .backoff = 1s, .max_backoff = 1s, .jitter = 0})});
  c.crew.start(made);
  for (int i = 0; i < 2; ++i) {
    c.clock->wait_for_timer_in(1s);
    c.clock->advance(1s);
  }
  CHECK(get(made) == doubled(5'000));
  auto expected = numbers(5'000);
  expected.insert(expected.begin() + 1'000, 2, 1'000);
  CHECK(c.host->calls() == expected);
  CHECK(batch_of(made).summary().failed == 0);
}

TEST_CASE("what a host throws is the failure of the first it has not told of",
          "[trip]") {
  travelling_crew c{1};
  c.host->on_message = [&](auto& ctx, auto& what, call_chunk& chunk) {
    if (chunk.calls.size() < 8)
      return c.host->make_some(ctx, what, chunk, chunk.calls.size());
    c.host->make_some(ctx, what, chunk, 2);
    chunk.done(2);
    throw troupe::failure{ec::worker_lost, "the link is down"};
  };
  auto made = c.crew.start(make_map_batch(numbers(5'000), twice));
  auto why = failure_in([&] { get(made); });
  REQUIRE(why);
  CHECK(why->code() == ec::worker_lost);
  auto counts = batch_of(made).summary();
  CHECK(counts.succeeded == c.host->calls().size());
  CHECK(counts.failed == 1);
}

TEST_CASE("arguments that cannot be encoded are a failure of their request",
          "[trip]") {
  travelling_crew c{1};
  std::vector<fragile> all(1'000);
  all[500].x = -1;
  auto made = c.crew.start(make_map_batch(all, look));
  CHECK_THROWS_WITH(get(made), "below zero");
  auto counts = batch_of(made).summary();
  CHECK(counts.succeeded == 500);
  CHECK(counts.failed == 1);
}

// -- stopping -----------------------------------------------------------------

TEST_CASE("a cancel drops what is given back later", "[trip]") {
  travelling_crew c{2};
  test::gate arrived;
  c.host->on_message = [&](auto& ctx, auto& what, call_chunk& chunk) {
    if (chunk.calls.size() < 8)
      return c.host->make_some(ctx, what, chunk, chunk.calls.size());
    test::gate stopped;
    auto hook = ctx.on_cancel([&] { stopped.open(); });
    arrived.touch();
    stopped.pass();
    return c.host->make_some(ctx, what, chunk, 2);
  };
  auto made = c.crew.start(make_map_batch(numbers(5'000), twice));
  arrived.wait_for_arrivals(2);
  batch_of(made).cancel(ec::cancelled);
  CHECK(failure_in([&] { get(made); })->code() == ec::cancelled);
  auto counts = batch_of(made).summary();
  CHECK(counts.succeeded == c.host->calls().size());
  CHECK(counts.succeeded + counts.cancelled == 5'000);
}

TEST_CASE("a worker with travelling requests comes when it is asked for",
          "[trip]") {
  travelling_crew c{1};
  test::gate arrived;
  c.host->on_message = [&](auto& ctx, auto& what, call_chunk& chunk) {
    arrived.pass();
    return c.host->make_some(ctx, what, chunk, chunk.calls.size());
  };
  auto large = c.crew.start(make_map_batch(numbers(5'000), twice));
  arrived.wait_for_arrivals();
  std::atomic<std::size_t> before{0};
  auto small = c.crew.start(
      troupe::make_batch([&] { before = c.host->calls().size(); }));
  arrived.open();
  get(small);
  CHECK(before < 5'000);
  CHECK(get(large) == doubled(5'000));
  CHECK(c.host->calls() == numbers(5'000));
}

// -- measuring ----------------------------------------------------------------

TEST_CASE("each request that travels is measured", "[trip]") {
  travelling_crew c{2};
  get(c.crew.start(make_map_batch(numbers(5'000), twice)));
  c.crew.wait_until_idle();
  auto seen = c.crew.stats();
  REQUIRE(seen.labels.size() == 1);
  CHECK(seen.labels[0].ran.count() == 5'000);
  CHECK(seen.labels[0].waited.count() == 5'000);
}
