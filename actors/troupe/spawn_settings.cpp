#include "troupe/spawn_settings.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

namespace troupe {

spawn_settings::spawn_settings(std::initializer_list<int> signals) {
  posix_spawn_file_actions_init(&actions_);
  posix_spawnattr_init(&attributes_);
  posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null",
                                   O_RDONLY, 0);
  // Who starts it is a worker, and those block signals.
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes_, &none);
  sigset_t fresh;
  sigemptyset(&fresh);
  for (auto number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD})
    sigaddset(&fresh, number);
  for (auto number : signals)
    sigaddset(&fresh, number);
  posix_spawnattr_setsigdefault(&attributes_, &fresh);
  posix_spawnattr_setpgroup(&attributes_, 0);
  posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK
                                             | POSIX_SPAWN_SETSIGDEF
                                             | POSIX_SPAWN_SETPGROUP);
}

spawn_settings::~spawn_settings() {
  posix_spawn_file_actions_destroy(&actions_);
  posix_spawnattr_destroy(&attributes_);
}

void spawn_settings::place(int fd, int number) {
  posix_spawn_file_actions_adddup2(&actions_, fd, number);
}

void spawn_settings::close_from(int number) {
  posix_spawn_file_actions_addclosefrom_np(&actions_, number);
}

int spawn_settings::start(pid_t& made, std::vector<std::string> words) const {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (auto& word : words)
    argv.push_back(word.data());
  argv.push_back(nullptr);
  return ::posix_spawnp(&made, argv.front(), &actions_, &attributes_,
                        argv.data(), environ);
}

} // namespace troupe
