// mirror fetches all URLs of a list into a folder, many at once but few from
// one host, and only those that are not there yet.
//
//   mirror --into=pages http://example.org/ http://example.org/a.css
//   mirror --into=pages --list=urls.txt --hedge-after=2s --deadline=10min
//   sort -u urls.txt | mirror --into=pages --list=- --per-host=2
//
// A file is in the folder when it is whole, and never before: whatever ends a
// run, the next one goes on where it was.
//
// Exit status: 0 when all URLs are there, 1 when some failed or the deadline
// came first, 2 for bad usage, 130 after SIGINT.

#include "options.hpp"
#include "parts/folder.hpp"
#include "run.hpp"
#include "url_source.hpp"

#include "parts/interrupt.hpp"
#include "parts/progress_bar.hpp"
#include "parts/standard_files.hpp"
#include "parts/text.hpp"

#include "troupe/dashboard.hpp"

#include <caf/actor_system.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace mirror {

namespace {

enum status : int { all_there = 0, some_missing = 1, bad_usage = 2 };

int leave(int status, const std::string& line) {
  std::fprintf(stderr, "mirror: %s\n", line.c_str());
  return status;
}

std::string summary(const ending& end) {
  using parts::human_count;
  return fmt::format("fetched {}, already there {}, failed {}; {} in {}; "
                     "hedged {}, retried {}",
                     human_count(end.fetched), human_count(end.there),
                     human_count(end.failed), parts::human_bytes(end.bytes),
                     parts::human(end.elapsed), human_count(end.hedged),
                     human_count(end.retried));
}

std::string cut_short(const ending& end, const std::string& why) {
  return fmt::format("{}: {} stopped on the way, {}{} never started", why,
                     parts::human_count(end.stopped),
                     end.at_least ? "at least " : "",
                     parts::human_count(end.never_started));
}

int run_once(options& opts, parts::interrupt& stopping,
             std::shared_ptr<const parts::folder> into,
             std::shared_ptr<url_source> source) {
  caf::actor_system sys{opts};
  troupe::dashboard page{opts.dashboard()};
  // Made before the bar, which looks at the run, and used by the run.
  parts::progress_bar* screen = nullptr;
  run fan{sys,
          opts.how(),
          std::move(into),
          std::move(source),
          stopping.token(),
          [&screen](const std::string& url, const std::string& cause) {
            screen->aside([&] {
              std::fprintf(stderr, "failed: %s: %s\n",
                           parts::printable(url).c_str(),
                           parts::printable(cause).c_str());
            });
          }};
  parts::progress_bar bar{parts::progress_bar::fits(),
                          [&fan] { return fan.look(); }};
  screen = &bar;
  auto end = fan.execute();
  auto cut = end.stopped > 0 || end.never_started > 0 || end.at_least;
  auto text = summary(end) + "\n";
  if (stopping.signal())
    text += cut_short(end, "interrupted") + "\n";
  else if (cut)
    text += cut_short(end, "the deadline passed") + "\n";
  auto error = 0;
  bar.aside([&] {
    // Flushed here, where the cause is still known: a failure that a flush has
    // told of is forgotten by the next one.
    if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
      error = errno;
  });
  if (error != 0)
    return leave(some_missing, std::string{"cannot write to standard output: "}
                                   + std::strerror(error));
  if (auto signal = stopping.signal())
    return 128 + *signal;
  return end.failed == 0 && !cut ? all_there : some_missing;
}

int main(int argc, char** argv) {
  parts::fill_standard_files();
  options opts;
  if (auto status = opts.parse_command_line(argc, argv))
    return *status;
  // A server that goes away is an error of that write and not the end of the
  // process.
  std::signal(SIGPIPE, SIG_IGN);
  // Before all other threads, which are to leave its signals alone.
  parts::interrupt stopping;
  std::shared_ptr<url_source> source;
  std::shared_ptr<const parts::folder> into;
  try {
    opts.check();
    source = std::make_shared<url_source>(opts.arguments(), opts.list());
    into = std::make_shared<const parts::folder>(opts.into(), "mirror");
  } catch (const std::exception& error) {
    return leave(bad_usage, error.what());
  }
  return run_once(opts, stopping, std::move(into), std::move(source));
}

} // namespace

} // namespace mirror

int main(int argc, char** argv) {
  try {
    return mirror::main(argc, argv);
  } catch (const std::exception& error) {
    return mirror::leave(mirror::some_missing, error.what());
  }
}
