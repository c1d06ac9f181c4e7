// What a pool of nodes promises to those who are not on its machine: whoever
// has no certificate of its authority gets nowhere, and harms nobody. With
// certificates that demos/certificates makes.

#include "authority.hpp"
#include "captured_log.hpp"
#include "gate_folder.hpp"
#include "node_world.hpp"
#include "raw_connection.hpp"

#include <catch2/catch.hpp>

#include <sys/socket.h>

#include <caf/io/middleman.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#if TROUPE_TLS

#  include <caf/openssl/manager.hpp>

using namespace std::chrono_literals;

using test::as_arguments;
using test::authority;
using test::child_process;
using test::connect_to;
using test::eventually;
using test::hall;
using test::network;
using test::our_authority;
using test::runs;
using test::start_node;
using test::text_of;
using test::turned_away;
using test::wait_for_end;
using troupe::ec;
using troupe::tls_files;

namespace {

const authority& somebody_elses() {
  static authority instance;
  return instance;
}

/// What a node says that gives up at once if it is not let in.
std::string said_by(std::uint16_t port, std::vector<std::string> more,
                    int status) {
  test::gate_folder folder;
  more.emplace_back("--once");
  auto node = start_node(port, "stranger", 1, folder.file("said"), more);
  CHECK(node.wait() == status);
  return text_of(folder.file("said"));
}

std::string refusal_of(const tls_files& files) {
  troupe::config cfg;
  try {
    troupe::load_nodes(cfg, {files});
    return "it was accepted";
  } catch (const troupe::failure& why) {
    return why.code() == ec::invalid_option ? why.what() : "another code";
  }
}

} // namespace

// -- who is let in ------------------------------------------------------------

TEST_CASE("with certificates of one authority, a node works over TLS",
          "[node_tls]") {
  hall h{{}, {our_authority().pool()}};
  auto node = start_node(h.pool.port(), "a", 1, {},
                         as_arguments(our_authority().node()));
  CHECK(h.pool.call(test::add, 2, 3).get() == 5);
  std::string large(4 * 1024 * 1024, 'x');
  CHECK(h.pool.call(test::echo, large).get() == large);
  node.signal(SIGTERM);
  CHECK(node.wait() == 0);
}

TEST_CASE("with certificates, other interfaces can be listened on",
          "[node_tls]") {
  hall h{{.listen = {"0.0.0.0", 0}}, {our_authority().pool()}};
  auto node = start_node(h.pool.port(), "a", 1, {},
                         as_arguments(our_authority().node()));
  CHECK(h.pool.call(test::add, 2, 3).get() == 5);
}

TEST_CASE("an address that this machine does not have is one error",
          "[node_tls]") {
  network net{{our_authority().pool()}};
  try {
    troupe::node_pool pool{
        *net.system, test::all_procedures(), {.listen = {"192.0.2.1", 0}}};
    FAIL("it was made");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::invalid_option);
    CHECK_THAT(why.what(), Catch::Contains("192.0.2.1")
                               && Catch::Contains("Cannot assign requested "
                                                  "address"));
  }
}

// -- who is not ---------------------------------------------------------------

TEST_CASE("a node whose certificate another authority has signed is refused",
          "[node_tls]") {
  hall h{{}, {our_authority().pool()}};
  // It trusts our authority, and has a certificate of another one; its own
  // check is gone round by one file with both authorities.
  test::gate_folder folder;
  auto both = folder.file("both.pem");
  REQUIRE(runs("cat " + our_authority().file("ca.pem") + ' '
               + somebody_elses().file("ca.pem") + " >" + both));
  auto stranger = somebody_elses().node();
  stranger.ca = both;
  CHECK_THAT(said_by(h.pool.port(), as_arguments(stranger), 1),
             Catch::Contains("does not accept our certificate"));
  CHECK(h.pool.nodes().joined == 0);
  eventually([&] { return h.pool.nodes().refused == 1; });
  auto node = start_node(h.pool.port(), "a", 1, {},
                         as_arguments(our_authority().node()));
  CHECK(h.pool.call(test::add, 2, 3).get() == 5);
}

TEST_CASE("a node does not trust a pool of another authority", "[node_tls]") {
  hall h{{}, {somebody_elses().pool()}};
  CHECK_THAT(said_by(h.pool.port(), as_arguments(our_authority().node()), 1),
             Catch::Contains("its certificate is not accepted"));
}

TEST_CASE("a node cannot pose as the pool", "[node_tls]") {
  hall h{{}, {our_authority().node()}};
  CHECK_THAT(said_by(h.pool.port(), as_arguments(our_authority().node()), 1),
             Catch::Contains("its certificate is not accepted")
                 && Catch::Contains("purpose"));
}

TEST_CASE("a node without certificates is not heard", "[node_tls]") {
  hall h{{}, {our_authority().pool()}};
  CHECK_THAT(said_by(h.pool.port(), {}, 1),
             Catch::Contains("wants certificates"));
  CHECK(h.pool.nodes().joined == 0);
}

TEST_CASE("a node without certificates says what is likely, also when the pool "
          "has less patience than it",
          "[node_tls]") {
  hall h{{.heartbeat = 50ms, .timeout = 100ms}, {our_authority().pool()}};
  CHECK_THAT(said_by(h.pool.port(), {}, 1),
             Catch::Contains("hangs up without a word")
                 && Catch::Contains("wants certificates"));
}

TEST_CASE("a node with certificates does not speak to a pool without",
          "[node_tls]") {
  hall h;
  CHECK_THAT(said_by(h.pool.port(), as_arguments(our_authority().node()), 1),
             Catch::Contains("no TLS handshake"));
}

TEST_CASE(
    "an HTTP request, garbage and handshakes that are never finished harm "
    "nobody",
    "[node_tls]") {
  hall h{{}, {our_authority().pool()}};
  std::vector<troupe::unique_fd> silent;
  for (int i = 0; i < 30; ++i)
    silent.push_back(connect_to(h.pool.port()));
  for (const std::string text :
       {"GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\x02", "xyzxyzxyzxyz"}) {
    auto fd = connect_to(h.pool.port());
    CHECK(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL)
          == static_cast<ssize_t>(text.size()));
    silent.push_back(std::move(fd));
  }
  auto node = start_node(h.pool.port(), "a", 1, {},
                         as_arguments(our_authority().node()));
  CHECK(h.pool.call(test::add, 2, 3).get() == 5);
  silent.clear();
  CHECK(h.pool.call(test::add, 2, 3).get() == 5);
  CHECK(h.pool.nodes().lost == 0);
}

TEST_CASE("connections that break off do not take that of a node with them",
          "[node_tls]") {
  hall h{{}, {our_authority().pool()}};
  auto node = start_node(h.pool.port(), "a", 1, {},
                         as_arguments(our_authority().node()));
  h.pool.call(test::add, 2, 3).get();
  for (auto i = 0; i < 200; ++i) {
    auto call = h.pool.call(test::add, 2, i).start();
    {
      auto stranger = connect_to(h.pool.port());
      if (i % 2 == 0)
        ::send(stranger.get(), "xyzxyzxyz", 9, MSG_NOSIGNAL);
    }
    CHECK(call.get() == 2 + i);
  }
  CHECK(h.pool.nodes().joined == 1);
  CHECK(h.pool.nodes().lost == 0);
}

TEST_CASE("a handshake that is never finished ends after the timeout, and the "
          "log says so",
          "[node_tls]") {
  test::captured_log log;
  hall h{{.heartbeat = 20ms, .timeout = 200ms}, {our_authority().pool()}};
  std::vector<troupe::unique_fd> silent;
  for (int i = 0; i < 30; ++i)
    silent.push_back(connect_to(h.pool.port()));
  auto half = connect_to(h.pool.port());
  REQUIRE(::send(half.get(), "\x16\x03\x01\x02", 4, MSG_NOSIGNAL) == 4);
  wait_for_end(half);
  for (auto& fd : silent)
    wait_for_end(fd);
  eventually([&] { return h.pool.nodes().refused == 31; });
  eventually([&] { return !turned_away(log).empty(); });
  CHECK_THAT(turned_away(log).front(),
             Catch::Contains("127.0.0.1:")
                 && Catch::Contains("no TLS handshake within 200ms"));
}

TEST_CASE("a node that has shaken hands outlives the timeout of handshakes",
          "[node_tls]") {
  hall h{{.heartbeat = 50ms, .timeout = 2s}, {our_authority().pool()}};
  auto node = start_node(h.pool.port(), "a", 1, {},
                         as_arguments(our_authority().node()));
  CHECK(h.pool.call(test::add, 2, 3).get() == 5);
  wait_for_end(connect_to(h.pool.port()));
  CHECK(h.pool.call(test::add, 2, 3).get() == 5);
  CHECK(h.pool.nodes().joined == 1);
  CHECK(h.pool.nodes().lost == 0);
}

namespace {

/// How many connections to the port this process has accepted, and how many of
/// them the system probes when nothing is said on them.
std::pair<int, int> accepted_and_probed(std::uint16_t port) {
  std::pair<int, int> result;
  for (const auto& x : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    auto fd = std::stoi(x.path().filename());
    sockaddr_in where{};
    socklen_t size = sizeof(where);
    sockaddr_in peer{};
    socklen_t peer_size = sizeof(peer);
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&where), &size) != 0
        || ntohs(where.sin_port) != port
        || ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size)
               != 0)
      continue;
    int probed = 0;
    size = sizeof(probed);
    ::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &probed, &size);
    ++result.first;
    result.second += probed;
  }
  return result;
}

} // namespace

// Its first connection, by which it has seen that there is a pool, was closed
// as it joined. The pool forgot it a little later, by its descriptor, which the
// connection of another node had by then: the one that was just joining was cut
// off. And what a machine without power has left open, stays open for ever.
TEST_CASE("a node closes no connection before it leaves, and the system looks "
          "after them",
          "[node_tls]") {
  hall h{{}, {our_authority().pool()}};
  auto node = start_node(h.pool.port(), "a", 1, {},
                         as_arguments(our_authority().node()));
  h.pool.call(test::add, 2, 3).get();
  CHECK(accepted_and_probed(h.pool.port()) == std::pair{2, 2});
}

TEST_CASE("who fails to shake hands is named in the log of the pool",
          "[node_tls]") {
  test::captured_log log;
  hall h{{.heartbeat = 20ms}, {our_authority().pool()}};
  auto told = [&](std::uint64_t refused) {
    eventually([&] { return h.pool.nodes().refused == refused; });
    eventually([&] { return turned_away(log).size() == refused; });
    return turned_away(log).back();
  };
  {
    auto fd = connect_to(h.pool.port());
    REQUIRE(::send(fd.get(), "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL) == 18);
    wait_for_end(fd);
  }
  CHECK_THAT(told(1), Catch::Contains("http request"));
  connect_to(h.pool.port()).reset();
  CHECK_THAT(told(2), Catch::Contains("hung up")
                          || Catch::Contains("unexpected eof")
                          || Catch::Contains("no TLS handshake"));
}

// -- files --------------------------------------------------------------------

TEST_CASE("certificates are checked before anything starts", "[node_tls]") {
  test::gate_folder folder;
  auto empty = folder.file("empty");
  std::ofstream{empty};
  auto text = folder.file("text");
  std::ofstream{text} << "no certificate\n";
  auto good = our_authority().pool();
  struct bad {
    tls_files files;
    const char* text;
  };
  for (const auto& x : {
           bad{{good.certificate, good.key, {}}, "there is no authority"},
           bad{{good.certificate, {}, good.ca}, "there is no key"},
           bad{{{}, good.key, good.ca}, "there is no certificate"},
           bad{{"/no/such.pem", good.key, good.ca}, "No such file"},
           bad{{good.certificate, "/no/such.key", good.ca}, "No such file"},
           bad{{good.certificate, good.key, "/no/such.ca"}, "No such file"},
           bad{{folder.path(), good.key, good.ca}, "holds no certificate"},
           bad{{empty, good.key, good.ca}, "holds no certificate"},
           bad{{good.certificate, text, good.ca}, "holds no private key"},
           bad{{good.certificate, good.key, text}, "holds no certificate"},
           bad{{good.certificate, our_authority().node().key, good.ca},
               "not that of the certificate"},
           bad{{good.certificate, good.key, somebody_elses().pool().ca},
               "not signed by the authority"},
       }) {
    CAPTURE(x.text);
    auto why = refusal_of(x.files);
    CHECK_THAT(why, Catch::StartsWith("node_network.tls: ")
                        && Catch::Contains(x.text)
                        && Catch::Contains("demos/certificates"));
    CHECK(why.find('\n') == why.npos);
  }
}

TEST_CASE("a certificate that has expired is refused", "[node_tls]") {
  test::gate_folder folder;
  auto old = folder.file("old.pem");
  REQUIRE(runs("openssl req -new -key " + our_authority().file("node.key")
               + " -subj /CN=old -out " + folder.file("old.csr")
               + " && openssl x509 -req -in " + folder.file("old.csr") + " -CA "
               + our_authority().file("ca.pem") + " -CAkey "
               + our_authority().file("ca.key")
               + " -set_serial 7 -days -1 -out " + old));
  auto files = our_authority().node();
  files.certificate = old;
  CHECK_THAT(refusal_of(files), Catch::Contains("has expired"));
}

TEST_CASE("a key with a pass phrase is refused, and nobody is asked for it",
          "[node_tls]") {
  test::gate_folder folder;
  auto locked = folder.file("locked.key");
  REQUIRE(runs("openssl ec -in " + our_authority().file("node.key")
               + " -aes128 -passout pass:secret -out " + locked));
  auto files = our_authority().node();
  files.key = locked;
  CHECK_THAT(refusal_of(files), Catch::Contains("pass phrase"));
}

TEST_CASE("troupe-node refuses bad certificates before it starts",
          "[node_tls]") {
  auto files = our_authority().node();
  files.key = our_authority().pool().key;
  CHECK_THAT(said_by(1, as_arguments(files), 2),
             Catch::Contains("not that of the certificate"));
}

TEST_CASE("an OpenSSL module without certificates, which would let in anybody, "
          "is refused",
          "[node_tls]") {
  troupe::config cfg;
  troupe::load_nodes(cfg);
  cfg.load<caf::openssl::manager>();
  caf::actor_system sys{cfg};
  try {
    troupe::node_pool pool{sys, test::all_procedures()};
    FAIL("it was made");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::invalid_option);
    CHECK_THAT(why.what(), Catch::Contains("let in anybody"));
  }
}

TEST_CASE("the script of certificates says what it wants, and what was "
          "interrupted begins anew",
          "[node_tls]") {
  test::gate_folder folder;
  auto said = [&](const std::string& arguments, int status) {
    auto out = folder.file("said");
    auto code = std::system((std::string{TROUPE_CERTIFICATES} + ' ' + arguments
                             + " >" + out + " 2>&1")
                                .c_str());
    CHECK(WEXITSTATUS(code) == status);
    return text_of(out);
  };
  auto place = folder.file("certificates");
  CHECK_THAT(said("", 2), Catch::StartsWith("usage: "));
  CHECK_THAT(said(place + " soon", 2), Catch::Contains("DAYS = 'soon'"));
  CHECK_THAT(said(place + " 0", 2), Catch::Contains("DAYS = '0'"));
  // Later than openssl can say.
  CHECK_THAT(said(place + " 99999999999999", 1),
             Catch::Contains("cannot run openssl req"));
  CHECK_THAT(said(place, 0), Catch::StartsWith("made "));
  REQUIRE(runs("rm " + place + "/ca.pem"));
  CHECK_THAT(said(place, 1), Catch::Contains("ca.pem, is not there"));
}

#else

TEST_CASE("a build without TLS takes no certificates, and says why",
          "[node_tls]") {
  troupe::config cfg;
  try {
    troupe::load_nodes(cfg, {.tls = {"pool.pem", "pool.key", "ca.pem"}});
    FAIL("it was accepted");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == troupe::ec::invalid_option);
    CHECK_THAT(why.what(), Catch::StartsWith("node_network.tls: ")
                               && Catch::Contains("TROUPE_TLS=ON"));
  }
}

#endif
