// The program tune with real work: what it prints and writes, what its commands
// find, and what becomes of bad input and Ctrl-C.
#include "child.hpp"
#include "markup.hpp"
#include "temp_folder.hpp"

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>
#include <vector>

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

using texts = std::vector<std::string>;

texts tune_command(texts arguments) {
  arguments.insert(arguments.begin(), TUNE_BINARY);
  return arguments;
}

test::exited tune(texts arguments, test::child::settings how = {}) {
  return test::run(tune_command(std::move(arguments)), std::move(how));
}

// A short one, without a report.
test::exited quick(texts arguments, test::child::settings how = {}) {
  arguments.insert(arguments.begin(),
                   {"--seconds=1", "--rounds=1", "--most=2", "--no-report"});
  return tune(std::move(arguments), std::move(how));
}

// One that has time to try both sizes, however busy the machine is.
test::exited quick_of_two(texts arguments) {
  arguments.insert(arguments.begin(),
                   {"--seconds=5", "--rounds=1", "--most=2", "--no-report"});
  return tune(std::move(arguments));
}

std::string content(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

// The sizes in the table of `out`, in its order, and the one that is marked.
struct sizes {
  std::vector<int> all;
  int knee = 0;
};

sizes sizes_in(const std::string& out) {
  sizes result;
  std::regex row{R"(^([> ]) +(\d+)  .* (ns|us|ms|s) +[\d,]+ +\d+$)"};
  for (const auto& line : test::lines(out))
    if (std::smatch found; std::regex_match(line, found, row)) {
      result.all.push_back(std::stoi(found[2]));
      if (found[1] == ">")
        result.knee = result.all.back();
    }
  return result;
}

void check_usage(texts arguments, const std::string& line) {
  test::temp_folder folder;
  auto report = folder.path("r.html");
  arguments.push_back("--report=" + report);
  auto end = tune(std::move(arguments));
  CHECK(end.status == 2);
  CHECK(end.out.empty());
  REQUIRE(test::lines(end.err).size() == 1);
  CHECK_THAT(end.err, StartsWith("tune: ") && Contains(line));
  CHECK_FALSE(std::filesystem::exists(report));
}

// Where commands tell a test what they do; each line of them arrives whole.
class told {
public:
  told() {
    REQUIRE(mkfifo(path().c_str(), 0600) == 0);
    // For writing, too, so that it never ends.
    fd_ = open(path().c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(fd_ >= 0);
  }

  ~told() { close(fd_); }

  told(const told&) = delete;
  told& operator=(const told&) = delete;

  std::string path() const { return folder_.path("told"); }

  // Blocks until there is a line.
  std::string line() const {
    std::string result;
    for (char byte; read(fd_, &byte, 1) == 1 && byte != '\n';)
      result += byte;
    return result;
  }

private:
  test::temp_folder folder_;
  int fd_ = -1;
};

bool is_gone(pid_t process) {
  return kill(process, 0) != 0 && errno == ESRCH;
}

} // namespace

// -- what comes out -----------------------------------------------------------

TEST_CASE("a command is tried with powers of two and then around the knee",
          "[tune]") {
  test::temp_folder folder;
  auto report = folder.path("r.html");
  auto end = tune({"--command=sleep 0.002", "--seconds=2", "--rounds=2",
                   "--most=4", "--report=" + report, "a", "b", "c", "d", "e"});
  CHECK(end.status == 0);
  CHECK_THAT(end.err, Contains("MANY TIMES") && Contains("for each of 5 lines")
                          && Contains("the same for each line"));
  auto found = sizes_in(end.out);
  REQUIRE(found.all.size() >= 3);
  for (auto size : {1, 2, 4})
    CHECK(std::count(found.all.begin(), found.all.end(), size) == 1);
  CHECK(std::is_sorted(found.all.begin(), found.all.end()));
  REQUIRE(found.knee > 0);
  auto knee = std::to_string(found.knee);
  CHECK_THAT(end.out, Contains("^ knee") && Contains("within 10 % of the best")
                          && Contains("to use it: --troupe.workers=" + knee)
                          && Contains("troupe {\n  workers = " + knee + "\n}")
                          && Contains("-P " + knee + " -I {} sleep 0.002")
                          && Contains("report: " + report));
  auto page = content(report);
  CHECK(test::why_not_well_formed(page).empty());
  CHECK(test::occurrences(page, "<circle") == 2 * found.all.size());
  for (auto size : found.all)
    CHECK_THAT(page, Contains("<title>" + std::to_string(size) + " workers: "));
}

TEST_CASE("other programs take the line and the file that tune prints",
          "[tune]") {
  auto end = quick({"--command=true {}", "a", "b"});
  REQUIRE(end.status == 0);
  auto lines = test::lines(end.out);
  auto at = std::find_if(lines.begin(), lines.end(), [](const auto& line) {
    return line.starts_with("to use it: ");
  });
  REQUIRE(lines.end() - at >= 5);
  auto knee = std::to_string(sizes_in(end.out).knee);
  auto by_line = test::fanout({at->substr(11), "--troupe.explain"});
  CHECK(by_line.status == 0);
  CHECK_THAT(by_line.out, Contains("  workers = " + knee + " (troupe.workers"));
  test::temp_folder folder;
  auto file =
      folder.write("c.conf", at[2] + "\n" + at[3] + "\n" + at[4] + "\n");
  auto by_file = test::fanout({"--config-file=" + file, "--troupe.explain"});
  CHECK(by_file.status == 0);
  CHECK_THAT(by_file.out, Contains("  workers = " + knee + " (troupe.workers"));
}

TEST_CASE("without targets tune tries a world of its own", "[tune]") {
  auto end = quick_of_two({});
  CHECK(end.status == 0);
  CHECK_THAT(end.err, Contains("of a small world"));
  CHECK(sizes_in(end.out).all == std::vector{1, 2});
  CHECK_THAT(end.out, !Contains("failed:"));
}

TEST_CASE("targets may be fewer than workers, since reading them twice at once "
          "changes nothing",
          "[tune]") {
  test::temp_folder folder;
  auto file = folder.write("a", "text");
  auto end = quick_of_two({file});
  CHECK(end.status == 0);
  CHECK_THAT(end.err, StartsWith("tune: " + file
                                 + ": 1 round with each number "
                                   "of workers, 1 to 2"));
  CHECK(sizes_in(end.out).all == std::vector{1, 2});
}

TEST_CASE("there are no more workers than lines", "[tune]") {
  auto end = quick({"--most=64", "--command=true", "a", "b", "c"});
  CHECK(end.status == 0);
  CHECK_THAT(end.err, Contains("1 to 3"));
  CHECK(sizes_in(end.out).all.back() <= 3);
}

TEST_CASE("lines come from arguments, standard input and a list", "[tune]") {
  test::temp_folder folder;
  auto seen = folder.path("seen");
  std::filesystem::create_directory(seen);
  auto list = folder.write("list", "e f\n\n$(g)");
  auto end = quick(
      {"--command=touch " + seen + "/{}", "--list=" + list, "a", "-", "b"},
      {.input = "c\n\n d"});
  CHECK(end.status == 0);
  CHECK_THAT(end.err, Contains("for each of 6 lines"));
  texts names;
  for (const auto& entry : std::filesystem::directory_iterator{seen})
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  CHECK(names == texts{" d", "$(g)", "a", "b", "c", "e f"});
}

TEST_CASE("asked for advice, tune gives it once and not for each round",
          "[tune]") {
  auto end = quick({"--troupe.advise", "--command=true", "a", "b"});
  CHECK(end.status == 0);
  CHECK(test::occurrences(end.err, "(Little's law)") == 1);
}

// -- what commands find -------------------------------------------------------

TEST_CASE("no line has its command twice at once", "[tune]") {
  test::temp_folder folder;
  auto lock = folder.path("lock");
  auto end = quick_of_two({"--command=sh -c 'mkdir \"" + lock
                               + "-$1\" && rmdir \"" + lock + "-$1\"' sh {}",
                           "a", "b"});
  CHECK(end.status == 0);
  CHECK(sizes_in(end.out).all == std::vector{1, 2});
  CHECK_THAT(end.out, !Contains("failed:"));
}

TEST_CASE("a command finds no input, no foreign file and fresh signals",
          "[tune]") {
  // The third descriptor is the folder that ls reads. glibc itself has two
  // signals of its own ignored, beyond all that have names.
  auto end = quick(
      {"--command=sh -c 'test -z \"$(cat)\" || exit 3; "
       "test \"$(ls /proc/self/fd | tr \"\\n\" \" \")\" = \"0 1 2 3 \" || exit "
       "4; grep -q \"^SigBlk:.0*$\" /proc/self/status || exit 5; "
       "grep -q \"^SigIgn:.*0000000$\" /proc/self/status || exit 6'",
       "a", "b"},
      {.input = "not for commands"});
  CHECK(end.status == 0);
  CHECK_THAT(end.out, !Contains("failed:"));
}

TEST_CASE("what commands print goes nowhere, or is shown when asked for",
          "[tune]") {
  texts command{"--command=sh -c 'echo printed; echo complained >&2'", "a"};
  auto end = quick(command);
  CHECK(end.status == 0);
  CHECK(test::occurrences(end.out + end.err, "\nprinted") == 0);
  CHECK(test::occurrences(end.out + end.err, "\ncomplained") == 0);
  command.push_back("--show");
  auto shown = quick(command);
  CHECK(shown.status == 0);
  CHECK(test::occurrences(shown.err, "\nprinted") > 0);
  CHECK(test::occurrences(shown.err, "\ncomplained") > 0);
  CHECK(test::occurrences(shown.out, "printed\n") == 0);
}

// -- failures -----------------------------------------------------------------

TEST_CASE("commands that fail are told with status and errors", "[tune]") {
  auto end = quick({"--command=sh -c 'case $1 in bad) echo why >&2; echo >&2; "
                    "echo because >&2; exit 7;; worse) kill -SEGV $$;; esac' "
                    "sh {}",
                    "good", "bad", "fine", "worse"});
  CHECK(end.status == 0);
  CHECK_THAT(end.out,
             Contains("\nfailed: bad: exit status 7: why ... because\n")
                 && Contains("\nfailed: worse: SIGSEGV\n")
                 && Contains("failed, for 2 lines") && Contains("to use it"));
}

TEST_CASE("when all fail nothing is recommended", "[tune]") {
  test::temp_folder folder;
  auto report = folder.path("r.html");
  auto end = tune({"--command=sh -c 'echo no >&2; exit 1'", "a", "b", "c", "d",
                   "e", "--report=" + report});
  CHECK(end.status == 1);
  CHECK(test::lines(end.out).size() == 7);
  CHECK_THAT(end.out, StartsWith("5 commands failed, for 5 lines; the "
                                 "first:\n")
                          && Contains(": exit status 1: no\n")
                          && Contains("  ... 2 more\n")
                          && Contains("no command succeeded: nothing to "
                                      "recommend\n")
                          && !Contains("troupe.workers"));
  CHECK_FALSE(std::filesystem::exists(report));
  auto targets = quick({folder.path("none")});
  CHECK(targets.status == 1);
  CHECK_THAT(targets.out,
             Contains("failed: " + folder.path("none")
                      + ": cannot open: No such file or directory"));
}

TEST_CASE("a command that takes longer than all the time is not measured",
          "[tune]") {
  auto end = quick({"--command=sleep 1.1", "a"});
  CHECK(end.status == 1);
  CHECK_THAT(end.out, Contains("nothing was measured")
                          && Contains("left out, since --seconds=1 were up: "
                                      "1 not tried at all"));
}

// -- bad input ----------------------------------------------------------------

TEST_CASE("bad input to tune is one line and status 2", "[tune]") {
  check_usage({"--comand=true"}, "did you mean '--command'?");
  check_usage({"--list="}, "cannot read the list ''");
  check_usage({"--rounds=0"}, "rounds = '0'");
  check_usage({"--most=0"}, "most = '0'");
  check_usage({"--within=100"}, "within = '100'");
  check_usage({"--seconds=1s"}, "seconds = '1s'");
  check_usage({"--show", "a"}, "--show is for commands");
  check_usage({"--command=true"}, "no lines to run the command for");
  check_usage({"--command=ls {} | wc", "a"}, "'|' means nothing without a");
  check_usage({"--command='ls", "a"}, "is not closed");
  check_usage({"--command=no-such-program {}", "a"},
              "cannot execute 'no-such-program': No such file or directory");
  check_usage({"--command=/etc/passwd", "a"},
              "cannot execute '/etc/passwd': Permission denied");
  check_usage({"--list=/no/such/list"},
              "cannot read the list '/no/such/list': No such file");
  check_usage({"--command=true", "--list=/no/such/list"},
              "cannot read the list '/no/such/list': No such file");
  check_usage({"--list=/dev/null"}, "no targets: the input is empty");
  check_usage({"--command=true", "--list=/dev/null"}, "the input is empty");
  check_usage({"-", "-"}, "given as a list more than once");
}

TEST_CASE("a report that cannot be written is known before any work is done",
          "[tune]") {
  test::temp_folder folder;
  auto trace = folder.path("trace");
  auto other = folder.write("other", "my work");
  for (const auto& [report, why] :
       std::map<std::string, std::string>{{"/no/such/r", "No such file"},
                                          {other, "is no report"},
                                          {"", "no file"}}) {
    auto end = tune(
        {"--command=touch {}", trace, "--report=" + report, "--seconds=1"});
    CHECK(end.status == 2);
    CHECK(end.out.empty());
    REQUIRE(test::lines(end.err).size() == 1);
    CHECK_THAT(end.err, StartsWith("tune: ") && Contains(why));
  }
  CHECK_FALSE(std::filesystem::exists(trace));
  CHECK(content(other) == "my work");
}

// -- SIGINT -------------------------------------------------------------------

TEST_CASE("SIGINT ends the commands that run, and what they have started",
          "[tune]") {
  told by_command;
  test::child running{tune_command({"--command=sh -c 'sleep 1000 & echo $$ $! "
                                    "> \"$1\"; wait' sh {}",
                                    "--no-report", by_command.path()})};
  auto line = by_command.line();
  running.signal(SIGINT);
  auto end = running.wait();
  CHECK(end.status == 130);
  CHECK_THAT(end.out, Contains("interrupted before anything was measured"));
  CHECK_THAT(end.err, Contains("tune: interrupted: 0 numbers of workers"));
  auto blank = line.find(' ');
  REQUIRE(blank != std::string::npos);
  CHECK(is_gone(std::stoi(line)));
  // Its parent is gone, so whoever adopts it may not have waited for it yet:
  // but it dies as soon as it has a processor. Failure is a hang.
  for (auto alive = true; alive;) {
    auto left = content("/proc/" + line.substr(blank + 1) + "/stat");
    alive = !left.empty() && left.find(") Z ") == std::string::npos;
  }
}

TEST_CASE("SIGINT ends also a command that ignores SIGTERM", "[tune]") {
  told by_command;
  test::child running{
      tune_command({"--command=sh -c 'trap \"\" TERM; echo $$ > \"$1\"; exec "
                    "sleep 1000' sh {}",
                    "--no-report", by_command.path()})};
  auto process = std::stoi(by_command.line());
  running.signal(SIGINT);
  CHECK(running.wait().status == 130);
  CHECK(is_gone(process));
}

TEST_CASE("SIGINT prints and writes what is known so far", "[tune]") {
  told by_command;
  test::temp_folder folder;
  auto report = folder.path("r.html");
  // Each command takes longer than a round, so that each is one.
  test::child running{tune_command(
      {"--command=sh -c 'echo > \"$1\"; sleep 0.1' sh {}", "--rounds=1000",
       "--seconds=60", "--report=" + report, by_command.path()})};
  for (int i = 0; i < 10; ++i)
    by_command.line();
  running.signal(SIGINT);
  auto end = running.wait();
  CHECK(end.status == 130);
  CHECK(sizes_in(end.out).all == std::vector{1});
  CHECK_THAT(end.out, Contains("to use it: --troupe.workers=1"));
  CHECK_THAT(end.err, Contains("tune: interrupted: 1 number of workers"));
  auto page = content(report);
  CHECK(test::why_not_well_formed(page).empty());
  CHECK_THAT(page, Contains("interrupted before the end"));
}

TEST_CASE("SIGINT ends the wait for a list that somebody writes", "[tune]") {
  for (texts what : {texts{"--command=true"}, texts{}}) {
    test::temp_folder folder;
    auto list = folder.path("list");
    REQUIRE(mkfifo(list.c_str(), 0600) == 0);
    what.push_back("--list=" + list);
    what.push_back("--no-report");
    test::child running{tune_command(what)};
    // Blocks until the program has opened it, too.
    auto writer = open(list.c_str(), O_WRONLY | O_CLOEXEC);
    REQUIRE(writer >= 0);
    CHECK(write(writer, "a\n", 2) == 2);
    running.signal(SIGINT);
    auto end = running.wait();
    close(writer);
    CHECK(end.status == 128 + SIGINT);
    CHECK(end.out.empty());
  }
}
