// What a worker keeps between requests: opened where it is used, used by one
// request at a time, closed where it was opened.

#include "troupe/resource.hpp"

#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include "gate.hpp"
#include "thread_crew.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using test::failure_in;
using test::get;
using test::thread_crew;
using troupe::context;
using troupe::ec;
using troupe::make_batch;
using troupe::make_map_batch;
using troupe::make_resource;

namespace {

struct connection {
  std::thread::id opened_on = std::this_thread::get_id();
  int uses = 0;
};

troupe::effective_options with(troupe::resource_spec spec,
                               std::size_t workers) {
  auto result = thread_crew::options_for(workers);
  result.resource = std::move(spec);
  return result;
}

} // namespace

TEST_CASE("a resource is opened once per worker, on the worker's own thread",
          "[resource]") {
  std::atomic<int> opened{0};
  test::gate both;
  thread_crew crew{with(make_resource<connection>([&] {
                          ++opened;
                          return connection{};
                        }),
                        2)};
  CHECK(opened == 0);
  std::atomic<int> elsewhere{0};
  std::atomic<int> uses{0};
  // Makes sure that both workers take part.
  test::open_at_exit release{both};
  auto made =
      crew.start(make_map_batch(std::vector<int>(100), [&](context& ctx, int) {
        auto& mine = ctx.resource<connection>();
        elsewhere += mine.opened_on != std::this_thread::get_id();
        ++mine.uses;
        ++uses;
        both.pass();
      }));
  both.wait_for_arrivals(2);
  both.open();
  get(made);
  CHECK(opened == 2);
  CHECK(elsewhere == 0);
  CHECK(uses == 100);
}

TEST_CASE("a resource is closed on the thread that opened it", "[resource]") {
  std::atomic<int> opened{0};
  std::atomic<int> closed{0};
  std::atomic<int> elsewhere{0};
  {
    test::gate all;
    thread_crew crew{with(make_resource<connection>(
                              [&] {
                                ++opened;
                                return connection{};
                              },
                              [&](connection& mine) {
                                ++closed;
                                elsewhere += mine.opened_on
                                             != std::this_thread::get_id();
                              }),
                          3)};
    test::open_at_exit release{all};
    auto made =
        crew.start(make_map_batch(std::vector<int>(3), [&](context& ctx, int) {
          ctx.resource<connection>();
          all.pass();
        }));
    all.wait_for_arrivals(3);
    all.open();
    get(made);
    CHECK(closed == 0);
  }
  CHECK(opened == 3);
  CHECK(closed == 3);
  CHECK(elsewhere == 0);
}

TEST_CASE("a resource that nobody asks for is not opened", "[resource]") {
  std::atomic<int> opened{0};
  thread_crew crew{with(make_resource<connection>([&] {
                          ++opened;
                          return connection{};
                        }),
                        1)};
  get(crew.start(make_batch([](context&) {})));
  CHECK(opened == 0);
}

TEST_CASE("a resource of another type is not there", "[resource]") {
  auto without = GENERATE(false, true);
  thread_crew crew{
      without
          ? thread_crew::options_for(1)
          : with(make_resource<connection>([] { return connection{}; }), 1)};
  auto made = crew.start(
      make_batch([](context& ctx) { return ctx.resource<std::string>(); }));
  auto err = failure_in([&] { get(made); });
  REQUIRE(err);
  CHECK(err->code() == ec::resource_unavailable);
  CHECK(err->started());
  CHECK(err->worker() == 1);
  CHECK(err->what()
        == std::string{"the pool 'test' has no resource of the type asked for; "
                       "set pool_options::resource"});
}

TEST_CASE("a resource that cannot be opened fails only the request that asked",
          "[resource]") {
  std::atomic<int> tries{0};
  thread_crew crew{with(make_resource<connection>([&] {
                          if (++tries == 1)
                            throw std::runtime_error{"no route to host"};
                          return connection{};
                        }),
                        1)};
  auto use = [](context& ctx) { return ++ctx.resource<connection>().uses; };
  CHECK_THROWS_WITH(get(crew.start(make_batch(use))), "no route to host");
  CHECK(get(crew.start(make_batch([] { return 7; }))) == 7);
  CHECK(get(crew.start(make_batch(use))) == 1);
  CHECK(get(crew.start(make_batch(use))) == 2);
  CHECK(tries == 2);
}

TEST_CASE("a resource may be move-only", "[resource]") {
  thread_crew crew{with(make_resource<std::unique_ptr<int>>(
                            [] { return std::make_unique<int>(7); }),
                        1)};
  CHECK(get(crew.start(make_batch([](context& ctx) {
          return *ctx.resource<std::unique_ptr<int>>();
        })))
        == 7);
}

// A request that runs inside another one's wait would find the resource in the
// middle of something.
TEST_CASE("a request that uses its resource does not run others in its wait",
          "[resource]") {
  thread_crew crew{
      with(make_resource<connection>([] { return connection{}; }), 2)};
  auto elsewhere = get(crew.start(make_batch([&](context& ctx) {
    ctx.resource<connection>();
    auto inner = get(crew.start(make_batch([](context& nested) {
      nested.resource<connection>();
      return nested.worker();
    })));
    return inner != ctx.worker();
  })));
  CHECK(elsewhere);
}

TEST_CASE("a request that has not used its resource runs others in its wait",
          "[resource]") {
  thread_crew crew{
      with(make_resource<connection>([] { return connection{}; }), 1)};
  auto uses = get(crew.start(make_batch([&](context& ctx) {
    auto inner = get(crew.start(make_batch(
        [](context& nested) { return ++nested.resource<connection>().uses; })));
    return inner + ++ctx.resource<connection>().uses;
  })));
  CHECK(uses == 3);
}
