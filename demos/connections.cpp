// Workers that keep a connection to a database: it is opened once per worker,
// looked after between requests, and closed with the worker. Prints how many of
// a hundred prices lie below 10, 50 and 90: "10 50 90".

#include <chrono>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "troupe/sqlite_connection.hpp"
#include "troupe/troupe.hpp"

// README: begin
using namespace std::chrono_literals;
using troupe::sqlite_connection;

troupe::pool_options with_database(const std::string& file) {
  auto open = [file] { return sqlite_connection{file}; };
  return {.name = "db",
          .workers = 4,
          .resource = troupe::make_resource<sqlite_connection>(open)
                          .check(&sqlite_connection::ping) // before its use,
                          .check_after(30s)     // when it was idle so long
                          .recycle_every(1h)    // another one, now and then
                          .give_up_after(10s)}; // then what waits fails
}

std::int64_t count_below(troupe::context& ctx, std::int64_t limit) {
  auto& db = ctx.resource<sqlite_connection>();
  auto rows = db.query("SELECT count(*) FROM item WHERE price < ?", {limit},
                       ctx.stop_token()); // ends when it is cancelled
  return std::get<std::int64_t>(rows.at(0).at(0));
}
// README: end

int main(int argc, char** argv) {
  troupe::config cfg;
  if (auto status = cfg.parse_command_line(argc, argv))
    return *status;
  auto folder = std::filesystem::temp_directory_path() / "troupe-XXXXXX";
  std::string path = folder;
  if (mkdtemp(path.data()) == nullptr) {
    std::cerr << "cannot make a temporary folder " << path << '\n';
    return 1;
  }
  auto file = path + "/prices.db";
  sqlite_connection{file}.execute(
      "CREATE TABLE item(price); WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL "
      "SELECT i + 1 FROM n WHERE i < 99) INSERT INTO item SELECT i FROM n");
  {
    caf::actor_system sys{cfg};
    troupe::pool db{sys, with_database(file)};
    std::vector<std::int64_t> limits{10, 50, 90};
    for (auto count : db.map(limits, count_below).get())
      std::cout << count << (count < 90 ? ' ' : '\n');
  }
  std::filesystem::remove_all(path);
}
