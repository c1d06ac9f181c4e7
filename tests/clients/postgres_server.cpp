// Starting and crashing a server; see the header.
#include "postgres_server.hpp"

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace test {

namespace {

namespace fs = std::filesystem;

void check(bool good, const std::string& operation) {
  if (!good)
    throw std::runtime_error{"cannot " + operation + ": "
                             + std::strerror(errno)};
}

} // namespace

std::optional<std::string> postgres_server::find_programs() {
  // Debian keeps them off the PATH, one folder for each major version.
  std::optional<std::string> found;
  auto newest = 0;
  std::error_code ignored;
  for (auto& entry : fs::directory_iterator{"/usr/lib/postgresql", ignored}) {
    auto version = std::atoi(entry.path().filename().c_str());
    auto programs = entry.path() / "bin";
    if (version > newest && fs::exists(programs / "initdb", ignored)) {
      newest = version;
      found = programs.string();
    }
  }
  if (found)
    return found;
  std::string_view path = std::getenv("PATH") ? std::getenv("PATH") : "";
  while (!path.empty()) {
    fs::path folder{path.substr(0, path.find(':'))};
    if (fs::exists(folder / "initdb", ignored)
        && fs::exists(folder / "postgres", ignored))
      return folder.string();
    auto colon = path.find(':');
    path.remove_prefix(colon == path.npos ? path.size() : colon + 1);
  }
  return std::nullopt;
}

postgres_server::postgres_server() {
  auto programs = find_programs();
  if (!programs)
    throw std::runtime_error{"cannot start PostgreSQL: it is not installed"};
  programs_ = *programs;
  // The path of a socket has room for about a hundred characters only.
  folder_ = "/tmp/troupe-pg-XXXXXX";
  check(mkdtemp(folder_.data()) != nullptr, "make a temporary folder");
  if (getuid() == 0) {
    auto* user = getpwnam("postgres");
    if (user == nullptr)
      user = getpwnam("nobody");
    check(user != nullptr, "find a user to run PostgreSQL");
    user_ = user->pw_uid;
    group_ = user->pw_gid;
    check(chown(folder_.c_str(), *user_, group_) == 0,
          "give a folder to another user");
  }
  run({programs_ + "/initdb", "-D", folder_ + "/data", "-U", "troupe", "-A",
       "trust", "-E", "UTF8", "--locale=C", "--no-sync"});
  start();
}

postgres_server::~postgres_server() {
  if (pid_ > 0)
    crash();
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::string postgres_server::address() const {
  return "host=" + folder_ + " user=troupe dbname=postgres";
}

void postgres_server::start() {
  int both[2];
  check(pipe2(both, O_CLOEXEC) == 0, "make a pipe");
  pid_ =
      spawn({programs_ + "/postgres", "-D", folder_ + "/data", "-c",
             "listen_addresses=", "-c", "unix_socket_directories=" + folder_,
             "-c", "fsync=off", "-c", "shared_buffers=1MB", "-c",
             "dynamic_shared_memory_type=mmap", "-c", "logging_collector=off"},
            both[1]);
  close(both[1]);
  log_ = both[0];
  std::string said;
  char buffer[1024];
  while (said.find("ready to accept connections") == said.npos) {
    auto got = read(log_, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      crash();
      throw std::runtime_error{"cannot start PostgreSQL: " + said};
    }
    said.append(buffer, static_cast<std::size_t>(got));
  }
}

void postgres_server::crash() {
  // What PostgreSQL calls an immediate shutdown: all its processes are killed,
  // and the next start recovers. Killing the first process alone would leave
  // the others to find out.
  kill(pid_, SIGQUIT);
  waitpid(std::exchange(pid_, -1), nullptr, 0);
  close(std::exchange(log_, -1));
}

pid_t postgres_server::spawn(const std::vector<std::string>& command,
                             int output) const {
  std::vector<char*> argv;
  for (auto& word : command)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  auto child = fork();
  check(child >= 0, "start a process");
  if (child > 0)
    return child;
  // Only what is safe between fork and exec.
  if (user_
      && (setgroups(0, nullptr) != 0 || setgid(group_) != 0
          || setuid(*user_) != 0))
    _exit(126);
  // So that a test that is killed leaves no server behind. It would be
  // forgotten by a change of the user.
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  if (chdir(folder_.c_str()) != 0)
    _exit(126);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execv(argv[0], argv.data());
  _exit(127);
}

void postgres_server::run(const std::vector<std::string>& command) const {
  auto name = folder_ + "/output";
  auto output = open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(output >= 0, "make a file");
  auto child = spawn(command, output);
  close(output);
  int status = 0;
  check(waitpid(child, &status, 0) == child, "wait for a process");
  if (status != 0) {
    std::ifstream file{name};
    throw std::runtime_error{
        "cannot run " + command.front() + ": "
        + std::string{std::istreambuf_iterator<char>{file}, {}}};
  }
}

postgres_server* the_server() {
  static auto server = postgres_server::find_programs()
                           ? std::make_unique<postgres_server>()
                           : nullptr;
  if (!server)
    WARN("not tested: PostgreSQL is not installed");
  return server.get();
}

} // namespace test
