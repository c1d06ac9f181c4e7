#include "troupe/sqlite_connection.hpp"

#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace troupe {

namespace {

// How many steps of its virtual machine SQLite makes between two looks at the
// stop token: well below a millisecond. A guess.
constexpr int steps_between_looks = 1000;

// The most of a statement that an error shows.
constexpr std::size_t most_shown = 200;

std::string shown(std::string_view sql) {
  return sql.size() <= most_shown
             ? fmt::format("'{}'", sql)
             : fmt::format("'{}...'", sql.substr(0, most_shown));
}

int stop_requested(void* stop) {
  return static_cast<const std::stop_token*>(stop)->stop_requested() ? 1 : 0;
}

struct finalizer {
  void operator()(sqlite3_stmt* statement) const noexcept {
    sqlite3_finalize(statement);
  }
};

using statement_ptr = std::unique_ptr<sqlite3_stmt, finalizer>;

// A length as SQLite takes it.
int length(std::size_t bytes) {
  if (bytes > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw sqlite_error{"cannot pass a text or a blob", "it is too long",
                       SQLITE_TOOBIG};
  return static_cast<int>(bytes);
}

int bind(sqlite3_stmt* to, int at, const sqlite_value& what) {
  if (auto* number = std::get_if<std::int64_t>(&what))
    return sqlite3_bind_int64(to, at, *number);
  if (auto* number = std::get_if<double>(&what))
    return sqlite3_bind_double(to, at, *number);
  if (auto* text = std::get_if<std::string>(&what))
    return sqlite3_bind_text(to, at, text->data(), length(text->size()),
                             SQLITE_TRANSIENT);
  if (auto* blob = std::get_if<std::vector<std::byte>>(&what))
    // A null pointer would be NULL.
    return blob->empty()
               ? sqlite3_bind_zeroblob(to, at, 0)
               : sqlite3_bind_blob(to, at, blob->data(), length(blob->size()),
                                   SQLITE_TRANSIENT);
  return sqlite3_bind_null(to, at);
}

sqlite_value value_of(sqlite3_stmt* from, int column) {
  switch (sqlite3_column_type(from, column)) {
  case SQLITE_INTEGER:
    return std::int64_t{sqlite3_column_int64(from, column)};
  case SQLITE_FLOAT:
    return sqlite3_column_double(from, column);
  case SQLITE_TEXT: {
    auto* text =
        reinterpret_cast<const char*>(sqlite3_column_text(from, column));
    auto size = static_cast<std::size_t>(sqlite3_column_bytes(from, column));
    return text ? std::string{text, size} : std::string{};
  }
  case SQLITE_BLOB: {
    auto* bytes =
        static_cast<const std::byte*>(sqlite3_column_blob(from, column));
    auto size = static_cast<std::size_t>(sqlite3_column_bytes(from, column));
    return bytes ? std::vector<std::byte>(bytes, bytes + size)
                 : std::vector<std::byte>{};
  }
  default:
    return std::monostate{};
  }
}

} // namespace

sqlite_error::sqlite_error(const std::string& operation,
                           const std::string& cause, int extended)
    : std::runtime_error{fmt::format("{}: {}", operation, cause)},
      extended_{extended},
      cause_{std::make_shared<const std::string>(cause)} {}

// Looks at the stop token while statements run. That, rather than
// sqlite3_interrupt, since an interrupt has no effect if it comes just before
// the first step.
class sqlite_connection::running {
public:
  running(sqlite3* handle, const std::stop_token& stop) : handle_{handle} {
    if (stop.stop_possible())
      sqlite3_progress_handler(handle, steps_between_looks, &stop_requested,
                               const_cast<std::stop_token*>(&stop));
  }

  running(const running&) = delete;
  running& operator=(const running&) = delete;

  ~running() { sqlite3_progress_handler(handle_, 0, nullptr, nullptr); }

private:
  sqlite3* handle_;
};

// -- construction -------------------------------------------------------------

void sqlite_connection::closer::operator()(sqlite3* handle) const noexcept {
  sqlite3_close_v2(handle);
}

sqlite_connection::sqlite_connection(std::string file, mode how,
                                     std::chrono::milliseconds patience)
    : file_{std::move(file)}, mode_{how} {
  auto flags = SQLITE_OPEN_NOMUTEX;
  switch (how) {
  case mode::read_only:
    flags |= SQLITE_OPEN_READONLY;
    break;
  case mode::read_write:
    flags |= SQLITE_OPEN_READWRITE;
    break;
  case mode::create:
    flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    break;
  }
  sqlite3* raw = nullptr;
  auto code = sqlite3_open_v2(file_.c_str(), &raw, flags, nullptr);
  // Also a failed open leaves a handle, which holds the reason.
  handle_.reset(raw);
  if (code != SQLITE_OK)
    fail(fmt::format("cannot open the database {}", file_));
  sqlite3_extended_result_codes(raw, 1);
  auto longest = std::chrono::milliseconds{std::numeric_limits<int>::max()};
  sqlite3_busy_timeout(raw,
                       static_cast<int>(std::min(patience, longest).count()));
  struct stat info;
  if (stat(file_.c_str(), &info) == 0) {
    device_ = info.st_dev;
    inode_ = info.st_ino;
  }
}

sqlite_connection::sqlite_connection(sqlite_connection&&) noexcept = default;

sqlite_connection&
sqlite_connection::operator=(sqlite_connection&&) noexcept = default;

sqlite_connection::~sqlite_connection() = default;

// -- properties ---------------------------------------------------------------

bool sqlite_connection::ping() const noexcept {
  struct stat info;
  if (stat(file_.c_str(), &info) != 0)
    return inode_ == 0;
  return info.st_dev == device_ && info.st_ino == inode_;
}

bool sqlite_connection::broken() const noexcept {
  return spoilt_ || sqlite3_get_autocommit(handle_.get()) == 0;
}

// -- operations ---------------------------------------------------------------

std::vector<sqlite_connection::row>
sqlite_connection::query(const std::string& sql, const row& values,
                         const std::stop_token& stop) {
  std::vector<row> result;
  run(
      sql, values, [&](row&& next) { result.push_back(std::move(next)); },
      stop);
  return result;
}

sqlite_connection::summary sqlite_connection::run(const std::string& sql,
                                                  const row& values,
                                                  const sink& rows,
                                                  const std::stop_token& stop) {
  auto operation = fmt::format("cannot run {} on {}", shown(sql), file_);
  auto* handle = handle_.get();
  running look{handle, stop};
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  auto code =
      sqlite3_prepare_v2(handle, sql.data(), length(sql.size()), &raw, &tail);
  statement_ptr statement{raw};
  if (code != SQLITE_OK)
    fail(operation);
  if (!statement)
    throw sqlite_error{operation,
                       "it is no statement, only blanks or a comment",
                       SQLITE_MISUSE};
  // What follows may be blank or a comment, but no second statement.
  sqlite3_stmt* second = nullptr;
  auto rest = sql.data() + sql.size() - tail;
  code = sqlite3_prepare_v2(handle, tail, static_cast<int>(rest), &second,
                            nullptr);
  statement_ptr unwanted{second};
  if (code != SQLITE_OK || unwanted)
    throw sqlite_error{operation,
                       "more follows its semicolon; run one statement at a "
                       "time, or a script by execute",
                       SQLITE_MISUSE};
  // A read-only connection protects its file, but VACUUM INTO, for one, makes
  // another one.
  if (mode_ == mode::read_only && !sqlite3_stmt_readonly(raw))
    throw sqlite_error{operation, "it would write", SQLITE_READONLY};
  auto wanted = sqlite3_bind_parameter_count(raw);
  if (static_cast<std::size_t>(wanted) != values.size())
    throw sqlite_error{operation,
                       fmt::format("it has {} parameters and got {} values",
                                   wanted, values.size()),
                       SQLITE_RANGE};
  for (int i = 0; i < wanted; ++i)
    if (bind(raw, i + 1, values[static_cast<std::size_t>(i)]) != SQLITE_OK)
      fail(operation);
  summary result;
  auto columns = sqlite3_column_count(raw);
  result.columns = static_cast<std::size_t>(columns);
  auto before = sqlite3_total_changes(handle);
  while ((code = sqlite3_step(raw)) == SQLITE_ROW) {
    ++result.rows;
    if (!rows)
      continue;
    row next;
    next.reserve(result.columns);
    for (int i = 0; i < columns; ++i)
      next.push_back(value_of(raw, i));
    rows(std::move(next));
  }
  if (code != SQLITE_DONE)
    fail(operation);
  result.changes = sqlite3_total_changes(handle) - before;
  return result;
}

void sqlite_connection::execute(const std::string& script,
                                const std::stop_token& stop) {
  running look{handle_.get(), stop};
  for (auto* at = script.c_str(); *at != '\0';) {
    sqlite3_stmt* raw = nullptr;
    const char* tail = nullptr;
    auto operation = [&] {
      return fmt::format("cannot run {} on {}", shown(at), file_);
    };
    auto code = sqlite3_prepare_v2(handle_.get(), at, -1, &raw, &tail);
    statement_ptr statement{raw};
    if (code != SQLITE_OK)
      fail(operation());
    if (statement && mode_ == mode::read_only && !sqlite3_stmt_readonly(raw))
      throw sqlite_error{operation(), "it would write", SQLITE_READONLY};
    while (statement && (code = sqlite3_step(raw)) == SQLITE_ROW)
      continue;
    if (statement && code != SQLITE_DONE)
      fail(operation());
    at = tail;
  }
}

void sqlite_connection::fail(const std::string& operation) {
  if (!handle_)
    throw sqlite_error{operation, "out of memory", SQLITE_NOMEM};
  auto extended = sqlite3_extended_errcode(handle_.get());
  auto code = extended & 0xff;
  spoilt_ = spoilt_ || code == SQLITE_CORRUPT || code == SQLITE_NOTADB
            || code == SQLITE_IOERR;
  throw sqlite_error{operation, sqlite3_errmsg(handle_.get()), extended};
}

} // namespace troupe
