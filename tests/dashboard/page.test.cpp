// The live page in a real browser: what it shows while a pool works, and that
// it can be read on a small screen, in light and in the dark.

#include "troupe/dashboard.hpp"

#include "troupe/escape.hpp"
#include "troupe/troupe.hpp"

#include "browser.hpp"
#include "captured_log.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

using namespace std::chrono_literals;
using Catch::Contains;

namespace {

struct world {
  test::captured_log log;
  troupe::config cfg;
  caf::actor_system sys{cfg};
  troupe::pool io{sys, troupe::pool_options{.name = "io", .workers = 2}};
  std::optional<troupe::dashboard> page{troupe::dashboard_address{}};
  test::browser browser;

  world() {
    browser.open(fmt::format("http://127.0.0.1:{}/", page->port()));
    browser.await("document.querySelector('h2') !== null");
  }

  std::string text() const {
    return browser.run("return document.body.innerText").text();
  }

  /// Blocks until the page shows all of these words.
  void await_text(const std::vector<std::string>& words) const {
    std::string condition = "true";
    for (const auto& word : words)
      condition += " && document.body.innerText.includes("
                   + troupe::json_string(word) + ")";
    browser.await(condition);
  }

  /// Leaves a picture where somebody who wants to see the page asks for it.
  void picture(const std::string& name) const {
    if (const auto* folder = std::getenv("TROUPE_PICTURES"))
      browser.save_picture(std::string{folder} + "/" + name + ".png");
  }
};

// The number in the first chart.
constexpr const char* queued =
    "return document.querySelector('figcaption').lastChild.textContent";

// What is wider than the window, each with how far it reaches.
constexpr const char* too_wide = R"js(
const limit = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth <= limit) return [];
return [...document.querySelectorAll("body *")]
  .filter(x => x.getBoundingClientRect().right > limit)
  .map(x => x.tagName + " " + x.className + " "
            + x.getBoundingClientRect().right);
)js";

// The least contrast of a text with what is behind it, by the formula of WCAG.
constexpr const char* least_contrast = R"js(
const numbers = css => css.match(/[\d.]+/g).map(Number);
const part = x => (x /= 255) <= 0.04045 ? x / 12.92
                                        : ((x + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) =>
  0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const behind = node => {
  for (; node; node = node.parentElement) {
    const color = numbers(getComputedStyle(node).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
let least = 21;
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some(
    x => x.nodeType === Node.TEXT_NODE && x.textContent.trim());
  if (!own || !node.getClientRects().length) continue;
  const both = [light(numbers(getComputedStyle(node).color)),
                light(behind(node))].sort((a, b) => b - a);
  least = Math.min(least, (both[0] + 0.05) / (both[1] + 0.05));
}
return least;
)js";

// How light what is behind the page is, from 0 to 255.
constexpr const char* lightness = R"js(
return Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0]);
)js";

void work(world& w) {
  w.io.map(std::vector<int>(1'000), [](int) {}).label("load").get();
  for (int i = 0; i < 3; ++i)
    CHECK_THROWS(
        w.io.run([] { throw std::runtime_error{"no"}; }).label("bad").get());
}

} // namespace

TEST_CASE("the page shows what the pool does while it works, and its console "
          "stays empty",
          "[page]") {
  test::gate busy;
  world w;
  test::open_at_exit release{busy};
  w.await_text({"io", "0 of 2 workers"});
  work(w);
  w.await_text({"load", "1,000", "bad"});
  std::vector<troupe::operation<void>> three;
  for (int i = 0; i < 3; ++i)
    three.push_back(w.io.run([&] { busy.pass(); }).label("slow").start());
  w.await_text({"2 busy", "slow"});
  // The lane of a worker says how long, and goes on counting.
  constexpr const char* lane = "document.querySelector('.team .busy')";
  auto before =
      w.browser.run(fmt::format("return {}.textContent", lane)).text();
  CHECK_THAT(before, Contains("slow"));
  w.browser.await(fmt::format("{0} && {0}.textContent !== {1}", lane,
                              troupe::json_string(before)));
  w.await_text({"2 busy"});
  CHECK(w.browser.run(queued).text() == "1");
  // Its lines are drawn.
  CHECK(w.browser
            .run("return [...document.querySelectorAll('polyline')].filter("
                 "x => x.getAttribute('points')).length")
            .number()
        == 6);
  w.picture("busy");
  busy.open();
  for (auto& x : three)
    x.get();
  w.await_text({"0 busy"});
  CHECK(w.browser.run(queued).text() == "0");
  CHECK(w.browser.console() == std::vector<std::string>{});
}

TEST_CASE("at 400 pixels nothing has to be moved sideways", "[page]") {
  test::gate busy;
  world w;
  test::open_at_exit release{busy};
  w.browser.set_width(400);
  work(w);
  auto slow =
      w.io.run([&] { busy.pass(); }).label(std::string(300, 'x')).start();
  w.await_text({"xxxxxxxxxx", "1 busy", "bad"});
  CHECK_THAT(w.text(), !Contains("expired"));
  w.picture("narrow");
  std::vector<std::string> found;
  for (const auto& x : w.browser.run(too_wide).items())
    found.push_back(x.text());
  CHECK(found == std::vector<std::string>{});
  // The same finds what is too wide.
  w.browser.run("document.querySelector('h2').style.width = '500px'");
  CHECK_FALSE(w.browser.run(too_wide).items().empty());
  busy.open();
  slow.get();
}

TEST_CASE("the page can be read in light and in the dark", "[page]") {
  test::gate busy;
  test::gate late;
  world w;
  test::open_at_exit release{busy};
  work(w);
  // With columns that the table has only then.
  while (late.arrivals() == 0)
    CHECK_THROWS(
        w.io.run([&] { late.pass(); }).label("late").timeout(20ms).get());
  late.open();
  auto slow = w.io.run([&] { busy.pass(); }).label("slow").start();
  w.await_text({"load", "slow", "1 busy", "expired"});
  w.browser.set_scheme("light");
  CHECK(w.browser.run(lightness).number() > 200);
  CHECK(w.browser.run(least_contrast).number() >= 4.5);
  w.picture("light");
  w.browser.set_scheme("dark");
  CHECK(w.browser.run(lightness).number() < 60);
  CHECK(w.browser.run(least_contrast).number() >= 4.5);
  w.picture("dark");
  // The same finds what cannot be read.
  w.browser.run("document.querySelector('h2').style.color = '#333'");
  CHECK(w.browser.run(least_contrast).number() < 4.5);
  busy.open();
  slow.get();
}

TEST_CASE("the page says that its program has ended", "[page]") {
  world w;
  w.page.reset();
  w.await_text({"not connected"});
  // What cannot be reached is all that it complains about; so the console is
  // looked at.
  auto said = w.browser.console();
  CHECK_FALSE(said.empty());
  for (const auto& line : said)
    CHECK_THAT(line, Contains("net::ERR_"));
}
