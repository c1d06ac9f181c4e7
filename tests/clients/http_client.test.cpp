// Fetching from servers that behave, and from some that don't.
#include "troupe/http_client.hpp"

#include "tiny_server.hpp"

#include <catch2/catch.hpp>

#include <curl/curl.h>

#include <future>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using troupe::http_client;
using troupe::http_error;

namespace {

// Fetches on a thread of its own, while the test plays the server.
auto fetch(http_client& client, std::string url, std::stop_token stop = {}) {
  return std::async(std::launch::async, [&client, url = std::move(url), stop] {
    return client.get(url, stop);
  });
}

struct fixture {
  http_client client;
  test::tiny_server server;
};

} // namespace

TEST_CASE_METHOD(fixture, "a page has its status and its size",
                 "[http_client]") {
  auto answer = fetch(client, server.url("/x"));
  auto caller = server.accept();
  CHECK_THAT(caller.read_request(), StartsWith("GET /x HTTP/1.1"));
  caller.send("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nsorry");
  auto page = answer.get();
  CHECK(page.status == 404);
  CHECK(page.bytes == 5);
}

TEST_CASE_METHOD(fixture, "a body goes to whoever asks for it",
                 "[http_client]") {
  std::string body;
  auto answer = std::async(std::launch::async, [&] {
    return client.get(server.url("/x"), {},
                      [&](std::string_view bytes) { body += bytes; });
  });
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\none ");
  caller.send("two!");
  CHECK(answer.get().bytes == 8);
  CHECK(body == "one two!");
}

TEST_CASE_METHOD(fixture, "whoever refuses a body ends the transfer",
                 "[http_client]") {
  auto answer = std::async(std::launch::async, [&] {
    return client.get(server.url("/x"), {}, [](std::string_view) {
      throw std::runtime_error{"the disk is full"};
    });
  });
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
  // Failure here is a hang: the rest never comes.
  CHECK_THROWS_WITH(answer.get(), "the disk is full");
}

TEST_CASE_METHOD(fixture, "a failure says whether it may pass",
                 "[http_client]") {
  auto may_pass = [this](const std::string& url) {
    try {
      client.get(url, {});
    } catch (const http_error& why) {
      return why.may_pass();
    }
    throw std::runtime_error{"it succeeded"};
  };
  test::tiny_server deaf{false};
  CHECK(may_pass(deaf.url("/")));
  CHECK_FALSE(may_pass("ftp://127.0.0.1/"));
}

TEST_CASE_METHOD(fixture, "one connection serves several pages",
                 "[http_client]") {
  auto first = fetch(client, server.url("/1"));
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
  CHECK(first.get().bytes == 1);
  auto second = fetch(client, server.url("/2"));
  CHECK_THAT(caller.read_request(), StartsWith("GET /2 "));
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
  CHECK(second.get().bytes == 2);
}

TEST_CASE_METHOD(fixture, "a redirection is followed", "[http_client]") {
  auto answer = fetch(client, server.url("/old"));
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 0\r\n"
              "\r\n");
  CHECK_THAT(caller.read_request(), StartsWith("GET /new "));
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
  CHECK(answer.get().bytes == 2);
}

TEST_CASE_METHOD(fixture, "a redirection to a local file is not followed",
                 "[http_client]") {
  auto answer = fetch(client, server.url("/old"));
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n"
              "Content-Length: 0\r\n\r\n");
  CHECK_THROWS_WITH(answer.get(), Contains("/old: cannot fetch: "));
}

TEST_CASE_METHOD(fixture, "a server that hangs up half-way is told apart",
                 "[http_client]") {
  auto answer = fetch(client, server.url("/x"));
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
  caller.hang_up();
  CHECK_THROWS_WITH(answer.get(), Contains(": the server hung up half-way: "));
}

TEST_CASE_METHOD(fixture, "a server that hangs up at once is told apart",
                 "[http_client]") {
  auto answer = fetch(client, server.url("/x"));
  auto caller = server.accept();
  caller.read_request();
  caller.hang_up();
  CHECK_THROWS_WITH(answer.get(), "cannot GET " + server.url("/x")
                                      + ": the server hung up without an "
                                        "answer");
}

TEST_CASE_METHOD(fixture, "a port that refuses is told apart",
                 "[http_client]") {
  test::tiny_server deaf{false};
  try {
    client.get(deaf.url("/"));
    FAIL("it succeeded");
  } catch (const http_error& error) {
    CHECK(error.what()
          == "cannot GET " + deaf.url("/")
                 + ": cannot connect: Connection refused");
    CHECK(error.cause() == "cannot connect: Connection refused");
    CHECK(error.code() == CURLE_COULDNT_CONNECT);
  }
}

TEST_CASE_METHOD(fixture, "what is no URL says so", "[http_client]") {
  CHECK_THROWS_WITH(client.get("http://"),
                    StartsWith("cannot GET http://: cannot fetch: "));
}

TEST_CASE_METHOD(fixture, "a wait for an answer ends when it is stopped",
                 "[http_client]") {
  std::stop_source stop;
  auto answer = fetch(client, server.url("/x"), stop.get_token());
  auto caller = server.accept();
  caller.read_request();
  stop.request_stop();
  // Failure here is a hang: the server never answers.
  try {
    answer.get();
    FAIL("it succeeded");
  } catch (const http_error& error) {
    CHECK(error.code() == CURLE_ABORTED_BY_CALLBACK);
    CHECK_FALSE(error.may_pass());
    CHECK(error.cause() == "it was stopped on the way");
  }
}

TEST_CASE_METHOD(fixture, "what is stopped before it begins ends at once",
                 "[http_client]") {
  std::stop_source stop;
  stop.request_stop();
  CHECK_THROWS(client.get(server.url("/x"), stop.get_token()));
}

TEST_CASE_METHOD(fixture, "a body and headers are sent and come back",
                 "[http_client]") {
  auto answer = std::async(std::launch::async, [&] {
    return client.send({.url = server.url("/x"),
                        .method = "POST",
                        .headers = {{"X-Tenant", "42"}},
                        .body = "hello"});
  });
  auto caller = server.accept();
  auto head = caller.read_request();
  CHECK_THAT(head, StartsWith("POST /x HTTP/1.1"));
  CHECK_THAT(head, Contains("X-Tenant: 42\r\n"));
  CHECK_THAT(head, Contains("Content-Length: 5\r\n"));
  caller.send("HTTP/1.1 201 Created\r\nETag:  \"a\" \r\nContent-Length: "
              "3\r\n\r\nyes");
  auto page = answer.get();
  CHECK(page.status == 201);
  CHECK(page.body == "yes");
  CHECK(page.headers.at("etag") == "\"a\"");
}

TEST_CASE_METHOD(fixture, "a client may be moved between requests",
                 "[http_client]") {
  auto first = fetch(client, server.url("/1"));
  auto caller = server.accept();
  caller.read_request();
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
  CHECK(first.get().body == "a");
  auto moved = std::move(client);
  auto second = fetch(moved, server.url("/2"));
  // By the same connection.
  CHECK_THAT(caller.read_request(), StartsWith("GET /2 "));
  caller.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
  CHECK(second.get().body == "ab");
}
