// What a pool of nodes promises of a network that is none too good: a link that
// is cut, slow, late, or forgets connections, and a node at its end that stands
// still or dies. Real networks, in namespaces of their own, so they are left
// out where there is no root.

#include "authority.hpp"
#include "end_of_process.hpp"
#include "far_network.hpp"
#include "gate_folder.hpp"
#include "node_world.hpp"
#include "proc_self.hpp"

#include "troupe/node_wire.hpp"

#include <catch2/catch.hpp>

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#if TROUPE_TLS

using namespace std::chrono_literals;

using test::child_process;
using test::end_of_process;
using test::eventually;
using test::failure_of;
using test::far_network;
using test::letters_in;
using troupe::ec;
using troupe::node_options;

namespace wire = troupe::wire;

using link_kind = far_network::link;

namespace {

// CTest knows by these words that it was none.
bool is_left_out(link_kind what = link_kind::ethernet) {
  auto why = far_network::why_not(what);
  if (!why.empty())
    WARN("test left out: " << why);
  return !why.empty();
}

/// A pool here, and nodes on another machine.
struct far_hall {
  explicit far_hall(node_options options = {}, link_kind what = {})
      : net{what},
        hall{[&] {
               options.listen = {far_network::host, 0};
               return options;
             }(),
             {test::our_authority().pool()}} {}

  troupe::node_pool& pool() { return hall.pool; }

  std::unique_ptr<child_process> start_there(const std::string& name,
                                             int processes = 1) {
    std::unique_ptr<child_process> result;
    net.in_there([&] { result = start_here(name, processes); });
    return result;
  }

  std::unique_ptr<child_process> start_here(const std::string& name,
                                            int processes = 1) {
    auto more = test::as_arguments(test::our_authority().node());
    more.push_back(
        fmt::format("--connect={}:{}", far_network::host, pool().port()));
    return std::unique_ptr<child_process>{new child_process{
        test::start_node(pool().port(), name, processes, {}, more)}};
  }

  far_network net;
  test::hall hall;
};

const auto soon = node_options{.heartbeat = 50ms, .timeout = 1s};

/// Waits for the node that was there before, in another session.
void await_return(far_hall& h) {
  CHECK(h.pool().call(test::add, 1, 1).get() == 2);
  CHECK(h.pool().nodes().joined >= 2);
}

} // namespace

TEST_CASE("a node on another machine makes calls", "[node_far]") {
  if (is_left_out())
    return;
  far_hall h;
  auto node = h.start_there("far");
  CHECK(h.pool().call(test::add, 2, 3).get() == 5);
  std::string large(4 * 1024 * 1024, 'x');
  CHECK(h.pool().call(test::echo, large).get() == large);
}

TEST_CASE("the other machine is reached by its link alone", "[node_far]") {
  if (is_left_out())
    return;
  far_hall h;
  h.net.cut();
  test::gate_folder folder;
  auto said = folder.file("said");
  h.net.in_there([&] {
    auto more = test::as_arguments(test::our_authority().node());
    more.push_back(
        fmt::format("--connect={}:{}", far_network::host, h.pool().port()));
    more.emplace_back("--once");
    auto node = test::start_node(0, "far", 1, said, more);
    CHECK(node.wait() == 1);
  });
  CHECK_THAT(test::text_of(said), Catch::Contains("Network is unreachable"));
}

// -- links that are cut -------------------------------------------------------

TEST_CASE("when the link to a node is down, what ran there fails or runs "
          "elsewhere, and when it is up, the node is used again",
          "[node_far]") {
  if (is_left_out())
    return;
  far_hall h{soon};
  auto far = h.start_there("far", 2);
  test::gate_folder once;
  test::gate_folder again;
  auto plain = h.pool().call(test::hold_counted, once.path()).start();
  end_of_process first{once.await_arrival()};
  auto moves = h.pool().call(test::hold_again, again.path()).start();
  end_of_process second{again.await_arrival()};
  h.net.cut();
  auto lost = failure_of(std::move(plain));
  CHECK(lost.code == ec::node_lost);
  CHECK_THAT(lost.text, Catch::Contains("'far'")
                            && Catch::Contains("may have run")
                            && Catch::Contains("no sign of life for 1s"));
  // The node has noticed it, too, and ended what nobody can hear of any more.
  first.wait();
  second.wait();
  auto near = h.start_here("near");
  auto pid = again.await_arrival();
  again.open();
  CHECK(moves.get() == pid);
  CHECK(letters_in(once.file("letters")) == 1);
  CHECK(letters_in(again.file("letters")) == 2);
  h.net.mend();
  eventually([&] {
    auto seen = h.pool().nodes().nodes;
    return std::any_of(seen.begin(), seen.end(),
                       [](const auto& x) { return x.name == "far"; });
  });
  near->signal(SIGTERM);
  CHECK(near->wait() == 0);
  CHECK(h.pool().call(test::add, 1, 1).get() == 2);
  auto stats = h.pool().stats();
  CHECK(stats.succeeded == 2);
  CHECK(stats.failed == 1);
}

TEST_CASE("a link that is down for less than the timeout costs nothing",
          "[node_far]") {
  if (is_left_out())
    return;
  far_hall h;
  auto node = h.start_there("far", 2);
  test::gate_folder folder;
  auto before = h.pool().call(test::hold, folder.path()).start();
  auto pid = folder.await_arrival();
  h.net.cut();
  // Goes out while nothing gets through.
  auto meanwhile = h.pool().call(test::add, 2, 3).start();
  eventually([&] { return h.pool().nodes().nodes.at(0).busy == 2; });
  h.net.mend();
  CHECK(meanwhile.get() == 5);
  folder.open();
  CHECK(before.get() == pid);
  CHECK(h.pool().nodes().joined == 1);
  CHECK(h.pool().nodes().lost == 0);
}

TEST_CASE("packets that all disappear are noticed by the silence, on both "
          "sides",
          "[node_far]") {
  if (is_left_out(link_kind::wire))
    return;
  far_hall h{soon, link_kind::wire};
  auto node = h.start_there("far");
  test::gate_folder folder;
  auto op = h.pool().call(test::hold, folder.path()).start();
  end_of_process worker{folder.await_arrival()};
  h.net.packets().lose(100);
  CHECK(failure_of(std::move(op)).code == ec::node_lost);
  worker.wait();
  h.net.packets().lose(0);
  await_return(h);
}

TEST_CASE("a node whose connection was forgotten on its way begins another "
          "session",
          "[node_far]") {
  if (is_left_out(link_kind::wire))
    return;
  far_hall h{soon, link_kind::wire};
  auto node = h.start_there("far");
  test::gate_folder folder;
  auto op = h.pool().call(test::hold_again, folder.path()).start();
  auto before = folder.await_arrival();
  end_of_process worker{before};
  h.net.packets().forget_connections();
  worker.wait();
  auto after = folder.await_arrival();
  CHECK(after != before);
  folder.open();
  CHECK(op.get() == after);
  CHECK(letters_in(folder.file("letters")) == 2);
  CHECK(h.net.packets().lost() > 0);
  CHECK(h.pool().nodes().joined >= 2);
  CHECK(h.pool().nodes().nodes.size() == 1);
}

TEST_CASE("a node that has another address now is used again", "[node_far]") {
  if (is_left_out())
    return;
  far_hall h{soon};
  auto node = h.start_there("far");
  test::gate_folder folder;
  auto op = h.pool().call(test::hold_again, folder.path()).start();
  end_of_process worker{folder.await_arrival()};
  h.net.move_to("10.77.0.3");
  worker.wait();
  auto pid = folder.await_arrival();
  folder.open();
  CHECK(op.get() == pid);
  CHECK(h.pool().nodes().nodes.size() == 1);
}

// -- links that are poor ------------------------------------------------------

TEST_CASE("over a link that is late and loses packets, every call has its "
          "answer",
          "[node_far]") {
  if (is_left_out(link_kind::wire))
    return;
  far_hall h{{}, link_kind::wire};
  h.net.packets().delay(50ms);
  h.net.packets().lose(5);
  auto a = h.start_there("a", 2);
  auto b = h.start_there("b", 2);
  eventually([&] { return h.pool().nodes().nodes.size() == 2; });
  std::vector<std::string> words;
  for (int i = 0; i < 3000; ++i)
    words.push_back(std::to_string(i) + std::string(100, 'x'));
  CHECK(h.pool().map(words, test::echo).get() == words);
  CHECK(h.net.packets().lost() > 0);
  CHECK(h.pool().nodes().lost == 0);
}

TEST_CASE("a link on which large arguments and results take longer than the "
          "timeout is not dead",
          "[node_far]") {
  if (is_left_out())
    return;
  // Two seconds each way.
  far_hall h{{.heartbeat = 100ms, .timeout = 1s}};
  auto node = h.start_there("far");
  CHECK(h.pool().call(test::add, 1, 1).get() == 2);
  h.net.slow_down("8mbit");
  std::string large(2'000'000, 'x');
  CHECK(h.pool().call(test::echo, large).get() == large);
  CHECK(h.pool().nodes().lost == 0);
}

// -- nodes at the end of a link -----------------------------------------------

TEST_CASE("a far node that is stopped is noticed, and comes back when it goes "
          "on",
          "[node_far]") {
  if (is_left_out())
    return;
  far_hall h{soon};
  auto node = h.start_there("far");
  test::gate_folder folder;
  auto op = h.pool().call(test::hold_counted, folder.path()).start();
  end_of_process worker{folder.await_arrival()};
  node->signal(SIGSTOP);
  auto lost = failure_of(std::move(op));
  CHECK(lost.code == ec::node_lost);
  CHECK_THAT(lost.text, Catch::Contains("no sign of life for 1s"));
  node->signal(SIGCONT);
  worker.wait();
  await_return(h);
  CHECK(letters_in(folder.file("letters")) == 1);
}

TEST_CASE("a far node that is killed is noticed by the end of its connection",
          "[node_far]") {
  if (is_left_out())
    return;
  // Nobody would notice it by the silence.
  far_hall h{{.heartbeat = 1min, .timeout = 1min}};
  auto node = h.start_there("far");
  test::gate_folder folder;
  auto op = h.pool().call(test::hold_counted, folder.path()).start();
  end_of_process worker{folder.await_arrival()};
  node->signal(SIGKILL);
  CHECK(failure_of(std::move(op)).code == ec::node_lost);
  worker.wait();
  CHECK(letters_in(folder.file("letters")) == 1);
}

// -- memory -------------------------------------------------------------------

namespace {

/// Returns how many bytes the kernel holds that were sent and have not arrived,
/// of all TCP connections of this network.
std::uint64_t unsent_bytes() {
  std::ifstream table{"/proc/thread-self/net/tcp"};
  std::uint64_t result = 0;
  std::string line;
  std::getline(table, line);
  while (std::getline(table, line)) {
    std::istringstream words{line};
    std::string number, here, there, state, queues;
    words >> number >> here >> there >> state >> queues;
    constexpr auto established = "01";
    std::uint64_t bytes = 0;
    if (state == established)
      std::from_chars(queues.data(), queues.data() + queues.find(':'), bytes,
                      16);
    result += bytes;
  }
  return result;
}

} // namespace

TEST_CASE("a node that does not read costs no more than its window, however "
          "much it is asked",
          "[node_far]") {
  if (is_left_out())
    return;
  constexpr auto mib = std::uint64_t{1024} * 1024;
  constexpr auto window = 4 * mib;
  constexpr auto size = 8 * mib;
  constexpr std::size_t calls = 24;
  far_hall h{{.window = window}};
  auto node = h.start_there("far", 2);
  std::vector<std::string> texts(calls, std::string(size, 'x'));
  CHECK(h.pool().call(test::add, 1, 1).get() == 2);
  node->signal(SIGSTOP);
  auto before = test::proc_status("VmRSS") * 1024;
  std::stop_source source;
  auto op = h.pool()
                .map(std::views::all(texts), test::echo)
                .stop_with(source.get_token())
                .start();
  // Neither the window nor the kernel has room any more.
  eventually([&] {
    return unsent_bytes() > 0
           && h.pool().nodes().nodes.at(0).under_way + wire::piece_size
                  > window;
  });
  CHECK(h.pool().nodes().nodes.at(0).under_way <= window);
  auto after = test::proc_status("VmRSS") * 1024;
  // What is under way, as it was written and as TLS has it, and of each of two
  // workers the arguments and the message. A third of what was asked.
  CHECK(after < before + calls * size / 2);
  source.request_stop();
  node->signal(SIGCONT);
  CHECK(failure_of(std::move(op)).code == ec::cancelled);
  CHECK(h.pool().call(test::add, 1, 1).get() == 2);
  CHECK(h.pool().nodes().lost == 0);
}

#endif
