// Writing the report; see the header.
#include "report_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace tune {

namespace {

// The mark of a report is before this.
constexpr std::size_t beginning = 1024;

[[noreturn]] void fail(const std::string& path, const std::string& why) {
  throw std::runtime_error{"cannot write the report '" + path + "': " + why};
}

// Fails before any work was done, when there is still a choice.
[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  fail(path,
       why + " (accepted: another path by --report=FILE, or --no-report)");
}

} // namespace

report_file::report_file(std::string path) : path_{std::move(path)} {
  auto open_it = [this](int how) {
    // Not blocking: a FIFO would wait for its reader.
    fd_ = parts::unique_fd{
        open(path_.c_str(), how | O_RDWR | O_CLOEXEC | O_NONBLOCK, 0666)};
    return static_cast<bool>(fd_);
  };
  fresh_ = open_it(O_CREAT | O_EXCL);
  if (fresh_)
    return;
  if (errno != EEXIST || !open_it(0))
    refuse(path_, std::strerror(errno));
  std::string found(beginning, '\0');
  auto got = pread(fd_.get(), found.data(), found.size(), 0);
  if (got < 0)
    refuse(path_, std::strerror(errno));
  found.resize(static_cast<std::size_t>(got));
  if (!found.empty() && found.find(report_mark) == std::string::npos)
    refuse(path_, "it is there, and is no report");
}

report_file::~report_file() {
  if (fresh_)
    unlink(path_.c_str());
}

void report_file::write(std::string_view report) {
  if (ftruncate(fd_.get(), 0) != 0 || lseek(fd_.get(), 0, SEEK_SET) != 0)
    fail(path_, std::strerror(errno));
  fresh_ = false;
  while (!report.empty()) {
    auto put = ::write(fd_.get(), report.data(), report.size());
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      fail(path_, std::strerror(errno));
    report.remove_prefix(static_cast<std::size_t>(put));
  }
}

} // namespace tune
