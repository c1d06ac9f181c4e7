// Walking one folder; see the header.
#include "folder_walk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace targets {

namespace {

enum entry : char { folder = 'd', file = 'f', link = 'l', special = 's' };

entry from_mode(mode_t mode) {
  if (S_ISDIR(mode))
    return folder;
  if (S_ISREG(mode))
    return file;
  return S_ISLNK(mode) ? link : special;
}

// Says what an entry of an open folder is.
entry classify(int dir_fd, const dirent& found, bool follow) {
  switch (found.d_type) {
  case DT_DIR:
    return folder;
  case DT_REG:
    return file;
  case DT_LNK:
    if (!follow)
      return link;
    break;
  case DT_UNKNOWN:
    break;
  default:
    return special;
  }
  struct stat info;
  auto flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
  if (fstatat(dir_fd, found.d_name, &info, flags) == 0)
    return from_mode(info.st_mode);
  // Gone or dangling: as a file, it fails later with its cause.
  return file;
}

bool is_dot(const char* name) {
  return std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0;
}

std::string join(const std::string& folder_path, const char* name) {
  std::string result;
  result.reserve(folder_path.size() + 1 + std::strlen(name));
  result = folder_path;
  if (!result.ends_with('/'))
    result += '/';
  return result += name;
}

std::string cannot_list(int error) {
  return std::string{"cannot list folder: "} + std::strerror(error);
}

struct dir_closer {
  void operator()(DIR* dir) const noexcept { closedir(dir); }
};

} // namespace

folder_walk::folder_walk(std::string path, bool follow) : follow_{follow} {
  if (auto problem = enter(path, true, 0, 1))
    first_problem_ =
        target{kind::file, std::move(path), std::move(*problem), 1.0};
}

std::optional<std::string> folder_walk::enter(std::string path,
                                              bool may_be_link, double from,
                                              double width) {
  auto flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK;
  auto fd = open(path.c_str(), may_be_link ? flags : flags | O_NOFOLLOW);
  if (fd < 0)
    return cannot_list(errno);
  auto dir = std::unique_ptr<DIR, dir_closer>{fdopendir(fd)};
  if (!dir) {
    auto error = errno;
    close(fd);
    return cannot_list(error);
  }
  struct stat info;
  if (fstat(fd, &info) != 0)
    return cannot_list(errno);
  // Neither links that are followed nor bind mounts may lead round in circles.
  auto same = [&](const level& above) {
    return above.device == info.st_dev && above.inode == info.st_ino;
  };
  auto above = std::find_if(levels_.begin(), levels_.end(), same);
  if (above != levels_.end())
    return "directory loop: it is the folder '" + above->path
           + "' that it lies in";
  level found{.path = std::move(path),
              .device = info.st_dev,
              .inode = info.st_ino,
              .names = {},
              .starts = {},
              .from = from,
              .width = width};
  for (;;) {
    errno = 0;
    auto* entry = readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0)
        return cannot_list(errno);
      break;
    }
    if (is_dot(entry->d_name))
      continue;
    switch (auto what = classify(fd, *entry, follow_)) {
    case link:
      ++skipped_.links;
      break;
    case special:
      ++skipped_.specials;
      break;
    default:
      found.starts.push_back(found.names.size());
      found.names += what;
      found.names.append(entry->d_name, std::strlen(entry->d_name) + 1);
    }
  }
  // The order in which a file system lists names is its own affair; sorted,
  // the output is the same on every run.
  std::sort(found.starts.begin(), found.starts.end(),
            [&names = found.names](std::size_t lhs, std::size_t rhs) {
              return std::strcmp(&names[lhs + 1], &names[rhs + 1]) < 0;
            });
  levels_.push_back(std::move(found));
  return std::nullopt;
}

std::optional<target> folder_walk::next() {
  if (first_problem_)
    return std::exchange(first_problem_, std::nullopt);
  while (!levels_.empty()) {
    auto& top = levels_.back();
    if (top.next == top.starts.size()) {
      levels_.pop_back();
      continue;
    }
    auto width = top.width / static_cast<double>(top.starts.size());
    auto from = top.from + width * static_cast<double>(top.next);
    auto* found = &top.names[top.starts[top.next++]];
    auto path = join(top.path, found + 1);
    if (*found == file)
      return target{kind::file, std::move(path), {}, from + width};
    // `top` and `found` are gone after this.
    if (auto problem = enter(path, follow_, from, width))
      return target{kind::file, std::move(path), std::move(*problem),
                    from + width};
  }
  return std::nullopt;
}

} // namespace targets
