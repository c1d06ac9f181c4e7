// Queries over SQLite; see the header.
#include "sqlite_client.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace targets {

using troupe::sqlite_connection;

std::uint64_t sqlite_client::count_rows(const std::string& file,
                                        const std::string& query,
                                        const std::stop_token& stop) {
  auto& database = connect(file);
  try {
    auto what = database.run(query, {}, {}, stop);
    // BEGIN or ATTACH would outlast this request in its connection.
    if (what.columns == 0)
      throw std::runtime_error{"cannot run the query: it asks for no rows"};
    return what.rows;
  } catch (const std::exception& error) {
    // After a failure, the next query on this file finds it as it is then.
    connections_.pop_front();
    if (auto* of_sqlite = dynamic_cast<const troupe::sqlite_error*>(&error))
      throw std::runtime_error{"cannot run the query: " + of_sqlite->cause()};
    throw;
  }
}

sqlite_connection& sqlite_client::connect(const std::string& file) {
  struct stat info;
  if (stat(file.c_str(), &info) != 0)
    throw std::runtime_error{std::string{"cannot open the database: "}
                             + std::strerror(errno)};
  // Opening a FIFO would wait for a writer.
  if (!S_ISREG(info.st_mode))
    throw std::runtime_error{"cannot open the database: not a regular file"};
  auto found = std::find_if(
      connections_.begin(), connections_.end(),
      [&](const sqlite_connection& open) { return open.file() == file; });
  if (found != connections_.end()) {
    // It may be another file by now.
    if (found->ping()) {
      connections_.splice(connections_.begin(), connections_, found);
      return connections_.front();
    }
    connections_.erase(found);
  }
  try {
    connections_.emplace_front(file, sqlite_connection::mode::read_only);
  } catch (const troupe::sqlite_error& error) {
    throw std::runtime_error{"cannot open the database: " + error.cause()};
  }
  if (connections_.size() > most_connections)
    connections_.pop_back();
  return connections_.front();
}

} // namespace targets
