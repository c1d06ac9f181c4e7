// How tune reads a command, and what it says of the errors of one.
#include "tune/command.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>
#include <vector>

using Catch::Matchers::Contains;
using tune::command;
using words = std::vector<std::string>;

namespace {

std::string problem_of(std::string_view text) {
  try {
    command{text};
  } catch (const std::invalid_argument& problem) {
    return problem.what();
  }
  return {};
}

} // namespace

TEST_CASE("blanks are between the words of a command", "[tune]") {
  CHECK(command{"cc  -c\t{}\n"}.words_for("a.c") == words{"cc", "-c", "a.c"});
  CHECK(command{" ls "}.words_for("a") == words{"ls"});
}

TEST_CASE("quotes keep what is inside, as they do for xargs", "[tune]") {
  CHECK(command{R"(f 'a b' "c 'd" e'f g'h)"}.words_for("")
        == words{"f", "a b", "c 'd", "ef gh"});
  CHECK(command{R"(f a\ b \' \\ '\' "\n" '')"}.words_for("")
        == words{"f", "a b", "'", "\\", "\\", "\\n", ""});
}

TEST_CASE("a line is put in place whole, wherever the braces are", "[tune]") {
  CHECK(command{"cp {} /tmp/{}.{}"}.words_for("a b")
        == words{"cp", "a b", "/tmp/a b.a b"});
  // What a line holds is not looked at: no shell, and no braces of its own.
  CHECK(command{"echo {}"}.words_for("$(rm x); {} 'y")
        == words{"echo", "$(rm x); {} 'y"});
  CHECK(command{"echo {}"}.takes_line());
}

TEST_CASE("a command without braces is the same for each line", "[tune]") {
  command same{"sleep 1"};
  CHECK_FALSE(same.takes_line());
  CHECK(same.words_for("a") == words{"sleep", "1"});
}

TEST_CASE("a command that cannot be meant says why", "[tune]") {
  CHECK_THAT(problem_of(""), Contains("no program"));
  CHECK_THAT(problem_of("  "), Contains("no program"));
  CHECK_THAT(problem_of("'' a"), Contains("no program"));
  CHECK_THAT(problem_of("echo 'a"), Contains("a quote ' is not closed"));
  CHECK_THAT(problem_of("echo \"a'"), Contains("a quote \" is not closed"));
  CHECK_THAT(problem_of("echo \\"), Contains("nothing follows"));
  CHECK_THAT(problem_of("{} a"), Contains("the program is a line"));
  CHECK_THAT(problem_of("ls {} | wc"), Contains("'|' means nothing without"));
  CHECK_THAT(problem_of("ls > out"), Contains("'>' means nothing without"));
  CHECK(problem_of("grep '|' {}").empty());
  CHECK(problem_of("grep \\| {}").empty());
  CHECK(problem_of("find {} -exec ls ';'").empty());
  CHECK(problem_of("sh -c 'ls \"$1\" | wc' sh {}").empty());
}

TEST_CASE("the command for xargs is one that a shell can read", "[tune]") {
  CHECK(command{"cp {} '/tmp/it'\\''s here'"}.as_xargs(12)
        == R"(xargs -d '\n' -P 12 -I {} cp {} '/tmp/it'\''s here')");
  CHECK(tune::shell_word("") == "''");
  CHECK(tune::shell_word("a=b") == "a=b");
  CHECK(tune::shell_word("$HOME") == "'$HOME'");
}

TEST_CASE("of an error output the first and the last line are kept", "[tune]") {
  tune::error_lines none;
  CHECK(none.text().empty());
  none.add("\n  \n");
  CHECK(none.text().empty());
  tune::error_lines one;
  one.add("ls: no ");
  one.add("such file\n");
  CHECK(one.text() == "ls: no such file");
  tune::error_lines many;
  many.add("Traceback\n a\n\n b\nValueError: x");
  CHECK(many.text() == "Traceback ... ValueError: x");
  tune::error_lines endless;
  for (int i = 0; i < 10'000; ++i)
    endless.add("0123456789");
  CHECK(endless.text().size() == 300);
}
