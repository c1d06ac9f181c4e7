// A stranger's second program: the clients of the package that are installed,
// each asked for something. Its output is checked.
#ifdef HAS_SQLITE
#  include <troupe/sqlite_connection.hpp>
#endif
#ifdef HAS_POSTGRES
#  include <troupe/postgres_connection.hpp>
#endif
#ifdef HAS_HTTP
#  include <troupe/http_client.hpp>
#endif

#include <cstdio>

int main() {
#ifdef HAS_SQLITE
  troupe::sqlite_connection db{":memory:"};
  std::printf("sqlite %zu\n", db.query("SELECT 1 UNION SELECT 2").size());
#endif
#ifdef HAS_POSTGRES
  try {
    troupe::postgres_connection{"host=/nowhere"};
  } catch (const troupe::postgres_error& error) {
    std::printf("postgres %d\n", error.connection_lost() ? 1 : 0);
  }
#endif
#ifdef HAS_HTTP
  try {
    troupe::http_client{}.get("ftp://nowhere/");
  } catch (const troupe::http_error& error) {
    std::printf("http %d\n", error.may_pass() ? 1 : 0);
  }
#endif
}
