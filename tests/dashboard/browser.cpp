// Speaking WebDriver; see the header.

#include "browser.hpp"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>
#include <httplib.h>

#include "troupe/escape.hpp"

namespace test {

namespace {

using troupe::json_string;

// The browser gives up after its script timeout, with an error.
constexpr const char* until = R"js(
const over = arguments[arguments.length - 1];
const holds = new Function("return " + arguments[0]);
if (holds()) return over(null);
const watch = new MutationObserver(() => {
  if (!holds()) return;
  watch.disconnect();
  over(null);
});
watch.observe(document.documentElement, {subtree: true, childList: true,
  characterData: true, attributes: true});
)js";

// A pipe in place of a port: if the driver ends, so does the browser. Without a
// sandbox, since root may not have one; nothing but our page is opened.
constexpr const char* wanted = R"json({{"capabilities":{{"alwaysMatch":{{
  "goog:chromeOptions":{{"binary":{},"args":[{},
    "--headless","--remote-debugging-pipe","--no-sandbox","--disable-gpu",
    "--disable-quic","--disable-dev-shm-usage","--no-first-run",
    "--disable-background-networking","--disable-component-update",
    "--disable-sync"]}},
  "goog:loggingPrefs":{{"browser":"ALL"}},
  "timeouts":{{"script":60000,"pageLoad":60000}}}}}}}})json";

std::string from_base64(std::string_view text) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  std::uint32_t bits = 0;
  int known = 0;
  for (auto c : text) {
    auto digit = digits.find(c);
    if (digit == digits.npos)
      break;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    known += 6;
    if (known >= 8) {
      known -= 8;
      result += static_cast<char>(bits >> known & 0xFF);
    }
  }
  return result;
}

} // namespace

browser::browser()
    : driver_{{"/usr/bin/env", "TMPDIR=" + folder_.path(), TROUPE_CHROMEDRIVER,
               "--port=0"}},
      port_{std::atoi(
          driver_.word_behind("ChromeDriver was started successfully on port ")
              .c_str())} {
  session_ =
      ask("", fmt::format(wanted, json_string(TROUPE_CHROMIUM),
                          json_string("--user-data-dir="
                                      + folder_.path("profile"))))["sessionId"]
          .text();
}

browser::~browser() {
  // The browser is not in the process group of its driver.
  httplib::Client client{"127.0.0.1", port_};
  client.Delete("/session/" + session_);
}

void browser::open(const std::string& url) const {
  ask("/url", fmt::format(R"({{"url":{}}})", json_string(url)));
}

json browser::run(const std::string& script) const {
  return ask("/execute/sync",
             fmt::format(R"({{"script":{},"args":[]}})", json_string(script)));
}

void browser::await(const std::string& condition) const {
  ask("/execute/async",
      fmt::format(R"({{"script":{},"args":[{}]}})", json_string(until),
                  json_string(condition)));
}

std::vector<std::string> browser::console() const {
  std::vector<std::string> result;
  for (const auto& entry : ask("/se/log", R"({"type":"browser"})").items())
    result.push_back(entry["level"].text() + ": " + entry["message"].text());
  return result;
}

void browser::set_width(int pixels) const {
  devtools("Emulation.setDeviceMetricsOverride",
           fmt::format(R"("width":{},"height":900,"deviceScaleFactor":1,)"
                       R"("mobile":false)",
                       pixels));
}

void browser::set_scheme(const std::string& scheme) const {
  devtools("Emulation.setEmulatedMedia",
           fmt::format(R"("features":[{{"name":"prefers-color-scheme",)"
                       R"("value":{}}}])",
                       json_string(scheme)));
}

void browser::save_picture(const std::string& path) const {
  auto data = devtools("Page.captureScreenshot",
                       R"("captureBeyondViewport":true)")["data"];
  std::ofstream{path, std::ios::binary} << from_base64(data.text());
}

json browser::devtools(std::string_view command,
                       std::string_view arguments) const {
  return ask(
      "/goog/cdp/execute",
      fmt::format(R"({{"cmd":"{}","params":{{{}}}}})", command, arguments));
}

json browser::ask(const std::string& path, const std::string& body) const {
  httplib::Client client{"127.0.0.1", port_};
  client.set_read_timeout(std::chrono::seconds{100});
  auto target = session_.empty() ? std::string{"/session"}
                                 : fmt::format("/session/{}{}", session_, path);
  auto answer = client.Post(target, body, "application/json");
  if (!answer)
    throw std::runtime_error{"cannot ask the browser: "
                             + httplib::to_string(answer.error())};
  auto value = json::parse(answer->body)["value"];
  if (answer->status != 200)
    throw std::runtime_error{"the browser refuses '" + path
                             + "': " + value["message"].text()};
  return value;
}

} // namespace test
