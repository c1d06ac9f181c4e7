// Queries over SQLite; see the header.
#include "sqlite_client.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace fanout {

namespace {

// How long a query waits for somebody who writes, in milliseconds. A guess.
constexpr int busy_timeout_ms = 5000;

// How many steps of its virtual machine SQLite makes between two looks at the
// stop token: well below a millisecond. A guess.
constexpr int steps_between_looks = 1000;

int stop_requested(void* stop) {
  return static_cast<std::stop_token*>(stop)->stop_requested() ? 1 : 0;
}

struct finalizer {
  void operator()(sqlite3_stmt* statement) const noexcept {
    sqlite3_finalize(statement);
  }
};

using statement_ptr = std::unique_ptr<sqlite3_stmt, finalizer>;

[[noreturn]] void fail(const std::string& text) {
  throw std::runtime_error{text};
}

[[noreturn]] void fail(sqlite3* database, const char* operation) {
  std::string text = operation;
  text += ": ";
  text += database != nullptr ? sqlite3_errmsg(database) : "out of memory";
  fail(text);
}

// Compiles the one query in `query`.
statement_ptr prepare(sqlite3* database, const std::string& query) {
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  auto code = sqlite3_prepare_v2(database, query.data(),
                                 static_cast<int>(query.size()), &raw, &tail);
  auto result = statement_ptr{raw};
  if (code != SQLITE_OK)
    fail(database, "cannot run the query");
  if (!result)
    fail("cannot run the query: there is none, only blanks or a comment");
  // What follows may be blank or a comment, but no second query.
  sqlite3_stmt* second = nullptr;
  auto rest = query.data() + query.size() - tail;
  code = sqlite3_prepare_v2(database, tail, static_cast<int>(rest), &second,
                            nullptr);
  auto unwanted = statement_ptr{second};
  if (code != SQLITE_OK || unwanted)
    fail("cannot run the query: more follows its semicolon; give one query a "
         "target");
  return result;
}

} // namespace

std::uint64_t sqlite_client::count_rows(const std::string& file,
                                        const std::string& query,
                                        std::stop_token stop) {
  auto* database = connect(file).database.get();
  // Looks at the token rather than being interrupted from outside:
  // sqlite3_interrupt has no effect if it comes just before the first step.
  sqlite3_progress_handler(database, steps_between_looks, &stop_requested,
                           &stop);
  auto forget = [this, database](auto*) {
    sqlite3_progress_handler(database, 0, nullptr, nullptr);
    connections_.pop_front();
  };
  // After a failure, the next query on this file finds it as it is then.
  std::unique_ptr<sqlite_client, decltype(forget)> unless_good{this, forget};
  auto statement = prepare(database, query);
  // A read-only connection protects FILE itself, but VACUUM INTO, for one,
  // makes another file.
  if (!sqlite3_stmt_readonly(statement.get()))
    fail("cannot run the query: it would write");
  // BEGIN or ATTACH would outlast this request in its connection.
  if (sqlite3_column_count(statement.get()) == 0)
    fail("cannot run the query: it asks for no rows");
  std::uint64_t rows = 0;
  auto code = SQLITE_ROW;
  while ((code = sqlite3_step(statement.get())) == SQLITE_ROW)
    ++rows;
  if (code != SQLITE_DONE)
    fail(database, "cannot run the query");
  sqlite3_progress_handler(database, 0, nullptr, nullptr);
  unless_good.release();
  return rows;
}

sqlite_client::connection& sqlite_client::connect(const std::string& file) {
  struct stat info;
  if (stat(file.c_str(), &info) != 0)
    fail(std::string{"cannot open the database: "} + std::strerror(errno));
  // Opening a FIFO would wait for a writer.
  if (!S_ISREG(info.st_mode))
    fail("cannot open the database: not a regular file");
  auto same_name = [&](const connection& open) { return open.file == file; };
  auto found =
      std::find_if(connections_.begin(), connections_.end(), same_name);
  if (found != connections_.end()) {
    if (found->device == info.st_dev && found->inode == info.st_ino) {
      connections_.splice(connections_.begin(), connections_, found);
      return connections_.front();
    }
    connections_.erase(found);
  }
  sqlite3* raw = nullptr;
  auto code = sqlite3_open_v2(
      file.c_str(), &raw, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, nullptr);
  // Also a failed open leaves a handle, which holds the reason.
  auto database = std::unique_ptr<sqlite3, deleter>{raw};
  if (code != SQLITE_OK)
    fail(raw, "cannot open the database");
  sqlite3_busy_timeout(raw, busy_timeout_ms);
  connections_.push_front(
      {file, info.st_dev, info.st_ino, std::move(database)});
  if (connections_.size() > most_connections)
    connections_.pop_back();
  return connections_.front();
}

} // namespace fanout
