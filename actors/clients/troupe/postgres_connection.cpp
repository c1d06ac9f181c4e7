#include "troupe/postgres_connection.hpp"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace troupe {

namespace {

using std::chrono::steady_clock;

// How long connecting may take where nobody says, in seconds. A guess.
constexpr auto connect_timeout = "10";

// A cancel that arrives before the statement has no effect, so it is sent again
// after this, until the server has answered. A guess.
constexpr auto cancel_interval = std::chrono::milliseconds{100};

// How long a server may take to answer a cancel before it counts as gone.
constexpr auto cancel_patience = std::chrono::seconds{5};

// The most of a statement that an error shows.
constexpr std::size_t most_shown = 200;

// The sqlstate of a statement that was cancelled.
constexpr auto query_canceled = "57014";

std::string shown(std::string_view sql) {
  return sql.size() <= most_shown
             ? fmt::format("'{}'", sql)
             : fmt::format("'{}...'", sql.substr(0, most_shown));
}

// libpq ends its texts with a line break.
std::string trimmed(std::string_view text) {
  auto end = text.find_last_not_of(" \r\n");
  return std::string{
      text.substr(0, end == std::string_view::npos ? 0 : end + 1)};
}

struct result_closer {
  void operator()(PGresult* what) const noexcept { PQclear(what); }
};

using result_ptr = std::unique_ptr<PGresult, result_closer>;

// Where the server is, without the password that may be in the address.
std::string where(const PGconn* handle) {
  auto text = [](const char* value) { return value ? value : ""; };
  return fmt::format("host={} port={} dbname={}", text(PQhost(handle)),
                     text(PQport(handle)), text(PQdb(handle)));
}

// Makes a poll return when a token is stopped.
class stop_signal {
public:
  stop_signal() : fd_{eventfd(0, EFD_CLOEXEC)} {
    if (fd_ < 0)
      throw postgres_error{
          fmt::format("cannot wait for a server: {}", std::strerror(errno)),
          {},
          false};
  }

  stop_signal(const stop_signal&) = delete;
  stop_signal& operator=(const stop_signal&) = delete;

  ~stop_signal() { close(fd_); }

  int fd() const noexcept { return fd_; }

  void raise() const noexcept { eventfd_write(fd_, 1); }

private:
  int fd_;
};

// Asks the server to cancel what it does for `handle`.
void cancel(PGconn* handle) noexcept {
  if (auto* request = PQgetCancel(handle)) {
    char ignored[256];
    PQcancel(request, ignored, sizeof ignored);
    PQfreeCancel(request);
  }
}

postgres_result read(const PGresult* from) {
  postgres_result result;
  auto columns = PQnfields(from);
  for (int i = 0; i < columns; ++i)
    result.columns.emplace_back(PQfname(from, i));
  auto rows = PQntuples(from);
  result.rows.reserve(static_cast<std::size_t>(rows));
  for (int i = 0; i < rows; ++i) {
    auto& row = result.rows.emplace_back();
    row.reserve(static_cast<std::size_t>(columns));
    for (int j = 0; j < columns; ++j)
      if (PQgetisnull(from, i, j))
        row.emplace_back();
      else
        row.emplace_back(
            std::string{PQgetvalue(from, i, j),
                        static_cast<std::size_t>(PQgetlength(from, i, j))});
  }
  std::string_view affected = PQcmdTuples(const_cast<PGresult*>(from));
  std::from_chars(affected.data(), affected.data() + affected.size(),
                  result.affected);
  return result;
}

} // namespace

postgres_error::postgres_error(const std::string& text, std::string sqlstate,
                               bool connection_lost)
    : std::runtime_error{text},
      sqlstate_{std::make_shared<const std::string>(std::move(sqlstate))},
      connection_lost_{connection_lost} {}

// -- construction -------------------------------------------------------------

void postgres_connection::closer::operator()(pg_conn* handle) const noexcept {
  PQfinish(handle);
}

postgres_connection::postgres_connection(const std::string& address) {
  // Of two with the same name the later one counts, so this is what holds if
  // the address does not say.
  const char* names[] = {"connect_timeout", "fallback_application_name",
                         "dbname", nullptr};
  const char* values[] = {connect_timeout, "troupe", address.c_str(), nullptr};
  handle_.reset(PQconnectdbParams(names, values, 1));
  if (!handle_)
    throw postgres_error{
        "cannot connect to PostgreSQL: out of memory", {}, true};
  if (PQstatus(handle_.get()) != CONNECTION_OK)
    throw postgres_error{fmt::format("cannot connect to PostgreSQL ({}): {}",
                                     where(handle_.get()),
                                     trimmed(PQerrorMessage(handle_.get()))),
                         {},
                         true};
  // What the server remarks beside its answers would go to standard error.
  PQsetNoticeProcessor(
      handle_.get(), [](void*, const char*) {}, nullptr);
}

postgres_connection::postgres_connection(postgres_connection&&) noexcept =
    default;

postgres_connection&
postgres_connection::operator=(postgres_connection&&) noexcept = default;

postgres_connection::~postgres_connection() = default;

// -- properties ---------------------------------------------------------------

bool postgres_connection::broken() const noexcept {
  return given_up_ || PQstatus(handle_.get()) != CONNECTION_OK
         || PQtransactionStatus(handle_.get()) != PQTRANS_IDLE;
}

// -- operations ---------------------------------------------------------------

void postgres_connection::ping() {
  query("SELECT 1");
}

postgres_result
postgres_connection::query(const std::string& sql,
                           const std::vector<postgres_value>& values,
                           const std::stop_token& stop) {
  auto operation = fmt::format("cannot run {} on PostgreSQL", shown(sql));
  auto* handle = handle_.get();
  std::vector<const char*> texts;
  texts.reserve(values.size());
  for (auto& value : values)
    texts.push_back(value ? value->c_str() : nullptr);
  if (PQsendQueryParams(handle, sql.c_str(), static_cast<int>(texts.size()),
                        nullptr, texts.data(), nullptr, nullptr, 0)
      != 1)
    fail(operation);
  result_ptr last;
  for (;;) {
    wait_for_answer(operation, stop);
    result_ptr next{PQgetResult(handle)};
    if (!next)
      break;
    auto status = PQresultStatus(next.get());
    // Of these there would be one after another, for ever.
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT
        || status == PGRES_COPY_BOTH) {
      given_up_ = true;
      throw postgres_error{
          fmt::format("{}: COPY has no rows; use the handle for it", operation),
          {},
          false};
    }
    // The first error explains the ones that follow.
    if (!last || PQresultStatus(last.get()) != PGRES_FATAL_ERROR)
      last = std::move(next);
  }
  if (!last)
    fail(operation);
  auto status = PQresultStatus(last.get());
  if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK
      || status == PGRES_EMPTY_QUERY)
    return read(last.get());
  auto* state = PQresultErrorField(last.get(), PG_DIAG_SQLSTATE);
  throw postgres_error{fmt::format("{}: {}", operation,
                                   trimmed(PQresultErrorMessage(last.get()))),
                       state ? state : "", PQstatus(handle) != CONNECTION_OK};
}

// Blocks until PQgetResult does not; cancels when it is told to stop. Here and
// not in a hook, since sending a cancel may take a while, and whoever stops has
// other things to do.
void postgres_connection::wait_for_answer(const std::string& operation,
                                          const std::stop_token& stop) {
  auto* handle = handle_.get();
  std::optional<stop_signal> signal;
  auto raise = [&signal] { signal->raise(); };
  std::optional<std::stop_callback<decltype(raise)>> on_stop;
  if (stop.stop_possible()) {
    signal.emplace();
    on_stop.emplace(stop, raise);
  }
  auto since = steady_clock::time_point::max();
  for (;;) {
    // What is to be sent must be, or there is nothing to wait for.
    // A connection that breaks is for PQgetResult to tell, which may know from
    // the server why.
    auto unsent = PQflush(handle);
    if (unsent < 0 || (unsent == 0 && PQisBusy(handle) == 0))
      return;
    pollfd both[] = {{PQsocket(handle), POLLIN, 0},
                     {signal ? signal->fd() : -1, POLLIN, 0}};
    if (unsent > 0)
      both[0].events |= POLLOUT;
    auto stopped = stop.stop_requested();
    if (stopped) {
      // Raised for good; it would end every wait.
      both[1].fd = -1;
      auto now = steady_clock::now();
      since = std::min(since, now);
      if (now - since >= cancel_patience) {
        given_up_ = true;
        throw postgres_error{
            fmt::format("{}: the server did not answer when it was asked to "
                        "cancel",
                        operation),
            query_canceled, true};
      }
      cancel(handle);
    }
    auto patience = stopped ? static_cast<int>(cancel_interval.count()) : -1;
    if (poll(both, 2, patience) < 0 && errno != EINTR)
      throw postgres_error{
          fmt::format("{}: {}", operation, std::strerror(errno)), {}, false};
    if (both[0].revents != 0 && PQconsumeInput(handle) != 1)
      return;
  }
}

void postgres_connection::fail(const std::string& operation) {
  auto lost = PQstatus(handle_.get()) != CONNECTION_OK;
  throw postgres_error{
      fmt::format("{}: {}", operation, trimmed(PQerrorMessage(handle_.get()))),
      {},
      lost};
}

} // namespace troupe
