// tune finds out how many workers your own work needs: it does the work on
// pools of 1, 2, 4 ... workers, then of sizes around the knee, several rounds
// each, and says from where on more workers bring nothing.
//
//   tune                                a small world of its own: pages, files
//                                       and queries, as in fanout
//   tune http://example.org/ http://example.org/a.css
//   tune --list=urls.txt --rounds=5
//   tune --command='convert {} -resize 50% /tmp/out/{}' *.png
//   find . -name '*.gz' | tune --command='gzip -t {}' --list=-
//
// A command is run many times for each line, so it must bear that; never twice
// at once for the same line. What it is given and what becomes of its output is
// in command.hpp and work.hpp.
//
// Exit status: 0 when there is a recommendation, 1 when all failed, 2 for bad
// usage, 130 after SIGINT.

#include "crew.hpp"
#include "lines.hpp"
#include "options.hpp"
#include "page.hpp"
#include "report.hpp"
#include "report_file.hpp"
#include "sweep.hpp"
#include "work.hpp"

#include "parts/interrupt.hpp"
#include "parts/progress_bar.hpp"
#include "parts/standard_files.hpp"
#include "parts/text.hpp"
#include "targets/target_source.hpp"
#include "targets/world.hpp"

#include "troupe/advisor.hpp"
#include "troupe/dashboard.hpp"
#include "troupe/worker_process.hpp"

#include <caf/actor_system.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tune {

namespace {

enum status : int { recommended = 0, all_failed = 1, bad_usage = 2 };

// The part of the time that the first touch of all items may take.
constexpr auto warm_up_share = 10;
constexpr std::size_t warm_up_workers = 8;

int leave(int status, const std::string& line) {
  std::fprintf(stderr, "tune: %s\n", line.c_str());
  return status;
}

// What the command line asks for.
struct order {
  std::unique_ptr<work> what;
  // As sentences call it.
  std::string name;
  // Is asked for, if that is the work.
  std::unique_ptr<targets::world> world;
};

std::vector<targets::target> all_targets(const options& opts,
                                         const std::stop_token& stop) {
  targets::target_source source{{.arguments = opts.arguments(),
                                 .list = opts.list(),
                                 .follow = opts.follow()}};
  std::stop_callback close{stop, [&source] { source.close(); }};
  std::vector<targets::target> result;
  while (auto found = source.next())
    result.push_back(std::move(*found));
  return result;
}

// The world without what has to fail in it, which proves nothing here.
std::vector<targets::target> targets_of(const targets::world& from) {
  std::vector<targets::target> result;
  for (const auto& what : from.targets())
    if (!from.expected_failures().contains(what.text))
      result.push_back(what);
  return result;
}

std::string counted(std::size_t count, const char* noun) {
  return fmt::format("{} {}{}", parts::human_count(count), noun,
                     count == 1 ? "" : "s");
}

order open_order(const options& opts, const std::stop_token& stop) {
  if (const auto& what = opts.what()) {
    if (auto why = troupe::why_not_executable(what->program()); !why.empty())
      throw std::runtime_error{fmt::format(
          "cannot execute '{}': {} (accepted: a path, or a name in PATH)",
          parts::printable(what->program()), why)};
    auto lines = read_lines(opts.arguments(), opts.list(), stop);
    if (lines.empty())
      throw std::runtime_error{"no lines to run the command for: the input is "
                               "empty"};
    auto name =
        fmt::format("{}, for each of {}", parts::printable(opts.command_text()),
                    counted(lines.size(), "line"));
    return {work_on(*what, std::move(lines), opts.show()), name, nullptr};
  }
  if (opts.own_world()) {
    auto world = std::make_unique<targets::world>(opts.most());
    auto list = targets_of(*world);
    auto name = counted(list.size(), "target")
                + " of a small world: pages, files and queries";
    return {work_on(std::move(list)), name, std::move(world)};
  }
  auto list = all_targets(opts, stop);
  if (list.empty())
    throw std::runtime_error{"no targets: the input is empty"};
  auto name = list.size() == 1 ? parts::printable(list.front().text)
                               : counted(list.size(), "target");
  return {work_on(std::move(list)), name, nullptr};
}

std::string announcement(const options& opts, const order& what,
                         std::size_t most) {
  auto text = fmt::format(
      "tune: {}: {} with each number of workers, 1 to {}, "
      "about {} s in all\n",
      what.name, counted(opts.rounds(), "round"), most,
      std::chrono::ceil<std::chrono::seconds>(opts.budget()).count());
  if (opts.what() && !opts.what()->takes_line())
    text += "tune: the command has no '{}': it is the same for each line\n";
  if (opts.what())
    text += "tune: this runs the command MANY TIMES for each line, though "
            "never twice at once for one; Ctrl-C ends it\n";
  return text;
}

// One tuning: from the first request to the report.
class tuning {
public:
  tuning(caf::actor_system& sys, const options& opts,
         parts::interrupt& stopping, const order& what)
      : opts_{opts},
        stopping_{stopping},
        order_{what},
        most_{what.what->repeatable()
                  ? opts.most()
                  : std::min(opts.most(), what.what->items())},
        crew_{sys, *what.what, most_, stopping.token()} {}

  int run(report_file* file) {
    std::fputs(announcement(opts_, order_, most_).c_str(), stderr);
    auto all = measure();
    if (opts_.advise_once() && crew_.last_stats().max_workers > 0)
      std::fprintf(stderr, "%s\n",
                   troupe::advise(crew_.last_stats()).text.c_str());
    std::fputs(text(all).c_str(), stdout);
    if (file != nullptr && !all.rows.empty()) {
      file->write(page(all, now()));
      std::printf("report: %s\n", parts::printable(file->path()).c_str());
    }
    if (std::fflush(stdout) != 0)
      return leave(all_failed, "cannot write to standard output");
    if (auto signal = stopping_.signal())
      return leave(128 + *signal, fmt::format("interrupted: {} tried so far",
                                              counted(all.rows.size(), "number")
                                                  + " of workers"));
    return all.found ? recommended : all_failed;
  }

private:
  using clock = std::chrono::steady_clock;

  static std::string now() {
    return fmt::format("{:%Y-%m-%d %H:%M}", fmt::localtime(std::time(nullptr)));
  }

  std::chrono::nanoseconds elapsed() const { return clock::now() - begin_; }

  parts::progress look() const {
    auto result = crew_.look();
    result.part = std::chrono::duration<double>{elapsed()}
                  / std::chrono::duration<double>{opts_.budget()};
    return result;
  }

  summary measure() {
    summary all{.what = order_.name,
                .noun = order_.what->elsewhere() ? "command" : "request",
                .within = opts_.within(),
                .rounds = opts_.rounds(),
                .budget = opts_.budget(),
                .cores = std::max(std::thread::hardware_concurrency(), 1u),
                .most = most_,
                .most_is_all = most_ < opts_.most()};
    sweep course{{.rounds = opts_.rounds(),
                  .most = most_,
                  .budget = opts_.budget(),
                  .within = opts_.within()},
                 [this](std::size_t workers, std::chrono::nanoseconds length) {
                   return crew_.run(workers, length);
                 },
                 [this] { return elapsed(); }};
    {
      parts::progress_bar bar{parts::progress_bar::fits(),
                              [this] { return look(); }};
      // The first round of all finds files, pages and programs that nobody has
      // asked for lately; measured, it would make its size look slow. It also
      // finds out if anything works at all.
      auto first =
          crew_.run(std::min(most_, warm_up_workers),
                    opts_.budget() / warm_up_share, order_.what->items());
      if (first && first->succeeded > 0)
        course.run();
    }
    all.rows = course.rows();
    all.found = course.found();
    all.skipped = course.left_out_rounds();
    all.interrupted = stopping_.signal().has_value();
    all.elapsed = elapsed();
    all.failed = crew_.failed();
    if (opts_.what() && all.found)
      all.xargs = opts_.what()->as_xargs(all.rows[all.found->at].workers);
    return all;
  }

  const options& opts_;
  parts::interrupt& stopping_;
  const order& order_;
  std::size_t most_;
  crew crew_;
  clock::time_point begin_ = clock::now();
};

int main(int argc, char** argv) {
  parts::fill_standard_files();
  options opts;
  if (auto status = opts.parse_command_line(argc, argv))
    return *status;
  // A reader that goes away is an error of that write and not the end of the
  // process; and children are waited for, whoever started this and how.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGCHLD, SIG_DFL);
  // Before all other threads, which are to leave its signals alone.
  parts::interrupt stopping;
  order what;
  std::optional<report_file> file;
  try {
    opts.check();
    if (auto path = opts.report())
      file.emplace(*path);
    what = open_order(opts, stopping.token());
  } catch (const std::exception& error) {
    if (!stopping.signal())
      return leave(bad_usage, error.what());
  }
  if (auto signal = stopping.signal())
    return leave(128 + *signal, "interrupted before anything was done");
  caf::actor_system sys{opts};
  troupe::dashboard page{opts.dashboard()};
  return tuning{sys, opts, stopping, what}.run(file ? &*file : nullptr);
}

} // namespace

} // namespace tune

int main(int argc, char** argv) {
  try {
    return tune::main(argc, argv);
  } catch (const std::exception& error) {
    return tune::leave(tune::all_failed, error.what());
  }
}
