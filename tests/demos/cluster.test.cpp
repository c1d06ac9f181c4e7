// The demo cluster: real nodes as processes of their own, one of which is
// killed, and every file packed all the same.
#include "child.hpp"
#include "temp_folder.hpp"

#include <catch2/catch.hpp>

#include <csignal>
#include <random>
#include <string>
#include <vector>

using Catch::Contains;
using Catch::StartsWith;

namespace {

std::vector<std::string> cluster(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), CLUSTER_BINARY);
  return arguments;
}

// Words in no order, so that packing them is work.
std::string some_text(std::mt19937& random, std::size_t words) {
  std::string result;
  for (std::size_t i = 0; i < words; ++i)
    result += std::to_string(random() % 10'000) + ' ';
  return result;
}

struct forest {
  explicit forest(int files) {
    std::mt19937 random{42};
    for (int i = 0; i < files; ++i) {
      auto name =
          "tree/" + std::to_string(i % 3) + "/file-" + std::to_string(i);
      contents.push_back(some_text(random, 20'000));
      paths.push_back(temp.write(name, contents.back()));
    }
    temp.write("tree/empty", "");
  }

  std::string tree() const { return temp.path("tree"); }

  test::temp_folder temp;
  std::vector<std::string> paths;
  std::vector<std::string> contents;
};

std::string unpacked(const std::string& file) {
  auto end = test::run({"/usr/bin/gzip", "-dc", file});
  CHECK(end.status == 0);
  return end.out;
}

} // namespace

TEST_CASE("cluster packs every file although a node is killed half-way",
          "[cluster]") {
  forest all{39};
  auto into = all.temp.path("packed");
  auto end = test::run(cluster({"--nodes=3", "--into=" + into, all.tree()}));
  CAPTURE(end.err, end.out);
  CHECK(end.status == 0);
  CHECK_THAT(end.out, StartsWith("40 files packed, 0 failed: "));
  CHECK_THAT(end.out, Contains("node-2 was killed after 20 files; "));
  for (std::size_t i = 0; i < all.paths.size(); ++i)
    CHECK(unpacked(into + all.paths[i] + ".gz") == all.contents[i]);
  CHECK(unpacked(into + all.tree() + "/empty.gz").empty());
}

TEST_CASE("without a kill no node of cluster is lost", "[cluster]") {
  forest all{9};
  auto end = test::run(
      cluster({"--nodes=2", "--processes=2", "--no-kill", all.tree()}));
  CAPTURE(end.err, end.out);
  CHECK(end.status == 0);
  CHECK_THAT(end.out, StartsWith("10 files packed, 0 failed: "));
  CHECK_THAT(end.out, !Contains("killed"));
  CHECK_THAT(end.err, !Contains("is lost"));
}

TEST_CASE("a file that cluster cannot read fails alone, and is named",
          "[cluster]") {
  forest all{5};
  auto missing = all.temp.path("missing");
  auto end = test::run(
      cluster({"--nodes=2", "--no-kill", all.tree(), missing, all.tree()}));
  CAPTURE(end.err, end.out);
  CHECK(end.status == 1);
  CHECK_THAT(end.out, StartsWith("12 files packed, 1 failed: "));
  CHECK_THAT(end.err, Contains("failed: " + missing
                               + ": cannot open: No such file or directory"));
}

TEST_CASE("a node that dials in from outside does the work of cluster",
          "[cluster]") {
  forest all{5};
  test::child pool{cluster({"--nodes=0", all.tree()}), {.terminal = true}};
  std::string opening = "--connect=";
  pool.wait_for_output(opening);
  pool.wait_for_output("\n");
  auto shown = pool.shown();
  auto begin = shown.find(opening);
  auto address =
      shown.substr(begin, shown.find_first_of("\r\n", begin) - begin);
  test::child node{
      cluster({"--troupe-node", "--once", address, "--processes=2"})};
  auto end = pool.wait();
  CAPTURE(end.out);
  CHECK(end.status == 0);
  CHECK_THAT(end.out, Contains("6 files packed, 0 failed: "));
  // With --once, a node does not wait for another pool. Whether it was let go
  // or only lost its pool is a matter of who is faster.
  auto left = node.wait();
  CAPTURE(left.err);
  CHECK(left.status <= 1);
}

TEST_CASE("SIGINT ends cluster while it waits for nodes, and it says so",
          "[cluster]") {
  forest all{5};
  test::child pool{cluster({"--nodes=0", all.tree()}), {.terminal = true}};
  pool.wait_for_output("--connect=");
  pool.signal(SIGINT);
  auto end = pool.wait();
  CHECK(end.status == 130);
  CHECK_THAT(end.out, Contains("interrupted: 6 files were not packed"));
}

TEST_CASE("no node of cluster is left when it is killed", "[cluster]") {
  test::child pool{cluster({"--nodes=2", "--no-kill", "/usr/include"}),
                   {.terminal = true}};
  pool.wait_for_output("'node-2'");
  pool.signal(SIGKILL);
  // Reads until all who could write are gone: failure here is a hang.
  CHECK(pool.wait().status == 128 + SIGKILL);
}

TEST_CASE("cluster refuses bad input in one line, and starts nothing",
          "[cluster]") {
  test::temp_folder temp;
  auto empty = temp.path("empty");
  std::filesystem::create_directory(empty);
  struct {
    std::vector<std::string> arguments;
    std::string line;
  } cases[]{
      {{"--nodes=x"}, "cluster: nodes = 'x': not a count"},
      {{"--nodes=65"}, "cluster: nodes = '65': out of range"},
      {{"--processes=0"}, "cluster: processes = '0': out of range"},
      {{"--listen=here"}, "cluster: listen = 'here': not valid"},
      {{"--listen=0.0.0.0:0"},
       "cluster: listen = '0.0.0.0:0': others than this machine can reach it, "
       "which takes --tls-cert, --tls-key and --tls-ca; "},
      {{"--tls-cert=/none", "--tls-key=/none", "--tls-ca=/none"},
       "cluster: node_network.tls: certificate '/none': No such file"},
      {{"--nodes=2", "--tls-cert=/none"}, "cluster: nodes = '2': with "},
      {{"--node=2"}, "cluster: unknown option '--node=2'; did you mean "},
      {{"--into=/proc/none", "/etc/passwd"},
       "cluster: cannot cluster into '/proc/none': "},
      {{empty}, "cluster: nothing to pack: there are no files"},
  };
  for (const auto& x : cases) {
    auto end = test::run(cluster(x.arguments));
    CAPTURE(x.arguments, end.err);
    CHECK(end.status == 2);
    CHECK(end.out.empty());
    CHECK(test::lines(end.err).size() == 1);
    CHECK_THAT(end.err, StartsWith(x.line));
  }
}

TEST_CASE("the help of each demo says what its arguments are", "[help]") {
  struct {
    const char* program;
    const char* usage;
    std::vector<const char*> words;
  } const demos[] = {
      {FANOUT_BINARY,
       " [options] [--] [TARGET ...]\n",
       {"URL", "file", "folder", "sqlite:FILE?QUERY", " - "}},
      {TUNE_BINARY,
       " [options] [--] [TARGET ...]\n",
       {"URL", "file", "folder", "sqlite:FILE?QUERY", " - ", "--command"}},
      {MIRROR_BINARY, " [options] [--] [URL ...]\n", {"http://", "--list"}},
      {CLUSTER_BINARY,
       " [options] [--] [PATH ...]\n",
       {"file", "folder", "/usr/include"}},
      {ISOLATE_BINARY, " [options]\n", {}},
  };
  for (const auto& demo : demos) {
    CAPTURE(demo.program);
    auto end = test::run({demo.program, "--help"});
    CHECK(end.status == 0);
    auto text = end.out.substr(0, end.out.find("global options"));
    CHECK_THAT(text, Contains(demo.usage));
    for (const auto* word : demo.words)
      CHECK_THAT(text, Contains(word));
  }
}

TEST_CASE("a report that nobody takes is an error", "[cluster]") {
  test::temp_folder folder;
  auto file = folder.write("a", "text");
  auto with = [&](const char* redirection) {
    return test::run({"/bin/sh", "-c",
                      std::string{"exec \"$0\" \"$@\" "} + redirection,
                      CLUSTER_BINARY, "--nodes=1", "--no-kill", file});
  };
  auto full = with("> /dev/full");
  CHECK(full.status == 1);
  CHECK_THAT(full.err, Contains("cluster: cannot write to standard output: No "
                                "space left on device\n"));
  // Nor does it go into a file or a socket with the number of a closed one.
  auto closed = with(">&-");
  CHECK(closed.status == 1);
  CHECK_THAT(closed.err, Contains("cluster: cannot write to standard output: "
                                  "Bad file descriptor\n"));
}
