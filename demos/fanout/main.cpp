// fanout asks for many things at once with calls that block: pages, files and
// database queries, each request on a worker of a troupe pool.
//
//   fanout                            a world of its own: about 400 requests
//   fanout /usr/include | sha256sum -c --quiet
//   fanout http://example.org/ 'sqlite:my.db?SELECT * FROM t' --output=json
//   fanout --compare --troupe.workers=64
//   fanout --trace=fanout.json
//
// Exit status: 0 when all succeeded (in a world of its own: when exactly those
// failed that had to), 1 when some failed, 2 for bad usage, 130 after SIGINT.

#include "compare.hpp"
#include "options.hpp"
#include "parts/interrupt.hpp"
#include "parts/sizes.hpp"
#include "parts/standard_files.hpp"
#include "parts/text.hpp"
#include "report.hpp"
#include "run.hpp"
#include "targets/target_source.hpp"
#include "targets/world.hpp"

#include "troupe/dashboard.hpp"
#include "troupe/error.hpp"
#include "troupe/tracer.hpp"

#include <caf/actor_system.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace fanout {

namespace {

enum status : int { all_succeeded = 0, some_failed = 1, bad_usage = 2 };

int leave(int status, const std::string& line) {
  std::fprintf(stderr, "fanout: %s\n", line.c_str());
  return status;
}

constexpr auto once_only =
    "compare: a list from a pipe can be read only once, and each size of the "
    "pool needs all targets (accepted: --list=FILE)";

targets::target_source open_source(const options& opts) {
  return targets::target_source{{.arguments = opts.arguments(),
                                 .list = opts.list(),
                                 .follow = opts.follow()}};
}

// What the runs of one command have in common.
class command {
public:
  /// @param source all targets, for the first run; the world's own if `opts`
  ///        says so.
  command(caf::actor_system& sys, const options& opts,
          parts::interrupt& stopping, targets::target_source source)
      : sys_{sys},
        opts_{opts},
        stopping_{stopping},
        source_{std::move(source)} {}

  int run_once() {
    run fan{sys_, std::nullopt, stopping_.token()};
    build_world(fan.workers());
    parts::progress_bar bar{parts::progress_bar::fits(),
                            [&fan] { return fan.look(); }};
    report out{{.output = opts_.output(),
                .results = !world_,
                .expected_failures = expected_failures()},
               bar};
    auto end =
        start(fan, [&out](const targets::result& what) { out.add(what); });
    tell_passed_by(out);
    out.summary(end);
    if (auto signal = stopping_.signal())
      return 128 + *signal;
    return verdict(out.counted());
  }

  int compare() {
    // The last size is the one that a run without --compare has.
    auto most = run{sys_, std::nullopt, {}}.workers();
    build_world(most);
    // The first run of all finds files and pages that nobody has asked for
    // lately; measured, it would make its size look slow.
    std::vector<measured> rows;
    auto ok = measure(most).second;
    for (auto size : parts::sizes_up_to(most)) {
      if (stopping_.signal())
        break;
      auto [row, good] = measure(size);
      if (stopping_.signal())
        break;
      ok = ok && good;
      rows.push_back(row);
      if (opts_.output() == format::json)
        print(stdout, json(row));
    }
    if (opts_.output() == format::text) {
      auto text = table(rows);
      text.pop_back();
      print(stdout, std::move(text));
    }
    if (auto signal = stopping_.signal())
      return leave(128 + *signal, "interrupted: " + std::to_string(rows.size())
                                      + " sizes of the pool measured");
    return ok ? all_succeeded : some_failed;
  }

private:
  void build_world(std::size_t workers) {
    if (opts_.own_world())
      world_ = std::make_unique<targets::world>(workers);
  }

  const std::set<std::string>& expected_failures() const {
    static const std::set<std::string> none;
    return world_ ? world_->expected_failures() : none;
  }

  ending start(run& fan, const run::consumer& consume) {
    if (world_)
      return fan.batch(world_->targets(), consume);
    return fan.stream(source_, consume);
  }

  std::pair<measured, bool> measure(std::size_t workers) {
    source_ = open_source(opts_);
    run fan{sys_, workers, stopping_.token()};
    parts::progress_bar bar{parts::progress_bar::fits(),
                            [&fan] { return fan.look(); }};
    tally sums;
    auto end = start(fan, [&](const targets::result& what) {
      sums.add(what, expected_failures());
    });
    auto total = sums.total();
    return {{workers, end.elapsed, end.busy, total.requests, total.failed},
            verdict(sums) == all_succeeded};
  }

  status verdict(const tally& sums) const {
    auto total = sums.total();
    auto as_expected = total.failed == sums.failed_as_expected
                       && sums.succeeded_unexpectedly == 0
                       && sums.failed_as_expected == expected_failures().size();
    return as_expected ? all_succeeded : some_failed;
  }

  void tell_passed_by(report& out) const {
    auto passed = source_.passed_by();
    if (passed.links > 0)
      out.remark("passed by " + parts::human_count(passed.links)
                 + " symbolic links inside folders (--follow follows them)");
    if (passed.specials > 0)
      out.remark("passed by " + parts::human_count(passed.specials)
                 + " FIFOs, sockets and devices inside folders");
  }

  caf::actor_system& sys_;
  const options& opts_;
  parts::interrupt& stopping_;
  std::unique_ptr<targets::world> world_;
  targets::target_source source_;
};

int main(int argc, char** argv) {
  parts::fill_standard_files();
  options opts;
  if (auto status = opts.parse_command_line(argc, argv))
    return *status;
  if (auto problem = opts.check())
    return leave(bad_usage, *problem);
  // A reader that goes away, of a socket or of standard output, is an error of
  // that write and not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  // Before all others, which are to leave its signals alone.
  parts::interrupt stopping;
  // Ends after all whose work it shows.
  std::optional<troupe::tracer> trace;
  try {
    if (auto file = opts.trace())
      trace.emplace(*file);
  } catch (const troupe::failure& why) {
    return leave(bad_usage, why.what());
  }
  std::optional<targets::target_source> source;
  try {
    source = open_source(opts);
    if (opts.compare() && source->may_block())
      return leave(bad_usage, once_only);
  } catch (const std::system_error& error) {
    return leave(bad_usage, error.what());
  }
  caf::actor_system sys{opts};
  troupe::dashboard page{opts.dashboard()};
  command what{sys, opts, stopping, std::move(*source)};
  return opts.compare() ? what.compare() : what.run_once();
}

} // namespace

} // namespace fanout

int main(int argc, char** argv) {
  try {
    return fanout::main(argc, argv);
  } catch (const std::exception& error) {
    return fanout::leave(fanout::some_failed, error.what());
  }
}
