// What tune says of what it measured, from values that are written down.
#include "tune/page.hpp"
#include "tune/report.hpp"
#include "tune/report_file.hpp"

#include "child.hpp"
#include "markup.hpp"
#include "temp_folder.hpp"

#include <catch2/catch.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using texts = std::vector<std::string>;

namespace {

// Two rounds with each size, and a request that computes half of its time.
tune::summary
summary_of(const std::vector<std::pair<std::size_t, double>>& rates) {
  tune::summary all{.what = "3 targets",
                    .budget = 20s,
                    .elapsed = 19s,
                    .cores = 2,
                    .most = 64};
  for (auto [workers, rate] : rates) {
    tune::measured row{.workers = workers};
    for (auto factor : {0.9, 1.1}) {
      tune::round one{.workers = workers,
                      .rate = rate * factor,
                      .succeeded = 50,
                      .failed = 0,
                      .computed = 10ms,
                      .sampled = 20ms};
      one.ran.record(20ms, 50);
      row.add(one);
    }
    all.rows.push_back(row);
  }
  all.found = tune::find_knee(all.rows, all.within);
  return all;
}

const std::vector<std::pair<std::size_t, double>> usual{
    {1, 50}, {2, 100}, {4, 190}, {8, 200}};

std::string content(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

} // namespace

TEST_CASE("rates have three digits or more", "[tune]") {
  CHECK(tune::rate_text(0) == "0");
  CHECK(tune::rate_text(0.12345) == "0.123");
  CHECK(tune::rate_text(1.2345) == "1.23");
  CHECK(tune::rate_text(12.345) == "12.3");
  CHECK(tune::rate_text(123.45) == "123");
  CHECK(tune::rate_text(999.7) == "1,000");
  CHECK(tune::rate_text(12345.6) == "12,346");
}

TEST_CASE("the table has a row for each size and marks the knee", "[tune]") {
  auto rows = test::lines(tune::table(summary_of(usual)));
  REQUIRE(rows.size() == 5);
  CHECK(rows[0]
        == "  workers  requests/s    lowest..highest  of best       p50       "
           "p99   failed  rounds");
  CHECK(rows[3]
        == ">       4         190           171..209     95 %   20.0 ms   "
           "20.0 ms        0       2");
  CHECK_THAT(rows[4], StartsWith("        8         200 "));
}

TEST_CASE("the plot has columns as high as the rates", "[tune]") {
  CHECK(test::lines(tune::plot(summary_of(usual)))
        == texts{
            "requests/s",
            "       200 |          ##  ##",
            "           |          ##  ##",
            "           |          ##  ##",
            "           |          ##  ##",
            "       100 |      ##  ##  ##",
            "           |      ##  ##  ##",
            "           |  ##  ##  ##  ##",
            "           |  ##  ##  ##  ##",
            "         0 +----------------",
            "   workers     1   2   4   8",
            "                       ^ knee",
        });
  CHECK(tune::plot(summary_of({})).empty());
}

TEST_CASE("the sentences say the rule and the reasons", "[tune]") {
  auto all = summary_of(usual);
  CHECK(tune::knee_sentence(all)
        == "knee: 4 workers, the smallest number whose median throughput, "
           "190/s, is within 10 % of the best, 200/s with 8");
  CHECK(tune::cpu_sentence(all)
        == "a request computes 50 % of the time it runs: I/O-bound, and about "
           "4 workers keep 2 cores busy");
  for (auto& row : all.rows)
    row.times.computed = row.times.sampled * 96 / 100;
  CHECK(tune::cpu_sentence(all)
        == "a request computes 96 % of the time it runs: CPU-bound, and more "
           "than 2 workers cannot help on 2 cores");
  for (auto& row : all.rows)
    row.times.computed = row.times.sampled / 100;
  CHECK_THAT(tune::cpu_sentence(all), Contains("many workers"));
  all.skipped = {{4, 2}, {16, 1}};
  CHECK(tune::left_out_sentence(all)
        == "left out, since --seconds=20 were up: 2 rounds with 4 and 16 not "
           "tried at all");
  CHECK(tune::left_out_sentence(summary_of(usual)).empty());
}

TEST_CASE("throughput that still rises asks for more workers", "[tune]") {
  auto all = summary_of({{1, 50}, {2, 100}});
  all.most = 2;
  CHECK_THAT(tune::knee_sentence(all), Contains("try --most=8"));
  all.most_is_all = true;
  CHECK_THAT(tune::knee_sentence(all), Contains("there are no more lines"));
}

TEST_CASE("rounds that differ much are told, where that decides", "[tune]") {
  auto all = summary_of(usual);
  CHECK(tune::doubt_sentence(all).empty());
  all.rows[0].rates = {10, 90};
  CHECK(tune::doubt_sentence(all).empty());
  all.rows[3].rates = {150, 250};
  CHECK_THAT(tune::doubt_sentence(all), StartsWith("rounds with 8 differ by "
                                                   "50 %"));
  CHECK(tune::doubt_sentence(summary_of({})).empty());
}

TEST_CASE("a size with more failures is named", "[tune]") {
  auto all = summary_of(usual);
  CHECK(tune::overload_sentence(all).empty());
  all.rows[3].failed = 100;
  CHECK_THAT(tune::overload_sentence(all), Contains("8 (50 % fail) workers"));
}

TEST_CASE("without a knee nothing is recommended", "[tune]") {
  auto all = summary_of({});
  all.failed = {
      .first = {{"a\nb", "exit status 1"}}, .items = 3, .requests = 8};
  auto text = tune::text(all);
  CHECK(test::lines(text)
        == texts{"8 requests failed, for 3 targets; the first:",
                 "failed: a\\nb: exit status 1", "  ... 2 more", "",
                 "no request succeeded: nothing to recommend"});
  auto page = tune::page(all, "today");
  CHECK(test::why_not_well_formed(page).empty());
  CHECK(page.find("troupe.workers") == std::string::npos);
}

TEST_CASE("the page is well-formed, brings all it needs and has all points",
          "[tune]") {
  auto all = summary_of(usual);
  all.what = "'<script>\"&' \xff\n";
  all.noun = "command";
  all.xargs = "xargs -I {} sh -c 'a && b' sh {}";
  all.failed = {.first = {{"<b>", "a & b"}}, .items = 1, .requests = 1};
  auto page = tune::page(all, "2026-11-28 17:00");
  CHECK(test::why_not_well_formed(page).empty());
  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find("http") == std::string::npos);
  CHECK(page.find("url(") == std::string::npos);
  CHECK(page.find("src=") == std::string::npos);
  CHECK(test::occurrences(page, "<circle") == 2 * usual.size());
  for (const auto* point :
       {"1 workers: 50.0<", "2 workers: 100<", "4 workers: 190<",
        "8 workers: 200<", "8 workers: 20.0 ms<"})
    CHECK_THAT(page, Contains(point));
  CHECK(test::occurrences(page, ">knee: 4<") == 2);
  CHECK_THAT(page, Contains("<pre>--troupe.workers=4</pre>"));
  CHECK_THAT(page, Contains("<pre>troupe {\n  workers = 4\n}</pre>"));
  CHECK_THAT(page, Contains("sh -c 'a &amp;&amp; b'"));
  CHECK_THAT(page, Contains("prefers-color-scheme: dark"));
}

TEST_CASE("a page that is not well-formed is found out", "[tune]") {
  const std::string good = "<!DOCTYPE html>\n<p a=\"b\">c<br/></p>";
  CHECK(test::why_not_well_formed(good).empty());
  for (const auto* bad :
       {"<p>c", "c</p>", "<p><b></p></b>", "<p a=b>c</p>", "<p>a & b</p>",
        "<p a=\"<\">c</p>", "<p>1 > 0</p>", "<p"}) {
    CAPTURE(bad);
    CHECK_FALSE(
        test::why_not_well_formed(std::string{"<!DOCTYPE html>\n"} + bad)
            .empty());
  }
}

TEST_CASE("marks of an axis are few, round, and reach the end", "[tune]") {
  CHECK(tune::axis_marks(100) == std::vector<double>{0, 50, 100});
  CHECK(tune::axis_marks(1700)
        == std::vector<double>{0, 500, 1000, 1500, 2000});
  CHECK(tune::axis_marks(0) == std::vector<double>{0, 1});
  for (auto most = 0.0001; most < 1e7; most *= 1.7) {
    auto marks = tune::axis_marks(most);
    CHECK(marks.back() >= most);
    CHECK(marks.size() <= 6);
    CHECK(marks.size() >= 3);
  }
}

TEST_CASE("a report replaces a report, and no other file", "[tune]") {
  test::temp_folder folder;
  auto path = folder.path("r.html");
  auto long_page = tune::page(summary_of(usual), "today");
  tune::report_file{path}.write(long_page);
  CHECK(content(path) == long_page);
  auto page = tune::page(summary_of({}), "today");
  tune::report_file{path}.write(page);
  CHECK(content(path) == page);
  auto other = folder.write("other", "my work");
  CHECK_THROWS_WITH(tune::report_file{other},
                    Contains("'" + other + "': it is there, and is no report"));
  CHECK(content(other) == "my work");
}

TEST_CASE("a report that was not written leaves no file, but an old one",
          "[tune]") {
  test::temp_folder folder;
  auto path = folder.path("r.html");
  { tune::report_file unused{path}; }
  CHECK_FALSE(std::filesystem::exists(path));
  auto page = tune::page(summary_of(usual), "today");
  tune::report_file{path}.write(page);
  { tune::report_file unused{path}; }
  CHECK(content(path) == page);
}

TEST_CASE("a report that cannot be written says so at once", "[tune]") {
  CHECK_THROWS_WITH(tune::report_file{"/no/such/folder/r.html"},
                    Contains("cannot write the report "
                             "'/no/such/folder/r.html': No such file"));
  CHECK_THROWS_WITH(tune::report_file{"/"}, Contains("Is a directory"));
  CHECK_THROWS_WITH(tune::report_file{"/dev/full"}.write("text"),
                    Contains("cannot write the report '/dev/full'"));
}
