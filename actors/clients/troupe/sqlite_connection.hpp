// A connection to an SQLite database, for one worker: a resource that says when
// it is of no more use, whose queries end when they are told to stop, and whose
// errors have a type. A component of its own, troupe::sqlite; needs nothing
// else of troupe, so it is of use to a plain thread, too.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

struct sqlite3;

namespace troupe {

/// What SQLite refused, in words: operation, statement or file, cause.
class sqlite_error : public std::runtime_error {
public:
  sqlite_error(const std::string& operation, const std::string& cause,
               int extended);

  /// Returns SQLite's result code, such as SQLITE_BUSY.
  int code() const noexcept { return extended_ & 0xff; }

  /// Returns SQLite's extended result code, such as SQLITE_BUSY_SNAPSHOT.
  int extended() const noexcept { return extended_; }

  /// Returns the last part of the text, without what was tried.
  const std::string& cause() const noexcept { return *cause_; }

private:
  int extended_;
  // Shared, since copying an exception must not throw.
  std::shared_ptr<const std::string> cause_;
};

/// A value of a row or of a parameter; std::monostate is NULL.
using sqlite_value = std::variant<std::monostate, std::int64_t, double,
                                  std::string, std::vector<std::byte>>;

/// A blocking connection to one database. Belongs to one thread at a time; what
/// is asked to stop it by a token may be asked from any.
class sqlite_connection {
public:
  enum class mode : std::uint8_t {
    /// Refuses statements that would write, also to other files.
    read_only,
    read_write,
    /// As `read_write`; makes the file if there is none.
    create,
  };

  using row = std::vector<sqlite_value>;

  /// Takes the next row.
  using sink = std::function<void(row&&)>;

  /// What came of a statement.
  struct summary {
    /// Columns of its rows; 0 if it does not ask for any.
    std::size_t columns = 0;
    std::uint64_t rows = 0;
    /// Rows that it inserted, changed or deleted.
    std::int64_t changes = 0;
  };

  /// Opens the database in `file`; ":memory:" has one of its own.
  ///
  /// Units:  a statement waits for other writers for `patience`.
  /// Errors: throws `sqlite_error`.
  explicit sqlite_connection(
      std::string file, mode how = mode::create,
      std::chrono::milliseconds patience = std::chrono::seconds{5});

  sqlite_connection(sqlite_connection&&) noexcept;
  sqlite_connection& operator=(sqlite_connection&&) noexcept;

  ~sqlite_connection();

  // -- properties -------------------------------------------------------------

  const std::string& file() const noexcept { return file_; }

  /// Returns whether the file that was opened is still there under its name. As
  /// `check` of a resource: one that was replaced is opened anew.
  bool ping() const noexcept;

  /// Returns whether the next request should have another connection: the file
  /// is corrupt or cannot be read, or a transaction was left open.
  bool broken() const noexcept;

  /// Returns the handle, for all that is not here.
  sqlite3* handle() const noexcept { return handle_.get(); }

  // -- operations -------------------------------------------------------------

  /// Runs one statement, with `values` for its parameters, to its end, or until
  /// `stop` is requested: pass `ctx.stop_token()`.
  ///
  /// Shape:  all rows, in order.
  /// Errors: throws `sqlite_error`; SQLITE_INTERRUPT if it was stopped. What is
  ///         no statement, or more than one, is SQLITE_MISUSE; one that would
  ///         write where it must not, SQLITE_READONLY.
  std::vector<row> query(const std::string& sql, const row& values = {},
                         const std::stop_token& stop = {});

  /// As `query`, but hands each row to `rows` as it comes; what that throws
  /// ends the statement. None: they are counted only.
  summary run(const std::string& sql, const row& values, const sink& rows,
              const std::stop_token& stop = {});

  /// Runs all statements of a script, dropping their rows.
  ///
  /// Errors: as `query`; the statements before the failed one have run.
  void execute(const std::string& script, const std::stop_token& stop = {});

private:
  struct closer {
    void operator()(sqlite3* handle) const noexcept;
  };

  class running;

  [[noreturn]] void fail(const std::string& operation);

  std::string file_;
  mode mode_;
  std::uint64_t device_ = 0;
  std::uint64_t inode_ = 0;
  bool spoilt_ = false;
  std::unique_ptr<sqlite3, closer> handle_;
};

} // namespace troupe
