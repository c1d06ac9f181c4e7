// Rows about real blocking I/O: files that are read and checked, pages that are
// fetched from a server with a delay.

#include <fmt/format.h>

#include "http_server.hpp"
#include "rows.hpp"
#include "timing.hpp"

namespace bench {

namespace {

/// Seconds that the batches of one sample take together, at least.
constexpr double budget = 0.5;

contestant io_contestant(const contender& who, const work& what,
                         std::size_t count, std::size_t workers) {
  return {who.name, who.role, count, [=] {
            auto inputs = counting(count);
            auto group = who.make({.what = what, .workers = workers});
            auto run = [&] {
              stopwatch watch;
              group->start(inputs);
              auto results = group->finish();
              auto took = watch.read();
              group->check(results, what, inputs);
              return took;
            };
            run(); // warms threads, connections and the page cache
            auto took = repeated(budget, run);
            auto n = static_cast<double>(count);
            return sample{
                {{"rate", n / took.wall}, {"cpu_us", took.cpu / n * 1e6}}, {}};
          }};
}

row build_io(const work& what, std::size_t count, std::size_t workers,
             std::vector<std::string> python_arguments) {
  row result;
  result.columns = {{"rate", "requests/s", 0, false},
                    {"cpu_us", "CPU us/request", 2}};
  for (const auto& who : field(make_floor))
    result.contestants.push_back(io_contestant(who, what, count, workers));
  result.contestants.push_back(python(count, std::move(python_arguments)));
  result.targets = {at_least("requests/s: at least 0.97 of the floor's",
                             "troupe", "rate", 0.97, named("floor"))};
  return result;
}

row build_files(const row_options& options) {
  const std::size_t count = options.quick ? 2'000 : 20'000;
  auto files = std::make_shared<file_set>(count);
  auto result = build_io(
      read_file{files.get()}, count, 8,
      {"files", std::to_string(count), "8", files->folder() + "/manifest"});
  result.title =
      fmt::format("read and hash {} small files, 8 workers", grouped(count));
  result.world = files;
  return result;
}

row build_http(const row_options& options) {
  const std::size_t count = options.quick ? 1'000 : 5'000;
  auto server = std::make_shared<http_server>(std::chrono::milliseconds{2});
  auto result = build_io(
      http_get{server->port()}, count, 64,
      {"http", std::to_string(count), "64", std::to_string(server->port())});
  result.title = fmt::format("{} HTTP GETs of 1 KiB with 2 ms delay, 64 "
                             "workers, keep-alive",
                             grouped(count));
  result.world = server;
  return result;
}

} // namespace

std::vector<row_spec> io_rows() {
  return {
      {"files", "read and hash small files, 8 workers", build_files},
      {"http", "HTTP GETs with 2 ms delay, 64 workers", build_http},
  };
}

} // namespace bench
