// What the port of a pool of nodes promises without certificates, where every
// user of the machine can connect: who sends anything else than a node does is
// turned away, named in the log, and costs nobody anything. The same for a node
// that dials somebody who is no pool.

#include "captured_log.hpp"
#include "gate_folder.hpp"
#include "node_world.hpp"
#include "proc_self.hpp"
#include "raw_connection.hpp"

#include "troupe/messages.hpp"
#include "troupe/node_wire.hpp"

#include <catch2/catch.hpp>

#include <caf/binary_serializer.hpp>
#include <caf/io/basp/header.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace basp = caf::io::basp;
namespace compat = troupe::compat;
namespace wire = troupe::wire;

using basp::message_type;
using test::connect_to;
using test::eventually;
using test::hall;
using test::say;
using test::start_node;
using test::text_of;
using test::turned_away;
using test::wait_for_end;

namespace {

constexpr std::uint32_t four_gib = 0xFFFF'FFFF;

std::string text_of_bytes(const compat::byte_buffer& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A header that CAF takes for good, which announces so many bytes.
std::string header(message_type what, std::uint32_t announced) {
  auto handshake = what == message_type::client_handshake;
  compat::byte_buffer result;
  REQUIRE(compat::encode(
      result, basp::header{what, 0, announced,
                           what == message_type::server_handshake ? 1U : 0U, 0,
                           handshake || what == message_type::heartbeat
                                   || what == message_type::server_handshake
                               ? 0U
                               : 1U}));
  return text_of_bytes(result);
}

/// The handshake of a CAF that dials.
std::string handshake() {
  compat::byte_buffer id;
  REQUIRE(compat::encode(
      id, caf::make_node_id(1, std::array<std::uint8_t, 20>{7})));
  return header(message_type::client_handshake,
                static_cast<std::uint32_t>(id.size()))
         + text_of_bytes(id);
}

/// A system of CAF that has connected, and is no node.
class peer {
public:
  explicit peer(std::uint16_t port) {
    troupe::load_nodes(cfg_);
    compat::randomize_node(cfg_);
    system_.emplace(cfg_);
    self_.emplace(*system_);
    auto door = system_->middleman().remote_actor("127.0.0.1", port);
    REQUIRE(door);
    door_ = *door;
  }

  template <class T>
  void say(const T& what) {
    compat::tell(door_, troupe::node_atom_v, what,
                 caf::actor_cast<caf::actor>((*self_)->address()));
  }

private:
  troupe::config cfg_;
  std::optional<caf::actor_system> system_;
  std::optional<caf::scoped_actor> self_;
  caf::actor door_;
};

/// A pool that looks often whom it has turned away, and a node that must not
/// notice anything.
struct guarded_hall {
  explicit guarded_hall(std::chrono::nanoseconds timeout = 1min)
      : h{{.heartbeat = 20ms, .timeout = timeout}} {
    h.pool.call(test::add, 1, 1).get();
  }

  /// Blocks until so many were turned away. Returns the last line about it.
  std::string told(std::uint64_t refused) {
    eventually([&] { return h.pool.nodes().refused == refused; });
    eventually([&] { return !turned_away(log).empty(); });
    return turned_away(log).back();
  }

  ~guarded_hall() {
    CHECK(h.pool.call(test::add, 2, 3).get() == 5);
    CHECK(h.pool.nodes().joined == 1);
    CHECK(h.pool.nodes().lost == 0);
  }

  test::captured_log log;
  hall h;
  test::child_process node = start_node(h.pool.port(), "good");
};

} // namespace

// -- what is announced --------------------------------------------------------

TEST_CASE("a message that is announced as larger than any that is sent closes "
          "its connection at once, and no memory is taken for it",
          "[basp_guard]") {
  auto announced = GENERATE(as<std::uint32_t>{}, four_gib, 1U << 30,
                            static_cast<std::uint32_t>(wire::most_bytes) + 1);
  auto shaken = GENERATE(false, true);
  guarded_hall g;
  test::reset_peak();
  auto before = test::proc_status("VmHWM");
  auto fd = connect_to(g.h.pool.port());
  say(fd, shaken ? handshake() + header(message_type::direct_message, announced)
                 : header(message_type::client_handshake, announced));
  wait_for_end(fd);
  CHECK_THAT(g.told(1),
             Catch::Contains("127.0.0.1:")
                 && Catch::Contains("announced a message of "
                                    + std::to_string(announced) + " bytes"));
  CHECK(turned_away(g.log).size() == 1);
  // In KiB.
  CHECK(test::proc_status("VmHWM") - before < 16 * 1024);
}

TEST_CASE("what comes behind an announcement that is not accepted, is not read",
          "[basp_guard]") {
  guarded_hall g;
  auto fd = connect_to(g.h.pool.port());
  say(fd, handshake() + header(message_type::direct_message, four_gib)
              + std::string(1024 * 1024, 'x'));
  wait_for_end(fd);
  CHECK_THAT(g.told(1), Catch::Contains("announced a message"));
}

TEST_CASE("the largest message that is accepted arrives, and one byte more "
          "does not",
          "[basp_guard]") {
  guarded_hall g;
  peer other{g.h.pool.port()};
  // What CAF adds to a text is less than that.
  constexpr std::uint64_t frame = 200;
  other.say(std::string(wire::most_bytes - frame, 'x'));
  // The door has read it, and found that it is no hello.
  eventually([&] { return g.h.pool.nodes().refused == 1; });
  CHECK(turned_away(g.log).empty());
  other.say(std::string(wire::most_bytes, 'x'));
  CHECK_THAT(g.told(2), Catch::Contains("announced a message"));
}

TEST_CASE("a message that holds anything else than a node says closes its "
          "connection, and CAF does not read it",
          "[basp_guard]") {
  // CAF makes room for as many bytes as such a list is said to have.
  guarded_hall g;
  peer other{g.h.pool.port()};
  other.say(compat::byte_buffer(3));
  CHECK_THAT(g.told(1), Catch::Contains("a message that no node sends"));
}

TEST_CASE("the reason for the end of an actor may hold texts and nothing else",
          "[basp_guard]") {
  test::network net;
  auto payload = [&](auto context) {
    compat::byte_buffer result;
    caf::binary_serializer sink{*net.system, result};
    auto here = net.system->node();
    auto why = caf::make_error(caf::sec::runtime_error, std::move(context));
    static_cast<void>(sink.apply(here));
    static_cast<void>(sink.apply(here));
    static_cast<void>(sink.apply(why));
    return result;
  };
  auto accepted = [](const compat::byte_buffer& bytes, std::size_t size) {
    return compat::ends_by_texts(std::as_bytes(std::span{bytes}).first(size));
  };
  auto text = payload(std::string{"it was tired"});
  CHECK(accepted(text, text.size()));
  CHECK_FALSE(accepted(text, 10));
  auto list = payload(compat::byte_buffer(3));
  CHECK_FALSE(accepted(list, list.size()));
}

// -- who is no node -----------------------------------------------------------

TEST_CASE("who sends what no node sends is turned away at once, and named",
          "[basp_guard]") {
  auto [what, said] = GENERATE(table<std::string, std::string>(
      {{"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
        "does not speak as a node does"},
       {std::string(200, 'x'), "does not speak as a node does"},
       {std::string(200, '\0'), "does not speak as a node does"},
       // CAF by itself would read the node's ID where there is none.
       {header(message_type::client_handshake, 0), "by a handshake"},
       {header(message_type::server_handshake, 0), "by a handshake"},
       {header(message_type::server_handshake, 100), "by a handshake"},
       {header(message_type::heartbeat, 0), "by a handshake"},
       {header(message_type::direct_message, 100), "by a handshake"},
       {handshake() + header(message_type::routed_message, 100),
        "does not speak as a node does"},
       {handshake() + header(message_type::client_handshake, 0),
        "by a handshake"},
       {header(message_type::client_handshake, 3) + std::string{"\1\0\0", 3},
        "what makes no sense"},
       {handshake() + std::string(200, 'x'),
        "does not speak as a node does"}}));
  guarded_hall g;
  auto fd = connect_to(g.h.pool.port());
  say(fd, what);
  wait_for_end(fd);
  CHECK_THAT(g.told(1), Catch::Contains(said));
  CHECK(turned_away(g.log).size() == 1);
}

TEST_CASE("who says nothing, or half of a handshake, is turned away after the "
          "timeout",
          "[basp_guard]") {
  test::captured_log log;
  hall h{{.heartbeat = 20ms, .timeout = 200ms}};
  auto whole = handshake();
  std::vector<troupe::unique_fd> silent;
  for (int i = 0; i < 30; ++i)
    silent.push_back(connect_to(h.pool.port()));
  for (auto part : {std::size_t{1}, basp::header_size, whole.size() - 1})
    say(silent.emplace_back(connect_to(h.pool.port())), whole.substr(0, part));
  for (auto& fd : silent)
    wait_for_end(fd);
  eventually([&] { return h.pool.nodes().refused == 33; });
  eventually([&] { return !turned_away(log).empty(); });
  CHECK_THAT(turned_away(log).front(),
             Catch::Contains("127.0.0.1:")
                 && Catch::Contains("no handshake within 200ms"));
}

TEST_CASE("a node that has shaken hands outlives the timeout of strangers",
          "[basp_guard]") {
  guarded_hall g{2s};
  wait_for_end(connect_to(g.h.pool.port()));
}

TEST_CASE("who looks whether somebody is there is not counted",
          "[basp_guard]") {
  // As a node does before it leaves the rest to CAF.
  guarded_hall g;
  for (int i = 0; i < 30; ++i)
    connect_to(g.h.pool.port()).reset();
  auto fd = connect_to(g.h.pool.port());
  say(fd, std::string(200, 'x'));
  wait_for_end(fd);
  CHECK_THAT(g.told(1), Catch::Contains("does not speak as a node does"));
}

TEST_CASE("who has not shaken hands goes with the pool", "[basp_guard]") {
  test::network net;
  std::optional<troupe::node_pool> pool;
  pool.emplace(*net.system, test::all_procedures());
  auto stranger = connect_to(pool->port());
  // It was let in, and the pool is told of it.
  char byte = 0;
  REQUIRE(::recv(stranger.get(), &byte, 1, 0) == 1);
  pool.reset();
  wait_for_end(stranger);
}

// -- who is no pool -----------------------------------------------------------

TEST_CASE("a node leaves somebody at once who announces what no pool sends",
          "[basp_guard]") {
  auto announced = GENERATE(as<std::uint32_t>{}, 0U, four_gib);
  test::false_pool somebody;
  test::gate_folder folder;
  auto node =
      start_node(somebody.port, "alone", 1, folder.file("said"), {"--once"});
  // One connection that looks whether somebody speaks, and one that is to stay.
  std::vector<troupe::unique_fd> open;
  for (auto i = 0; i < 2; ++i)
    say(open.emplace_back(somebody.accept()),
        header(message_type::server_handshake, announced));
  CHECK(node.wait() == 1);
  CHECK_THAT(text_of(folder.file("said")),
             Catch::Contains("not as a pool does: no pool of nodes"));
}
