// Runs the SQL statements of standard input, one a line, on a PostgreSQL
// server: several at once, each on a connection that belongs to a worker.
// Prints the rows of all of them in the order of the statements, their columns
// apart by tabs, NULL as \N. The server is the one of libpq's environment
// variables, or of --database.
//
//   $ printf 'select 1\nselect pg_sleep(1), 2\n' | queries --troupe.workers=8

#include "parts/interrupt.hpp"
#include "parts/line_reader.hpp"
#include "parts/standard_files.hpp"

#include "troupe/postgres_connection.hpp"
#include "troupe/troupe.hpp"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

using namespace std::chrono_literals;

namespace {

using troupe::postgres_connection;

struct options : caf::actor_system_config {
  std::string database;

  options() {
    opt_group{custom_options_, "?queries"}.add(
        database, "database",
        "how to connect, in libpq's words, such as 'host=db user=me'");
  }
};

struct statement {
  std::size_t line;
  std::string sql;
};

/// Reads what there is to do, before anything runs.
std::vector<statement> read_statements() {
  std::vector<statement> result;
  parts::line_reader input{"-"};
  for (std::size_t number = 1; auto line = input.next(); ++number) {
    if (line->too_long)
      throw std::runtime_error{
          fmt::format("line {} is longer than {} bytes; put it into a function "
                      "of the database",
                      number, parts::line_reader::longest)};
    if (line->text.find_first_not_of(" \t\r") != std::string::npos)
      result.push_back({number, std::move(line->text)});
  }
  return result;
}

std::string run_statement(troupe::context& ctx, const statement& what) {
  auto& server = ctx.resource<postgres_connection>();
  auto answer = server.query(what.sql, {}, ctx.stop_token());
  std::string text;
  for (const auto& row : answer.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += i > 0 ? "\t" : "";
      text += row[i].value_or("\\N");
    }
    text += '\n';
  }
  return text;
}

troupe::pool_options with_connections(const std::string& address) {
  auto open = [address] { return postgres_connection{address}; };
  return {.name = "db",
          .resource = troupe::make_resource<postgres_connection>(open)
                          .check(&postgres_connection::ping)
                          .give_up_after(10s)};
}

/// Returns how many failed.
std::size_t run_all(const troupe::pool& db, std::vector<statement> all,
                    const std::stop_token& stop) {
  std::vector<std::size_t> lines;
  for (const auto& x : all)
    lines.push_back(x.line);
  auto results = db.imap(std::move(all), run_statement).stop_with(stop);
  std::size_t failed = 0;
  for (auto line = lines.begin(); line != lines.end() && !stop.stop_requested();
       ++line)
    try {
      auto text = results.next().get();
      if (!text)
        break;
      if (std::fputs(text->c_str(), stdout) < 0 || std::fflush(stdout) != 0)
        throw std::system_error{errno, std::generic_category(),
                                "cannot write the rows to standard output"};
    } catch (const std::system_error&) {
      throw;
    } catch (const std::exception& error) {
      ++failed;
      fmt::print(stderr, "queries: line {}: {}\n", *line, error.what());
    }
  return failed;
}

} // namespace

int main(int argc, char** argv) {
  parts::fill_standard_files();
  troupe::with_options<options> cfg;
  if (auto status = cfg.parse_command_line(argc, argv))
    return *status;
  try {
    if (auto more = cfg.arguments(); !more.empty())
      throw std::invalid_argument{
          fmt::format("unknown argument '{}' (accepted: statements on standard "
                      "input; see --help)",
                      more.front())};
    auto all = read_statements();
    parts::interrupt interrupt;
    std::size_t failed = 0;
    {
      caf::actor_system sys{cfg};
      troupe::pool db{sys, with_connections(cfg.database)};
      failed = run_all(db, std::move(all), interrupt.token());
    }
    if (auto signal = interrupt.signal()) {
      fmt::print(stderr, "queries: interrupted\n");
      return 128 + *signal;
    }
    return failed > 0 ? 1 : 0;
  } catch (const std::invalid_argument& error) {
    fmt::print(stderr, "queries: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "queries: {}\n", error.what());
    return 1;
  }
}
