// The HTTP client as the resource of workers, against a real server.
#include "troupe/http_client.hpp"

#include "actor_ways.hpp"
#include "gate.hpp"
#include "page_server.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <map>
#include <string>
#include <vector>

using troupe::http_client;

namespace {

troupe::pool_options with_clients(std::size_t workers) {
  troupe::pool_options result{.name = "web", .workers = workers};
  result.resource =
      troupe::make_resource<http_client>([] { return http_client{}; });
  return result;
}

} // namespace

TEST_CASE("each worker fetches with a client of its own", "[http_pool]") {
  test::page_server server{[](const std::string& path) {
    return path == "/missing" ? test::page{404, {}} : test::page{200, path};
  }};
  test::actor_world world;
  troupe::pool pool{world.sys, with_clients(4)};
  std::vector<std::string> paths;
  for (int i = 0; i < 200; ++i)
    paths.push_back(i % 50 == 49 ? "/missing" : fmt::format("/{}", i));
  auto answers =
      pool.map(paths,
               [&](troupe::context& ctx, const std::string& path) {
                 auto& client = ctx.resource<http_client>();
                 auto answer = client.get(server.url(path), ctx.stop_token());
                 return fmt::format("{} {}", answer.status, answer.body);
               })
          .get();
  for (std::size_t i = 0; i < paths.size(); ++i)
    CHECK(
        answers[i]
        == (paths[i] == "/missing" ? "404 " : fmt::format("200 {}", paths[i])));
  CHECK(pool.stats().resource.opens <= 4);
}

TEST_CASE("a fetch that is cancelled leaves the server to itself",
          "[http_pool]") {
  test::gate asked;
  test::page_server server{[&](const std::string&) {
    asked.pass();
    return test::page{};
  }};
  test::open_at_exit release{asked};
  test::actor_world world;
  troupe::pool pool{world.sys, with_clients(1)};
  std::stop_source stop;
  auto fetch = pool.run([&](troupe::context& ctx) {
                     return ctx.resource<http_client>()
                         .get(server.url("/slow"), ctx.stop_token())
                         .status;
                   })
                   .stop_with(stop.get_token())
                   .start();
  asked.wait_for_arrivals(1);
  stop.request_stop();
  // Failure here is a hang: the server does not answer.
  try {
    fetch.get();
    FAIL("it succeeded");
  } catch (const troupe::http_error& error) {
    CHECK(error.cause() == "it was stopped on the way");
  }
}
