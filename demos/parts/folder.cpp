// Files that appear whole; see the header.
#include "folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace parts {

namespace {

[[noreturn]] void fail(std::string_view what, int error) {
  throw std::runtime_error{
      fmt::format("cannot {}: {}", what, std::strerror(error))};
}

} // namespace

folder::folder(std::string path, const std::string& program)
    : path_{std::move(path)}, hidden_{"." + program} {
  auto opening = fmt::format("{} into '{}'", program, path_);
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  fd_ = unique_fd{open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd_)
    fail(opening, error ? error.value() : errno);
  if (flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      fail(opening, errno);
    throw std::runtime_error{opening.insert(0, "cannot ")
                             + ": another process does so right now"};
  }
  // Whoever wrote there is gone: the folder is locked.
  std::filesystem::remove_all(path_ + "/" + hidden_, error);
  if (mkdirat(fd_.get(), hidden_.c_str(), 0777) != 0)
    fail(opening, errno);
  parts_ = unique_fd{
      openat(fd_.get(), hidden_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!parts_)
    fail(opening, errno);
}

folder::~folder() {
  if (parts_)
    unlinkat(fd_.get(), hidden_.c_str(), AT_REMOVEDIR);
}

bool folder::has(const std::string& place) const {
  struct stat found;
  // Fails if there is nothing, or if it cannot be reached: then writing it will
  // say why.
  if (fstatat(fd_.get(), place.c_str(), &found, 0) != 0)
    return false;
  if (S_ISDIR(found.st_mode))
    throw std::runtime_error{
        fmt::format("cannot put it at '{}': a folder is there, which another "
                    "URL needs",
                    place)};
  return true;
}

void folder::make_way(const std::string& place) const {
  for (auto slash = place.find('/'); slash != std::string::npos;
       slash = place.find('/', slash + 1)) {
    auto way = place.substr(0, slash);
    if (mkdirat(fd_.get(), way.c_str(), 0777) == 0)
      continue;
    auto error = errno;
    struct stat found;
    if (error != EEXIST || fstatat(fd_.get(), way.c_str(), &found, 0) != 0)
      fail(fmt::format("make the folder '{}'", way), error);
    if (!S_ISDIR(found.st_mode))
      throw std::runtime_error{
          fmt::format("cannot make the folder '{}': a file is there, which "
                      "another URL has brought",
                      way)};
  }
}

// -- part ---------------------------------------------------------------------

part::part(const folder& home)
    : home_{home}, name_{std::to_string(++home.made_)} {
  fd_ = unique_fd{openat(home_.parts_.get(), name_.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
  if (!fd_)
    fail("write a new file", errno);
}

part::~part() {
  if (!kept_)
    unlinkat(home_.parts_.get(), name_.c_str(), 0);
}

void part::write(std::string_view bytes) {
  while (!bytes.empty()) {
    auto done = ::write(fd_.get(), bytes.data(), bytes.size());
    if (done < 0 && errno != EINTR)
      fail("write the file", errno);
    if (done > 0)
      bytes.remove_prefix(static_cast<std::size_t>(done));
  }
}

void part::keep_as(const std::string& place) {
  home_.make_way(place);
  // Otherwise a machine that loses its power may keep the new name and lose
  // what it stands for. Also tells what only shows at the end, such as a quota.
  if (fdatasync(fd_.get()) != 0)
    fail("write the file to the disk", errno);
  if (renameat(home_.parts_.get(), name_.c_str(), home_.fd_.get(),
               place.c_str())
      != 0)
    fail(fmt::format("put it at '{}'", place), errno);
  kept_ = true;
}

} // namespace parts
