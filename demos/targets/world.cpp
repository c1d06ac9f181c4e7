// Building the world; see the header.
#include "world.hpp"

#include "folder_walk.hpp"

#include "troupe/sqlite_connection.hpp"

#include <httplib.h>

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace targets {

namespace {

[[noreturn]] void fail(const std::string& what, const std::string& why) {
  throw std::runtime_error{"cannot " + what + ": " + why};
}

// -- pages --------------------------------------------------------------------

// How long the server thinks about page `number`: 5 to 20 ms, as a nearby
// service might.
std::chrono::milliseconds delay(int number) {
  return std::chrono::milliseconds{5 + number * 7 % 16};
}

// Every fortieth page is missing, every eightieth fails on the server.
bool is_missing(std::size_t number) {
  return number % 40 == 20;
}

bool is_broken(std::size_t number) {
  return number % 80 == 50;
}

// -- files --------------------------------------------------------------------

// Large files would hide the many small ones.
constexpr off_t largest_file = 1 << 20;

// Finds regular files that this process can read, a part of them in each of
// some folders that nearly all machines have.
std::vector<std::string> find_files(std::size_t wanted) {
  static constexpr const char* roots[] = {"/usr/include", "/usr/share", "/etc",
                                          "/usr/lib", "/usr/bin"};
  std::vector<std::string> result;
  auto quota = wanted / 4;
  for (auto* root : roots) {
    folder_walk walk{root, false};
    auto left = std::min(quota, wanted - result.size());
    while (left > 0) {
      auto found = walk.next();
      if (!found)
        break;
      struct stat info;
      if (found->problem.empty() && stat(found->text.c_str(), &info) == 0
          && info.st_size <= largest_file
          && access(found->text.c_str(), R_OK) == 0) {
        result.push_back(std::move(found->text));
        --left;
      }
    }
  }
  return result;
}

// -- database -----------------------------------------------------------------

void make_database(const std::string& path) {
  auto script = "BEGIN;"
                "CREATE TABLE item(id INTEGER PRIMARY KEY, shelf INTEGER, name "
                "TEXT, price REAL);"
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM "
                "n WHERE i < "
                + std::to_string(world::rows)
                + ") INSERT INTO item SELECT i, i % 97, printf('item %05d', i "
                  "* 7919 % 20011), i * 31 % 1000 / 10.0 FROM n;"
                  "COMMIT;";
  troupe::sqlite_connection{path}.execute(script);
}

// Returns one of some questions that somebody might ask of such a table; those
// by name and by price have to look at all rows.
std::string query(std::size_t number) {
  auto text = std::to_string(number % 97);
  switch (number % 4) {
  case 0:
    return "SELECT * FROM item WHERE shelf = " + text;
  case 1:
    return "SELECT shelf, count(*), avg(price) FROM item GROUP BY shelf";
  case 2:
    return "SELECT id FROM item WHERE name LIKE '%" + text + "%'";
  default:
    return "SELECT id, price FROM item ORDER BY price DESC LIMIT " + text;
  }
}

} // namespace

// -- the server ---------------------------------------------------------------

class world::server {
public:
  explicit server(std::size_t connections) {
    // A connection that is kept alive holds one of the server's threads.
    http_.new_task_queue = [connections] {
      return new httplib::ThreadPool(connections);
    };
    http_.set_tcp_nodelay(true);
    http_.set_keep_alive_max_count(1'000'000);
    // Also how long ~server waits for a client that keeps its connection.
    http_.set_keep_alive_timeout(1);
    http_.Get(
        R"(/(page|missing|broken)/(\d+))",
        [](const httplib::Request& asked, httplib::Response& answer) {
          auto what = asked.matches[1].str();
          auto number = std::stoi(asked.matches[2].str());
          std::this_thread::sleep_for(delay(number));
          answer.status = what == "page" ? 200 : what == "missing" ? 404 : 500;
          auto size = static_cast<std::size_t>(1024 + number * 37);
          answer.set_content(std::string(size, 'x'), "text/plain");
        });
    auto listener = INVALID_SOCKET;
    http_.set_socket_options([&](socket_t made) { listener = made; });
    port_ = http_.bind_to_any_port("127.0.0.1");
    // httplib lets five clients wait to be accepted. The kernel drops the
    // others, who try again a second later.
    if (port_ <= 0 || listen(listener, static_cast<int>(connections)) != 0)
      fail("start an HTTP server on 127.0.0.1", std::strerror(errno));
    thread_ = std::thread{[this] { http_.listen_after_bind(); }};
    // A server that is told to stop before it runs goes on for ever.
    while (!http_.is_running())
      std::this_thread::yield();
  }

  ~server() {
    http_.stop();
    thread_.join();
  }

  std::string url(const char* what, std::size_t number) const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/" + what + "/"
           + std::to_string(number);
  }

private:
  httplib::Server http_;
  int port_ = 0;
  std::thread thread_;
};

// -- the folder ---------------------------------------------------------------

class world::folder {
public:
  folder() {
    std::error_code error;
    auto base = std::filesystem::temp_directory_path(error);
    path_ = (error ? "/tmp" : base.string()) + "/"
            + program_invocation_short_name + "-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr)
      fail("make a temporary folder '" + path_ + "'", std::strerror(errno));
  }

  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string file(const char* name) const { return path_ + "/" + name; }

private:
  std::string path_;
};

// -- the whole ----------------------------------------------------------------

world::world(std::size_t connections)
    : folder_{std::make_unique<folder>()},
      server_{std::make_unique<server>(connections)} {
  auto database = folder_->file("items.db");
  make_database(database);
  auto found = find_files(files - 1);
  auto add = [this](std::string text, bool fails) {
    if (fails)
      expected_failures_.insert(text);
    targets_.push_back(parse_target(std::move(text)));
  };
  // Two pages, two files and a query in turn.
  std::size_t next_file = 0;
  auto add_file = [&] {
    if (next_file < found.size())
      add(found[next_file++], false);
    else if (next_file++ == found.size())
      add(folder_->file("no-such-file"), true);
  };
  for (std::size_t i = 0; i < queries; ++i) {
    for (auto page : {2 * i, 2 * i + 1}) {
      if (is_missing(page))
        add(server_->url("missing", page), true);
      else if (is_broken(page))
        add(server_->url("broken", page), true);
      else
        add(server_->url("page", page), false);
      add_file();
    }
    auto fails = i == queries / 2;
    add("sqlite:" + database + "?"
            + (fails ? "SELECT * FROM no_such_table" : query(i)),
        fails);
  }
  for (std::size_t i = 0; i < targets_.size(); ++i)
    targets_[i].position =
        static_cast<double>(i + 1) / static_cast<double>(targets_.size());
}

world::~world() = default;

} // namespace targets
