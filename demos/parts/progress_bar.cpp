// Drawing the bar; see the header.
#include "progress_bar.hpp"

#include "text.hpp"

#include <fmt/format.h>

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace parts {

namespace {

constexpr auto interval = std::chrono::milliseconds{100};

std::size_t terminal_columns() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return 80;
  return size.ws_col;
}

} // namespace

std::string draw(const progress& now, std::chrono::nanoseconds elapsed,
                 std::size_t columns) {
  auto seconds = std::chrono::duration<double>{elapsed}.count();
  auto words =
      fmt::format("{} done, {} failed, {:.1f} s", human_count(now.done),
                  human_count(now.failed), seconds);
  if (now.part) {
    constexpr std::size_t width = 30;
    auto part = std::clamp(*now.part, 0.0, 1.0);
    auto filled = static_cast<std::size_t>(part * width);
    words = fmt::format("[{:-<{}}] {:3.0f} %  {}", std::string(filled, '#'),
                        width, part * 100, words);
  }
  // A line that fills the last column wraps on some terminals.
  if (words.size() >= columns)
    words.resize(columns > 0 ? columns - 1 : 0);
  return words;
}

progress_bar::progress_bar(bool wanted, std::function<progress()> look)
    : look_{std::move(look)}, begin_{std::chrono::steady_clock::now()} {
  if (wanted)
    ticker_ = std::thread{[this] { show(); }};
}

progress_bar::~progress_bar() {
  {
    std::lock_guard guard{mutex_};
    done_ = true;
    put(clear);
    line_.clear();
  }
  changed_.notify_all();
  if (ticker_.joinable())
    ticker_.join();
}

bool progress_bar::fits() {
  struct stat out = {};
  return isatty(STDERR_FILENO) == 1
         && (fstat(STDOUT_FILENO, &out) != 0 || !S_ISFIFO(out.st_mode));
}

void progress_bar::put(const char* text) {
  if (!line_.empty())
    std::fputs(text, stderr);
}

void progress_bar::show() {
  std::unique_lock lock{mutex_};
  while (!changed_.wait_for(lock, interval, [this] { return done_; })) {
    auto elapsed = std::chrono::steady_clock::now() - begin_;
    put(clear);
    line_ = draw(look_(), elapsed, terminal_columns());
    put(line_.c_str());
  }
}

} // namespace parts
