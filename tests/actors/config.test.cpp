// Configuration as a user meets it: a program is run with real command lines
// and real files, and seen from outside by exit status, standard output and
// standard error. What needs no process of its own is tested in this one.

#include "troupe/config.hpp"

#include "troupe/advisor.hpp"

#include "programs.hpp"
#include "troupe/caf_compat.hpp"
#include "troupe/dashboard_presence.hpp"

#include <catch2/catch.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using namespace std::string_literals;

namespace fs = std::filesystem;

namespace {

std::string read_file(const fs::path& path) {
  std::ifstream file{path};
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// What a program left behind.
struct run_result {
  int status = -1;
  std::string out;
  std::string err;

  [[nodiscard]] bool prints(const std::string& line) const {
    return ("\n" + out).find("\n" + line + "\n") != std::string::npos;
  }
};

/// A folder of its own, in which the probe is run.
class probe_folder {
public:
  probe_folder() {
    std::string name = (fs::temp_directory_path() / "troupe-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw std::system_error{errno, std::generic_category(), name};
    folder_ = name;
  }

  probe_folder(const probe_folder&) = delete;
  probe_folder& operator=(const probe_folder&) = delete;

  ~probe_folder() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream{folder_ / name} << text;
  }

  [[nodiscard]] std::string read(const std::string& name) const {
    return read_file(folder_ / name);
  }

  /// @param into where its standard output goes instead, to be read by nobody.
  [[nodiscard]] run_result run(std::vector<std::string> args,
                               const fs::path& into = {}) const {
    args.insert(args.begin(), TROUPE_CONFIG_PROBE);
    std::vector<char*> argv;
    for (auto& arg : args)
      argv.push_back(arg.data());
    argv.push_back(nullptr);
    auto out = into.empty() ? folder_ / ".out" : into;
    auto err = folder_ / ".err";
    auto child = fork();
    if (child == 0) {
      auto redirect = [](const fs::path& path, int target) {
        auto fd = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
        return fd >= 0 && dup2(fd, target) == target;
      };
      if (redirect(out, 1) && redirect(err, 2) && chdir(folder_.c_str()) == 0)
        execv(argv[0], argv.data());
      _exit(127);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    return {WEXITSTATUS(status), into.empty() ? read_file(out) : std::string{},
            read_file(err)};
  }

  /// Runs the probe with a config file of this content.
  [[nodiscard]] run_result run_with(const std::string& text,
                                    std::vector<std::string> args = {}) const {
    write("probe.conf", text);
    args.insert(args.begin(), "--config-file=probe.conf");
    return run(std::move(args));
  }

private:
  fs::path folder_;
};

/// Checks that bad input ended the program before anything was started, with
/// this line and no other on standard error.
void check_refused(const run_result& result, const std::string& line) {
  CHECK(result.status == 2);
  CHECK(result.out.empty());
  CHECK(result.err == "troupe_config_probe: " + line + "\n");
}

void check_runs(const run_result& result, std::vector<std::string> lines) {
  CHECK(result.status == 0);
  CHECK(result.err.empty());
  CHECK(result.prints("started"));
  for (const auto& line : lines) {
    CAPTURE(line, result.out);
    CHECK(result.prints(line));
  }
}

constexpr auto counts = ": a whole number from 1 to 65536, or auto)";

constexpr auto keys =
    ": troupe.KEY and troupe.pools.NAME.KEY, where KEY is one of workers, "
    "min-workers, workers-limit, idle-timeout, max-queued, on-full, spin, "
    "drain-timeout, "
    "max-run-time, max-spares, on-stuck, stack-size)";

constexpr auto syntax = ": troupe { workers = 4 })";

const auto policy = troupe::compat::config_prefix + "scheduler.policy"s;

/// A config with options of its own, in front of the mix-in and behind it.
struct own_config : caf::actor_system_config {
  explicit own_config(int start) : limit{start} {
    opt_group{custom_options_, "?own"}.add(limit, "limit", "a number");
  }
  std::int64_t limit;
};

std::optional<int> parse(auto& cfg, std::vector<std::string> args) {
  args.insert(args.begin(), "test");
  std::vector<char*> argv;
  for (auto& arg : args)
    argv.push_back(arg.data());
  return cfg.parse_command_line(static_cast<int>(argv.size()), argv.data());
}

} // namespace

// -- the command line ---------------------------------------------------------

TEST_CASE("a program without arguments runs with the defaults", "[config]") {
  probe_folder here;
  auto workers = std::to_string(troupe::defaults::workers());
  check_runs(here.run({}),
             {"-.workers = " + workers + " (default)",
              "-.min-workers = 0 (default)", "-.idle-timeout = 10s (default)",
              "-.max-queued = 1000000 (default)", "-.on-full = wait (default)",
              "-.spin = 0s (default)", "-.drain-timeout = 30s (default)",
              "policy = sharing"});
}

TEST_CASE("every key is taken from the command line, in both spellings",
          "[config]") {
  probe_folder here;
  std::vector<std::string> joined{
      "--troupe.workers=9",           "--troupe.min-workers=2",
      "--troupe.idle-timeout=5s",     "--troupe.max-queued=7",
      "--troupe.on-full=reject",      "--troupe.spin=50us",
      "--troupe.drain-timeout=1.5min"};
  std::vector<std::string> apart;
  for (const auto& arg : joined) {
    apart.push_back(arg.substr(0, arg.find('=')));
    apart.push_back(arg.substr(arg.find('=') + 1));
  }
  for (const auto& args : {joined, apart})
    check_runs(here.run(args),
               {"-.workers = 9 (troupe.workers)",
                "-.min-workers = 2 (troupe.min-workers)",
                "-.idle-timeout = 5s (troupe.idle-timeout)",
                "-.max-queued = 7 (troupe.max-queued)",
                "-.on-full = reject (troupe.on-full)",
                "-.spin = 50us (troupe.spin)",
                "-.drain-timeout = 90s (troupe.drain-timeout)"});
}

TEST_CASE("the keys of a named pool are taken from the command line",
          "[config]") {
  probe_folder here;
  check_runs(here.run({"--troupe.workers=9", "--troupe.pools.db.workers=3",
                       "--troupe.pools.db.spin", "1ms"}),
             {"-.workers = 9 (troupe.workers)",
              "db.workers = 3 (troupe.pools.db.workers)",
              "db.spin = 1ms (troupe.pools.db.spin)",
              "db.min-workers = 0 (default)"});
}

TEST_CASE("of an option given twice the last one counts", "[config]") {
  probe_folder here;
  check_runs(here.run({"--troupe.workers=9", "--troupe.workers=8"}),
             {"-.workers = 8 (troupe.workers)"});
}

TEST_CASE("arguments are kept in order, also between options and after --",
          "[config]") {
  probe_folder here;
  auto result = here.run({"a", "--troupe.workers=9", "-", "b", "--json", "c d",
                          "--", "--troupe.workers=8", "-x", "--", ""});
  check_runs(result, {"-.workers = 9 (troupe.workers)", "json = true"});
  CHECK(result.out.substr(result.out.find("argument"))
        == "argument [a]\nargument [-]\nargument [b]\nargument [c d]\n"
           "argument [--troupe.workers=8]\nargument [-x]\nargument [--]\n"
           "argument []\n");
}

TEST_CASE("the application's own options are taken in every spelling",
          "[config]") {
  probe_folder here;
  using args = std::vector<std::string>;
  for (const auto& list : {args{"--list=my file"}, args{"--list", "my file"},
                           args{"-l", "my file"}, args{"-lmy file"}})
    check_runs(here.run(list), {"list = my file"});
  check_runs(
      here.run({"--limit", "-3", "--pause=2s", "-j", "--late=4",
                "--deep.group.name=n"}),
      {"limit = -3", "pause = 2s", "json = true", "late = 4", "name = n"});
  check_runs(here.run({"--json=false"}), {"json = false"});
  // The text of a file name is kept as it is, with blanks and quotes.
  check_runs(here.run({"--list= \"x\" "}), {"list =  \"x\" "});
  check_runs(here.run({"--list=-"}), {"list = -"});
  check_runs(here.run({"--list=x", "--list="}), {"list = "});
}

TEST_CASE("an unknown option is refused with the one that was meant",
          "[config]") {
  probe_folder here;
  check_refused(here.run({"--bogus"}),
                "unknown option '--bogus' (accepted: see --help)");
  check_refused(here.run({"--bogus=3", "x"}),
                "unknown option '--bogus=3' (accepted: see --help)");
  check_refused(here.run({"-x"}), "unknown option '-x' (accepted: see --help)");
  check_refused(here.run({"--lits=f"}),
                "unknown option '--lits=f'; did you mean '--list'? "
                "(accepted: see --help)");
  check_refused(here.run({"--trope.workers=3"}),
                "unknown option '--trope.workers=3'; did you mean "
                "'--troupe.workers'? (accepted: see --help)");
}

TEST_CASE("an unknown key of troupe is refused with the one that was meant",
          "[config]") {
  probe_folder here;
  check_refused(here.run({"--troupe.wokers=3"}),
                "troupe.wokers = '3': unknown key; did you mean "
                "'troupe.workers'? (accepted"s
                    + keys);
  check_refused(here.run({"--troupe.pools.db.wokers", "3"}),
                "troupe.pools.db.wokers: unknown key; did you mean "
                "'troupe.pools.db.workers'? (accepted"s
                    + keys);
  check_refused(here.run({"--troupe.nonsense"}),
                "troupe.nonsense: unknown key (accepted"s + keys);
}

TEST_CASE("a pool that sizes itself is asked for on the command line and in a "
          "file",
          "[config]") {
  probe_folder here;
  check_runs(here.run({"--troupe.workers=auto", "--troupe.workers-limit=30",
                       "--troupe.pools.db.workers=5"}),
             {"-.workers = auto (troupe.workers)",
              "-.workers-limit = 30 (troupe.workers-limit)",
              "db.workers = 5 (troupe.pools.db.workers)"});
  check_runs(here.run_with("troupe { workers = 5\n"
                           "pools { db { workers = \"auto\" } } }\n"),
             {"-.workers = 5 (troupe.workers)",
              "db.workers = auto (troupe.pools.db.workers)"});
  auto result = here.run({"--troupe.explain", "--troupe.workers=auto"});
  CHECK(result.prints("  workers = auto (troupe.workers, command line)"));
  check_refused(here.run({"--troupe.workers=autp"}),
                "troupe.workers = 'autp': not a count; did you mean 'auto'? "
                "(accepted"s
                    + counts);
  check_refused(here.run({"--troupe.workers=auto", "--troupe.workers-limit=4",
                          "--troupe.min-workers=5"}),
                "troupe.min-workers = '5': more than troupe.workers-limit = "
                "'4' (accepted: a whole number from 0 to "
                "troupe.workers-limit)");
  check_refused(here.run({"--troupe.workers-limit=65537"}),
                "troupe.workers-limit = '65537': out of range (accepted: a "
                "whole number from 1 to 65536)");
}

TEST_CASE("a count on the command line that is not accepted is refused",
          "[config]") {
  probe_folder here;
  check_refused(here.run({"--troupe.workers=0"}),
                "troupe.workers = '0': out of range (accepted"s + counts);
  check_refused(here.run({"--troupe.workers=-3"}),
                "troupe.workers = '-3': out of range (accepted"s + counts);
  check_refused(here.run({"--troupe.workers", "-3"}),
                "troupe.workers = '-3': out of range (accepted"s + counts);
  check_refused(here.run({"--troupe.workers=many"}),
                "troupe.workers = 'many': not a count (accepted"s + counts);
  check_refused(here.run({"--troupe.workers="}),
                "troupe.workers = '': not a count (accepted"s + counts);
  check_refused(here.run({"--troupe.workers"}),
                "troupe.workers: has no value (accepted"s + counts);
  check_refused(here.run({"--troupe.pools.db.workers=0"}),
                "troupe.pools.db.workers = '0': out of range (accepted"s
                    + counts);
}

TEST_CASE("a duration or a word that is not accepted is refused", "[config]") {
  probe_folder here;
  auto durations = " (accepted: a duration from 0 to 8760h, such as 500ms or "
                   "1.5s; units: ns, us, ms, s, min, h)"s;
  check_refused(here.run({"--troupe.spin=5"}),
                "troupe.spin = '5': no unit" + durations);
  check_refused(here.run({"--troupe.idle-timeout=soon"}),
                "troupe.idle-timeout = 'soon': not a duration" + durations);
  check_refused(here.run({"--troupe.on-full=drop"}),
                "troupe.on-full = 'drop': not a known word (accepted: wait or "
                "reject)");
}

TEST_CASE("a value that the application's option does not take is refused",
          "[config]") {
  probe_folder here;
  check_refused(here.run({"--limit=x"}),
                "--limit = 'x': not valid (accepted: a whole number)");
  check_refused(here.run({"--limit="}),
                "--limit = '': not valid (accepted: a whole number)");
  check_refused(here.run({"--json=maybe"}),
                "--json = 'maybe': not valid (accepted: true or false)");
  check_refused(here.run({"--pause=3"}),
                "--pause = '3': not valid (accepted: a duration such as 500ms "
                "or 10s)");
  check_refused(here.run({"x", "--list"}),
                "--list: has no value (accepted: text)");
}

TEST_CASE("options that contradict each other are refused, naming both",
          "[config]") {
  probe_folder here;
  check_refused(here.run({"--troupe.min-workers=9", "--troupe.workers=4"}),
                "troupe.min-workers = '9': more than troupe.workers = '4' "
                "(accepted: a whole number from 0 to troupe.workers)");
  check_refused(
      here.run({"--troupe.workers=4", "--troupe.pools.db.min-workers=9"}),
      "troupe.pools.db.min-workers = '9': more than troupe.workers "
      "= '4' (accepted: a whole number from 0 to troupe.workers)");
  check_runs(here.run({"--troupe.min-workers=9", "--troupe.workers=9"}),
             {"-.min-workers = 9 (troupe.min-workers)"});
}

TEST_CASE("an error is one line, whatever the arguments hold", "[config]") {
  probe_folder here;
  check_refused(here.run({"--troupe.workers=4\n5"}),
                "troupe.workers = '4\\x0a5': not a count (accepted"s + counts);
  check_refused(here.run({"--troupe.a\nb=5"}),
                "troupe.a\\x0ab = '5': unknown key (accepted"s + keys);
  check_refused(here.run({"--a\nb"}),
                "unknown option '--a\\x0ab' (accepted: see --help)");
}

// -- help ---------------------------------------------------------------------

TEST_CASE("asked for --help, it explains every option on standard output and "
          "starts nothing",
          "[config]") {
  probe_folder here;
  for (std::string flag : {"--help", "-h", "-?", "--long-help"}) {
    CAPTURE(flag);
    auto result = here.run({"x", flag, "--bogus"});
    CHECK(result.status == 0);
    CHECK(result.err.empty());
    CHECK_FALSE(result.prints("started"));
    CHECK(result.out.find("Usage: troupe_config_probe [options]") == 0);
    CHECK(result.out.find("STDERR") == std::string::npos);
    for (auto name :
         {"--help)", "--config-file=", "--list)",
          "--late=", "--deep.group.name=", "--troupe.workers=<count|auto>",
          "--troupe.workers-limit=<count>", "--troupe.min-workers=<count>",
          "--troupe.idle-timeout=<duration>", "--troupe.max-queued=<count>",
          "--troupe.on-full=<wait|reject>", "--troupe.spin=<duration>",
          "--troupe.drain-timeout=<duration>",
          "--troupe.max-run-time=<duration>", "--troupe.max-spares=<count>",
          "--troupe.on-stuck=<wait|quick-exit>", "--troupe.stack-size=<count>",
          "--troupe.pools.NAME.KEY=<value>", "--troupe.explain"}) {
      CAPTURE(name);
      CHECK(result.out.find(name) != std::string::npos);
    }
    auto caf = "--" + policy + "=";
    CHECK((result.out.find(caf) != std::string::npos)
          == (flag == "--long-help"));
  }
}

TEST_CASE("--help says what the program says of its arguments", "[config]") {
  probe_folder here;
  auto plain = here.run({"--help"});
  CHECK(plain.out.find("Usage: troupe_config_probe [options] [--] [WORD ...]\n"
                       "\nA WORD is printed.\n\n")
        == 0);
}

TEST_CASE(
    "what was asked for and cannot be printed is one line, and no success",
    "[config]") {
  probe_folder here;
  for (std::string flag :
       {"--help", "--long-help", "--dump-config", "--troupe.explain"}) {
    CAPTURE(flag);
    auto full = here.run({flag}, "/dev/full");
    CHECK(full.status == 1);
    CHECK(full.err
          == "troupe_config_probe: cannot write to standard output: No space "
             "left on device\n");
  }
}

TEST_CASE("asked to --dump-config, it prints the settings and starts nothing",
          "[config]") {
  probe_folder here;
  auto result = here.run({"--dump-config", "--troupe.workers=9"});
  CHECK(result.status == 0);
  CHECK(result.err.empty());
  CHECK(result.out.find("workers = 9") != std::string::npos);
  CHECK_FALSE(result.prints("started"));
}

TEST_CASE("asked to --troupe.explain, it prints each value and who set it, and "
          "starts nothing",
          "[config]") {
  probe_folder here;
  auto result = here.run_with("troupe {\n  workers = 9\n  pools {\n"
                              "    db {\n      workers = 3\n    }\n  }\n}\n",
                              {"--troupe.explain", "--troupe.pools.db.spin=4us",
                               "--troupe.on-full=reject"});
  CHECK(result.status == 0);
  CHECK(result.err.empty());
  CHECK_FALSE(result.prints("started"));
  CAPTURE(result.out);
  for (auto line :
       {"pools without keys of their own:",
        "  workers = 9 (troupe.workers, probe.conf:2)",
        "  min-workers = 0 (default)",
        "  on-full = reject (troupe.on-full, command line)",
        "pool 'db':", "  workers = 3 (troupe.pools.db.workers, probe.conf:5)",
        "  spin = 4us (troupe.pools.db.spin, command line)",
        "  drain-timeout = 30s (default)"})
    CHECK(result.prints(line));
  // Each key, for each of the two.
  for (const auto& info : troupe::option_infos()) {
    auto line = "\n  " + std::string{info.key} + " = ";
    auto first = result.out.find(line);
    REQUIRE(first != std::string::npos);
    CHECK(result.out.find(line, first + 1) != std::string::npos);
  }
}

TEST_CASE("what a program sets itself is explained as such", "[config]") {
  troupe::config cfg;
  caf::put(cfg.content, "troupe.workers", std::int64_t{5});
  auto all = troupe::explain({}, troupe::options_of(cfg));
  CHECK(all.front().key == "workers");
  CHECK(all.front().value == "5");
  CHECK(all.front().origin == troupe::option_origin::config);
}

TEST_CASE("bad input beside --troupe.explain is refused, and so is a slip in "
          "its name",
          "[config]") {
  probe_folder here;
  check_refused(here.run({"--troupe.explain", "--troupe.workers=0"}),
                "troupe.workers = '0': out of range (accepted"s + counts);
  check_refused(here.run({"--troupe.explain=maybe"}),
                "troupe.explain = 'maybe': not valid (accepted: true or "
                "false)");
  check_refused(here.run({"--troupe.explian"}),
                "troupe.explian: unknown key; did you mean "
                "'--troupe.explain'?");
  check_runs(here.run({"--troupe.explain=false"}), {});
}

TEST_CASE("bad input in front of --help is still refused", "[config]") {
  probe_folder here;
  check_refused(here.run({"--bogus", "--help"}),
                "unknown option '--bogus' (accepted: see --help)");
}

// -- config files -------------------------------------------------------------

TEST_CASE("a config file sets pools, the command line has the last word",
          "[config]") {
  probe_folder here;
  auto text = "troupe {\n  workers = 9\n  idle-timeout = 2min\n"
              "  drain-timeout = \"1.5s\"\n  on-full = \"reject\"\n"
              "  pools {\n    db { workers = 3 }\n    eu { spin = 4us }\n  }\n"
              "}\n"s;
  check_runs(here.run_with(text),
             {"-.workers = 9 (troupe.workers)",
              "-.idle-timeout = 2min (troupe.idle-timeout)",
              "-.drain-timeout = 1500ms (troupe.drain-timeout)",
              "-.on-full = reject (troupe.on-full)",
              "db.workers = 3 (troupe.pools.db.workers)",
              "eu.workers = 9 (troupe.workers)",
              "eu.spin = 4us (troupe.pools.eu.spin)"});
  check_runs(here.run_with(
                 text, {"--troupe.workers=8", "--troupe.pools.db.workers=2"}),
             {"-.workers = 8 (troupe.workers)",
              "-.idle-timeout = 2min (troupe.idle-timeout)",
              "db.workers = 2 (troupe.pools.db.workers)",
              "eu.workers = 8 (troupe.workers)"});
}

TEST_CASE("groups that are opened twice in a file add up", "[config]") {
  // CAF 0.17 lets the second one replace what the first one had, silently.
  probe_folder here;
  check_runs(here.run_with("troupe { pools { a { workers = 5 } } }\n"
                           "troupe { pools { b { workers = 6 } } }\n"
                           "troupe { workers = 7 }\ntroupe { workers = 8 }\n"),
             {"a.workers = 5 (troupe.pools.a.workers)",
              "b.workers = 6 (troupe.pools.b.workers)",
              "-.workers = 8 (troupe.workers)"});
}

TEST_CASE("the default config file is read if it is there", "[config]") {
  probe_folder here;
  caf::actor_system_config plain;
  auto name = troupe::compat::default_config_files(plain).front();
  here.write(name, "troupe { workers = 9 }\n");
  check_runs(here.run({}), {"-.workers = 9 (troupe.workers)"});
  here.write(name, "troupe { workers = 0 }\n");
  check_refused(here.run({}), name
                                  + ":1: troupe.workers = '0': out of range "
                                    "(accepted"
                                  + counts);
  // A named file takes its place.
  check_runs(here.run_with("troupe { spin = 1us }\n"),
             {"-.spin = 1us (troupe.spin)"});
}

TEST_CASE("a file sets the application's options and CAF's", "[config]") {
  probe_folder here;
  check_runs(here.run_with("probe {\n limit = 7\n pause = 3s\n json = true\n"
                           " list = \"f\"\n}\ndeep { group { name = \"n\" } }\n"
                           "unheard-of { x = 1 }\n"),
             {"limit = 7", "pause = 3s", "json = true", "list = f", "name = n",
              "policy = sharing"});
  check_runs(here.run_with("probe { limit = 7 }\n", {"--limit=8"}),
             {"limit = 8"});
}

TEST_CASE("the user's choice of a scheduler is kept", "[config]") {
  probe_folder here;
  check_runs(here.run({"--" + policy + "=stealing"}), {"policy = stealing"});
  if (std::string{troupe::compat::config_prefix}.empty())
    check_runs(here.run_with("scheduler { policy = 'stealing' }\n"),
               {"policy = stealing"});
  else
    check_runs(here.run_with("caf { scheduler { policy = \"stealing\" } }\n"),
               {"policy = stealing"});
}

TEST_CASE("a misspelt key in a file is refused with its line", "[config]") {
  probe_folder here;
  check_refused(here.run_with("troupe {\n  spin = 1us\n  wokers = 4\n}\n"),
                "probe.conf:3: troupe.wokers = '4': unknown key; did you mean "
                "'troupe.workers'? (accepted"s
                    + keys);
  check_refused(here.run_with("troupe {\n  pool { db { workers = 4 } }\n}\n"),
                "probe.conf:2: troupe.pool.db.workers = '4': unknown key; did "
                "you mean 'troupe.pools.db.workers'? (accepted"s
                    + keys);
}

TEST_CASE("a misspelt group or option in a file is refused with what was meant",
          "[config]") {
  probe_folder here;
  auto refused = [&](const std::string& file, const std::string& line) {
    check_refused(here.run_with(file),
                  "probe.conf:" + line
                      + " (accepted: the options that --long-help lists)");
  };
  refused("troup {\n  workers = 4\n}\n",
          "2: troup.workers = '4': unknown key; did you mean "
          "'troupe.workers'?");
  refused("tropue {\n  pools { db { workers = 4 } }\n}\n",
          "2: tropue.pools.db.workers = '4': unknown key; did you mean "
          "'troupe.pools.db.workers'?");
  refused("probe {\n  limti = 7\n}\n",
          "2: probe.limti = '7': unknown key; did you mean 'probe.limit'?");
  refused("deep { group { nme = \"n\" } }\n",
          "1: deep.group.nme = 'n': unknown key; did you mean "
          "'deep.group.name'?");
  // What the program may read itself is left alone.
  check_runs(here.run_with("troup { tent = 1 }\nprobe { colour = 1 }\n"),
             {"started"});
}

TEST_CASE("a value of a wrong type in a file is refused with its line",
          "[config]") {
  probe_folder here;
  auto refused = [&](const std::string& value, const std::string& shown) {
    check_refused(here.run_with("troupe {\n  workers = " + value + "\n}\n"),
                  "probe.conf:2: troupe.workers = '" + shown
                      + "': not a count (accepted" + counts);
  };
  refused("\"many\"", "many");
  refused("4.5", "4.5");
  refused("4s", "4s");
  refused("true", "true");
  refused("[1, 2]", "[1, 2]");
  refused("{}", "{}");
  check_refused(here.run_with("troupe = 4\n"),
                "probe.conf:1: troupe = '4': unknown key (accepted"s + keys);
  check_refused(here.run_with("troupe { on-full = 3 }\n"),
                "probe.conf:1: troupe.on-full = '3': not a known word "
                "(accepted: wait or reject)");
}

TEST_CASE("a value out of range in a file is refused with its line",
          "[config]") {
  probe_folder here;
  check_refused(here.run_with("troupe {\n  workers = 0\n}\n"),
                "probe.conf:2: troupe.workers = '0': out of range (accepted"s
                    + counts);
  check_refused(here.run_with("troupe {\n  workers = -3\n}\n"),
                "probe.conf:2: troupe.workers = '-3': out of range (accepted"s
                    + counts);
}

TEST_CASE("values that contradict each other across file and command line are "
          "refused",
          "[config]") {
  probe_folder here;
  check_refused(
      here.run_with("troupe { min-workers = 9 }\n", {"--troupe.workers=4"}),
      "troupe.min-workers = '9': more than troupe.workers = '4' "
      "(accepted: a whole number from 0 to troupe.workers)");
}

TEST_CASE("a wrong type for an option of the application is refused",
          "[config]") {
  // CAF 0.17 passes over it, and the program runs with the default.
  probe_folder here;
  check_refused(here.run_with("probe {\n  limit = \"x\"\n}\n"),
                "probe.conf:2: probe.limit = 'x': not valid (accepted: a whole "
                "number)");
}

TEST_CASE("broken syntax in a file is refused with its line", "[config]") {
  probe_folder here;
  check_refused(here.run_with("troupe {\n  workers = \n}\n"),
                "probe.conf:2: broken syntax: the line ends too early "
                "(accepted"s
                    + syntax);
  check_refused(here.run_with("troupe { workers = 4 }\n}\n"),
                "probe.conf:2: broken syntax: unexpected '}' (accepted"s
                    + syntax);
  check_refused(here.run_with("troupe {\n  spin = 1.5us\n}\n"),
                "probe.conf:2: broken syntax: a duration with a decimal point "
                "needs double quotes (accepted"s
                    + syntax);
  check_refused(here.run_with("troupe { workers = "
                              "99999999999999999999999 }\n"),
                "probe.conf:1: broken syntax: number out of range (accepted"s
                    + syntax);
}

TEST_CASE("a file that was cut short is refused", "[config]") {
  // CAF's own function takes such a file, and drops the group that is open.
  probe_folder here;
  for (std::string text :
       {"troupe {\n  workers = 4\n", "troupe {\n  workers = 4",
        "troupe { pools {\n  a { workers = 4 }", "x { y = [1,\n 2",
        "x {\n  y = [{ a = 1"}) {
    CAPTURE(text);
    check_refused(here.run_with(text),
                  "probe.conf:2: broken syntax: the file ends too early "
                  "(accepted"s
                      + syntax);
  }
}

TEST_CASE("an empty config file is accepted", "[config]") {
  probe_folder here;
  check_runs(here.run_with(""), {"-.min-workers = 0 (default)"});
  check_runs(here.run_with("\n\n"), {"-.min-workers = 0 (default)"});
  check_runs(here.run_with("troupe { }\n"), {"-.min-workers = 0 (default)"});
}

TEST_CASE("a named config file that cannot be read is refused", "[config]") {
  probe_folder here;
  auto accepted = " (accepted: a readable file in the syntax of CAF)"s;
  check_refused(here.run({"--config-file=missing.conf"}),
                "config-file = 'missing.conf': No such file or directory"
                    + accepted);
  check_refused(here.run({"--config-file", "."}),
                "config-file = '.': Is a directory" + accepted);
  check_refused(here.run({"--config-file"}),
                "--config-file: has no value (accepted: text)");
}

TEST_CASE("a trace that cannot be written is refused before anything starts",
          "[config]") {
  probe_folder here;
  check_refused(
      here.run({"--troupe.trace=no/folder/trace.json"}),
      "cannot write the trace 'no/folder/trace.json': No such file or "
      "directory (accepted: a file that can be written, in a folder that is "
      "there and has room)");
  check_refused(here.run({"--troupe.trace"}),
                "troupe.trace: has no value (accepted: a file that can be "
                "written)");
  check_refused(here.run_with("troupe { trace = \"/dev/full\" }\n"),
                "cannot write the trace '/dev/full': No space left on device "
                "(accepted: a file that can be written, in a folder that is "
                "there and has room)");
  check_refused(here.run({"--troupe.pools.db.trace=x"}),
                "troupe.pools.db.trace = 'x': unknown key"s + " (accepted"
                    + keys);
}

TEST_CASE("advice at the end is asked for by a flag", "[config]") {
  troupe::config cfg;
  CHECK_FALSE(parse(cfg, {"--troupe.advise"}));
  CHECK(troupe::advises_at_end());
  CHECK_FALSE(parse(cfg, {"--troupe.advise=false"}));
  CHECK_FALSE(troupe::advises_at_end());
  probe_folder here;
  check_refused(here.run({"--troupe.advise=2"}),
                "troupe.advise = '2': not valid (accepted: true or false)");
}

TEST_CASE("a dashboard is wanted where the command line says", "[config]") {
  // As troupe::dashboard does.
  troupe::detail::has_dashboard() = true;
  struct wanted {
    const char* text;
    const char* host;
    int port;
  };
  for (auto [text, host, port] :
       {wanted{"8080", "127.0.0.1", 8080}, wanted{"0", "127.0.0.1", 0},
        wanted{"0.0.0.0:9100", "0.0.0.0", 9100},
        wanted{"[::1]:65535", "::1", 65535}}) {
    troupe::config cfg;
    CHECK_FALSE(cfg.dashboard());
    CHECK_FALSE(parse(cfg, {"--troupe.dashboard="s + text}));
    REQUIRE(cfg.dashboard());
    CHECK(cfg.dashboard()->host == host);
    CHECK(cfg.dashboard()->port == port);
  }
  troupe::detail::has_dashboard() = false;
  probe_folder here;
  for (auto text : {"", "x", "65536", "-1", "80 ", ":80", "localhost:"})
    check_refused(here.run({"--troupe.dashboard="s + text}),
                  "troupe.dashboard = '"s + text
                      + "': not valid (accepted: a port from 0 to 65535, or "
                        "ADDRESS:PORT)");
}

TEST_CASE(
    "a program that has no dashboard says so when it is asked for one, and "
    "starts nothing",
    "[config]") {
  probe_folder here;
  check_refused(here.run({"--troupe.dashboard=8080"}),
                "troupe.dashboard = '8080': this program has no dashboard "
                "(leave it out, or build the program with troupe::dashboard)");
  check_refused(here.run_with("troupe { dashboard = 8080 }\n", {}),
                "troupe.dashboard = '8080': this program has no dashboard "
                "(leave it out, or build the program with troupe::dashboard)");
}

TEST_CASE("a trace is begun by the command line, which goes over the file",
          "[config]") {
  probe_folder here;
  check_runs(here.run_with("troupe { trace = \"no/folder/x\" }\n",
                           {"--troupe.trace=trace.json"}),
             {});
  CHECK(here.read("trace.json").find("\"traceEvents\":[") != std::string::npos);
  CHECK(here.read("trace.json").find("\n]}\n") != std::string::npos);
}

// -- without a process of its own ---------------------------------------------

TEST_CASE("a config class of one's own gets the options by the mix-in",
          "[config]") {
  probe_folder here;
  troupe::with_options<own_config> cfg{5};
  CHECK(cfg.limit == 5);
  CHECK_FALSE(parse(cfg, {"--limit=6", "rest", "--troupe.workers=3"}));
  CHECK(cfg.limit == 6);
  CHECK(cfg.arguments() == std::vector<std::string>{"rest"});
  CHECK(troupe::options_of(cfg).at("troupe.workers") == "3");
}

TEST_CASE("options set by the program hold unless the command line says "
          "otherwise",
          "[config]") {
  troupe::config cfg;
  cfg.set("troupe.workers", 3).set("troupe.spin", caf::timespan{5us});
  CHECK_FALSE(parse(cfg, {"--troupe.spin=6us"}));
  auto is = troupe::resolve({}, troupe::options_of(cfg));
  CHECK(is.workers == 3);
  CHECK(is.spin == 6us);
}

TEST_CASE("a scheduler policy set by the program's own config is kept",
          "[config]") {
  struct stealing : caf::actor_system_config {
    stealing() { set(policy, troupe::compat::config_word("stealing")); }
  };
  troupe::with_options<stealing> cfg;
  CHECK(troupe::compat::text_of(*caf::get_if(&caf::content(cfg), policy))
        == "stealing");
}

TEST_CASE("the settings of a plain config are read as they are", "[config]") {
  caf::actor_system_config cfg;
  CHECK(troupe::options_of(cfg).empty());
  caf::put(cfg.content, "troupe.workers", 3);
  caf::put(cfg.content, "troupe.idle-timeout", caf::timespan{90s});
  caf::put(cfg.content, "troupe.pools.db.on-full", "reject"s);
  caf::put(cfg.content, "troupe.wokers", true);
  CHECK(troupe::options_of(cfg)
        == troupe::option_table{{"troupe.idle-timeout", "90s"},
                                {"troupe.pools.db.on-full", "reject"},
                                {"troupe.wokers", "true"},
                                {"troupe.workers", "3"}});
}
