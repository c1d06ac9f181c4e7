// A connection to a PostgreSQL server, for one worker: a resource that says
// when it is of no more use, whose queries are cancelled on the server when
// they are told to stop, and whose errors have a type. A component of its own,
// troupe::postgres; needs nothing else of troupe, so it is of use to a plain
// thread, too.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

struct pg_conn;

namespace troupe {

/// What the server refused, or why it was not reached, in words: operation,
/// statement or address, cause.
class postgres_error : public std::runtime_error {
public:
  postgres_error(const std::string& text, std::string sqlstate,
                 bool connection_lost);

  /// Returns the five characters by which the SQL standard knows the error,
  /// such as "23505"; an empty text if the server did not say.
  const std::string& sqlstate() const noexcept { return *sqlstate_; }

  /// Returns whether there is no connection any more, or never was. Then nobody
  /// knows whether the statement ran.
  bool connection_lost() const noexcept { return connection_lost_; }

private:
  // Shared, since copying an exception must not throw.
  std::shared_ptr<const std::string> sqlstate_;
  bool connection_lost_;
};

/// A value of a row or of a parameter, as text; none is NULL.
using postgres_value = std::optional<std::string>;

/// What came of a statement.
struct postgres_result {
  std::vector<std::string> columns;
  std::vector<std::vector<postgres_value>> rows;
  /// Rows that it inserted, changed, deleted or returned.
  std::uint64_t affected = 0;
};

/// A blocking connection to one server. Belongs to one thread at a time; what
/// is asked to stop it by a token may be asked from any.
class postgres_connection {
public:
  /// Connects as `address` says, in libpq's words: "host=db user=me dbname=x",
  /// or "postgresql://me@db/x". What is left out comes from libpq's environment
  /// variables.
  ///
  /// Units:  gives up after 10 s, unless `address` has a connect_timeout.
  /// Errors: throws `postgres_error`.
  explicit postgres_connection(const std::string& address);

  postgres_connection(postgres_connection&&) noexcept;
  postgres_connection& operator=(postgres_connection&&) noexcept;

  ~postgres_connection();

  // -- properties -------------------------------------------------------------

  /// Returns whether the next request should have another connection: this one
  /// is lost, or a transaction was left open.
  bool broken() const noexcept;

  /// Returns the handle, for all that is not here.
  pg_conn* handle() const noexcept { return handle_.get(); }

  // -- operations -------------------------------------------------------------

  /// Asks the server whether it is there. As `check` of a resource.
  ///
  /// Errors: throws `postgres_error`.
  void ping();

  /// Runs one statement, with `values` for $1, $2 and so on, until it is
  /// complete. When `stop` is requested, has the server cancel it: pass
  /// `ctx.stop_token()`.
  ///
  /// Shape:  all rows, in order.
  /// Units:  a server that does not answer a cancel within 5 s is given up, and
  ///         the connection with it.
  /// Errors: throws `postgres_error`; its sqlstate is "57014" if it was
  ///         stopped.
  postgres_result query(const std::string& sql,
                        const std::vector<postgres_value>& values = {},
                        const std::stop_token& stop = {});

private:
  struct closer {
    void operator()(pg_conn* handle) const noexcept;
  };

  void wait_for_answer(const std::string& operation,
                       const std::stop_token& stop);
  [[noreturn]] void fail(const std::string& operation);

  std::unique_ptr<pg_conn, closer> handle_;
  bool given_up_ = false;
};

} // namespace troupe
